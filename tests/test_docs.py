"""Every command and snippet of the documentation: what is cheap is run, all else is given to the real parser."""

import ast
import inspect
import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import bids_lfenhance
from bids_lfenhance.cli import enhance
from bids_lfenhance.cli.parser import parse
from bids_lfenhance.cli.run import main
from bids_lfenhance.reports.group_dictionary import TABLES

ROOT = Path(__file__).resolve().parents[1]

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "containers" / "README.md"]
PAGES += sorted((ROOT / "docs").rglob("*.md"))

FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

FOREIGN = (
    "apptainer bosh cd datalad docker freeview fsleyes git mri_synthseg pip pytest recon-all run_fastsurfer.sh . apt"
)
"""Programs of others, which a test cannot run: a name that is in no list here is a mistake in a page."""

VALUES = {"$LABEL": "01", "$TMPDIR": "work"}
"""What variables in commands stand for."""

SHOWN = ("--help", "--version", "--citation", "--help-method")
"""Options that print something and stop: they are run."""


def fences(*languages: str) -> Iterator[Any]:
    for path in PAGES:
        for language, text in FENCE.findall(path.read_text(encoding="utf-8")):
            if language in languages:
                yield path, text


def commands() -> Iterator[Any]:
    """Every command in a block of shell, as words, without comments and the variables before it."""
    for path, text in fences("", "bash", "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                words.pop(0)
            if words and "=" not in words and not words[0].startswith("{"):
                yield pytest.param(words, id=f"{path.relative_to(ROOT)}: {line.strip()[:70]}")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """People with low and high field, their images empty: a dry run opens none."""
    root = tmp_path_factory.mktemp("docs") / "bids"
    root.mkdir()
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.10.0"}')
    stacks = [("HFC", "_acq-axi", 0.064), ("GE", "", 3)]
    for label, (session, acquisition, tesla) in product(("01", "02", "03", "HYPE00", "HYPE01"), stacks):
        for contrast in ("T1w", "T2w"):
            head = f"sub-{label}_ses-{session}{acquisition}_{contrast}"
            scan = root / f"sub-{label}/ses-{session}/anat/{head}.nii.gz"
            scan.parent.mkdir(parents=True, exist_ok=True)
            scan.touch()
            scan.with_name(f"{head}.json").write_text(json.dumps({"MagneticFieldStrength": tesla}))
    return root


def test_there_are_commands_and_snippets() -> None:
    assert len(list(commands())) > 60
    assert len(list(fences("python"))) > 4


@pytest.mark.parametrize("words", commands())
def test_a_command_can_be_given(
    words: list[str], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program, *rest = words
    if program == "torchrun":
        program, rest = "python", rest[rest.index("-m") :]
    if program in ("python", "python3"):
        if rest[0] != "-m":
            assert (ROOT / rest[0]).is_file()
            return
        assert find_spec(rest[1])
        program, rest = rest[1], rest[2:]
    if program == "bids_lfenhance":
        _give(rest, dataset, tmp_path, monkeypatch)
        capsys.readouterr()
    elif program == "make":
        subprocess.run(["make", "-n", *rest], cwd=ROOT, check=True, capture_output=True)
    elif "/" in program:
        assert os.access(ROOT / program, os.X_OK)
    else:
        assert program in FOREIGN.split() or find_spec(program)


def _give(words: list[str], dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run what only prints, and dry runs on the dataset; parse the rest."""
    words = [VALUES.get(word, word) for word in words if word not in ("…", "...")]
    monkeypatch.chdir(tmp_path)
    if enhance.is_enhance_command(words):
        enhance.build_parser().parse_args(words[1:])
    elif set(words) & set(SHOWN):
        with pytest.raises(SystemExit) as end:
            main(words)
        assert not end.value.code
    else:
        words = [str(dataset), str(tmp_path / "out"), *words[2:]]
        for option in ("--bids-filter-file", "--config-file", "--split"):
            if option in words:
                (tmp_path / words[words.index(option) + 1]).write_text("{}" if option != "--config-file" else "")
        for word in words:
            if re.fullmatch("[A-Z][A-Z0-9_]+", word):
                (tmp_path / word).mkdir(exist_ok=True)
        settings = parse(words)
        if settings.dry_run:
            assert main(words) == 0


@pytest.mark.parametrize(("path", "text"), list(fences("python")), ids=lambda x: x.name if isinstance(x, Path) else "")
def test_a_snippet_of_python_names_what_there_is(path: Path, text: str) -> None:
    """It imports, and calls of ``enhance``, ``save`` and the graph have arguments that these take."""
    from bids_lfenhance.workflows.enhance import init_enhance_wf

    known = {"enhance": bids_lfenhance.enhance, "init_enhance_wf": init_enhance_wf}
    known["save"] = bids_lfenhance.EnhancedScan(*[None] * 8).save  # type: ignore[arg-type]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom | ast.Import):
            exec(compile(ast.Module([node], []), path.name, "exec"), {})
        if isinstance(node, ast.Call) and (name := getattr(node.func, "id", getattr(node.func, "attr", ""))) in known:
            named = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(known[name]).bind(*node.args, **named)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", [text for _, text in fences("python") if "read_csv" in text])
def test_a_snippet_that_reads_tables_finds_its_columns(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    people = pd.DataFrame({"participant_id": ["sub-01"], "age": [30]})
    for folder in ("derivatives", "OUT_DIR"):
        for name, columns in TABLES.items():
            row = dict.fromkeys(columns, 1.0) | {"participant_id": "sub-01", "name": "thalamus", "session_id": "all"}
            row |= {"contrast": "T1w", "seg": "regions", "image": "preproc", "measure": "volume_soft_mm3"}
            path = tmp_path / folder / "group" / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame([row])[list(columns)].to_csv(path, sep="\t", index=False)
    (tmp_path / "BIDS_DIR").mkdir()
    people.to_csv(tmp_path / "BIDS_DIR" / "participants.tsv", sep="\t", index=False)
    names: dict[str, Any] = {}
    exec(text, names)
    tables = [value for value in names.values() if isinstance(value, pd.DataFrame)]
    assert tables
    assert all(len(table) == 1 for table in tables)


@pytest.mark.parametrize("text", [text for _, text in fences("json") if text.startswith("{")])
def test_a_filter_is_one(text: str, tmp_path: Path) -> None:
    from bids_lfenhance.bids.filters import load_filters

    path = tmp_path / "filter.json"
    path.write_text(text)
    assert load_filters(path)
