"""The literature: whole, cited where it is used, and readable by other people's tools."""

import re
from pathlib import Path

import pytest

from bids_lfenhance.data.references import bibtex, reference_text, references
from bids_lfenhance.methods import METHODS, description
from bids_lfenhance.reports.boilerplate import SIMULATED, SOFTWARE, STEPS, citation, what_to_cite
from bids_lfenhance.simulators import SIMULATORS

ROOT = Path(__file__).resolve().parents[2]

DOI = re.compile(r"10\.\d{4,9}/\S+")


def fields(entry: str) -> dict[str, str]:
    """An entry of BibTeX, read by a few lines that know nothing of how it was written."""
    kind, key, body = re.fullmatch(r"@(\w+)\{(\w+),\n(.*)\}\n?", entry, re.DOTALL).groups()  # type: ignore[union-attr]
    found = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
    return {"kind": kind, "key": key, **found}


@pytest.mark.parametrize("key", references())
def test_every_entry_is_whole(key: str) -> None:
    entry, text = references()[key], reference_text(key)
    assert entry["author"]
    assert 1980 < entry["year"] < 2030
    assert str(entry["year"]) in text
    assert "doi" in entry or "no identifier known" in entry["note"]
    if "doi" in entry:
        assert DOI.fullmatch(entry["doi"])
        assert text.count(f"doi:{entry['doi']}") == 1
    assert ".." not in text
    assert "?." not in text


def test_bibtex_holds_the_same() -> None:
    text = bibtex([*references(), "n4"])
    entries = [fields(f"@{entry}") for entry in text.removeprefix("@").split("\n@")]
    assert [entry["key"] for entry in entries] == list(references())
    for entry, source in zip(entries, references().values(), strict=True):
        assert entry["author"].split(" and ") == source["author"]
        assert entry["title"] == f"{{{source['title']}}}"
        assert (entry["year"], entry.get("doi")) == (str(source["year"]), source.get("doi"))
        assert "journal" in entry or entry["kind"] != "article"
    assert fields(SOFTWARE)["kind"] == "software"


def test_every_method_simulator_and_step_is_cited() -> None:
    text = what_to_cite()
    assert tuple(name for name, _ in SIMULATED) == SIMULATORS
    used = {key for name in METHODS for key in description(name).references}
    used |= {key for _, keys in SIMULATED for key in keys} | {key for _, key in STEPS}
    assert used == set(references()), "what is not cited is no reference"
    for key in used:
        assert reference_text(key) in text
    for name in (*METHODS, *SIMULATORS):
        assert f"- `{name}`" in text


def test_an_empty_derivative_cites_the_software(tmp_path: Path) -> None:
    assert citation(tmp_path)[1].strip() == SOFTWARE.strip()


def test_citation_cff_names_what_the_methods_stand_on() -> None:
    yaml = pytest.importorskip("yaml")
    from bids_lfenhance import __version__

    cff = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (cff["version"], cff["license"], cff["type"]) == (__version__, "Apache-2.0", "software")
    assert cff["abstract"]
    assert cff["authors"]
    cited = {key for name in METHODS for key in description(name).references}
    titles = {one["title"]: one for one in cff["references"]}
    for key in cited:
        entry = references()[key]
        assert titles[entry["title"]].get("doi") == entry.get("doi")
        assert titles[entry["title"]]["year"] == entry["year"]
        assert titles[entry["title"]]["authors"]
