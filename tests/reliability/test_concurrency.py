"""Many processes, one OUT_DIR: shared files stay whole and true."""

import json
import multiprocessing
from pathlib import Path

import pytest

from bids_lfenhance.bids.dataset import write_dataset_files
from bids_lfenhance.bids.lock import exclusive_run
from bids_lfenhance.bids.tables import read_table
from bids_lfenhance.workflows.run import _write_citation

PROCESSES, SUBJECTS = 16, 64


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A derivative that many tasks of an array have begun at once."""
    place = tmp_path_factory.mktemp("shared")
    (place / "bids").mkdir()
    (place / "bids" / "dataset_description.json").write_text('{"Name": "n", "BIDSVersion": "1.10.0"}')
    rows = "".join(f"{n:02d}\t{20 + n}\n" for n in range(SUBJECTS))
    (place / "bids" / "participants.tsv").write_text("participant_id\tage\n" + rows)
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        seen = pool.map(_begin, [(place, n) for n in range(SUBJECTS)], chunksize=1)
    assert all(seen), "a reader met a half-written file"
    return place / "out"


def _begin(task: tuple[Path, int]) -> bool:
    """Whether everything shared could be read at any time by a task that writes it as well."""
    place, number = task
    out, subject = place / "out", f"{number:02d}"
    with exclusive_run(out, subject):
        write_dataset_files(out, place / "bids", {f"m{number}": "A method"}, "1", subjects=[subject])
        mine = {row["participant_id"] for row in read_table(out / "participants.tsv")}
        whole = json.loads((out / "dataset_description.json").read_text())["DatasetType"] == "derivative"
        anat = out / f"sub-{subject}" / "anat"
        anat.mkdir(parents=True)
        (anat / f"sub-{subject}_res-1mm_desc-interp_T1w.json").write_text('{"Draws": 1}')
        (anat / f"sub-{subject}_res-1mm_desc-interp_T1w.nii.gz").touch()
        _write_citation(out)
        return whole and f"sub-{subject}" in mine


def test_no_row_of_a_shared_table_is_lost(out: Path) -> None:
    people = read_table(out / "participants.tsv")
    assert {row["participant_id"]: row["age"] for row in people} == {
        f"sub-{n:02d}": f"{20 + n}" for n in range(SUBJECTS)
    }
    described = {row["desc_id"] for row in read_table(out / "descriptions.tsv")}
    assert {f"desc-m{n}{kind}" for n in range(SUBJECTS) for kind in ("", "Std", "Risk")} <= described


def test_the_methods_text_has_seen_every_subject(out: Path) -> None:
    assert f"{SUBJECTS} subjects" in (out / "logs" / "CITATION.md").read_text()


def test_nothing_half_written_stays(out: Path) -> None:
    assert not list(out.rglob(".tmp-*"))
    assert not list(out.rglob(".sub-*.lock"))
