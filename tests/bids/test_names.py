from itertools import product
from pathlib import Path

import pytest

from bids_lfenhance.bids import names
from bids_lfenhance.bids.names import derivative_name, source_entities, space_of
from bids_lfenhance.bids.scans import Entities, Scan
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.bids.sidecars import split_name

from ..refusals import refused

OUT = Path("/out")
SCAN = Scan(Path("/data/image.nii.gz"), Entities({"sub": "01", "ses": "A", "acq": "axi", "run": "1"}), "T1w")


@pytest.mark.parametrize(
    ("session", "paired", "reference", "space"),
    [
        ("A", False, None, None),
        ("A", True, "GE", "GE"),
        ("A", True, "A", "HF"),
        (None, True, None, "HF"),
        (None, True, "GE", "GE"),
        ("A", True, None, "HF"),
    ],
)
def test_the_grid_is_named_after_the_reference(
    session: str | None, paired: bool, reference: str | None, space: str | None
) -> None:
    assert space_of(LowFieldSession("01", session, (SCAN,), (SCAN,) * paired, reference)) == space


def test_low_field_in_the_folder_of_high_field_always_carries_a_space() -> None:
    assert space_of(LowFieldSession("01", "A", (SCAN,), beside_high_field=True)) == "LF"


def test_a_scan_keeps_all_but_subject_and_session() -> None:
    assert source_entities(SCAN) == {"acq": "axi", "run": "1"}


def test_order_of_entities_is_that_of_the_schema() -> None:
    schema = pytest.importorskip("bidsschematools.schema", reason="needs bidsschematools").load_schema()
    short = [schema.objects.entities[name].name for name in schema.rules.entities]
    common = [key for key in names.ORDER if key in short]
    assert common == [key for key in short if key in names.ORDER]
    assert set(names.ORDER) - set(short) == {"from", "to", "mode"}


def test_entities_come_back_from_the_name() -> None:
    path = derivative_name(
        OUT, ("01", None), "T1w", ".nii.gz", desc="a", acq="b", rec=None, space="c", run="1", res="d"
    )
    entities = {"sub": "01", "acq": "b", "run": "1", "space": "c", "res": "d", "desc": "a"}
    assert split_name(path.name) == (entities, "T1w", ".nii.gz")


BAD = ["../x", "a/b", "a_b", "a-b", "", "a\n", "ü", "a.b", " ", "\0"]


@pytest.mark.parametrize(("bad", "where"), product(BAD, ["subject", "session", "desc", "suffix"]))
def test_nothing_leaves_the_folder(bad: str, where: str) -> None:
    given = {"subject": "01", "session": "A", "desc": "x", "suffix": "T1w", where: bad}
    with refused("bad-label", value=bad):
        derivative_name(OUT, (given["subject"], given["session"]), given["suffix"], ".nii.gz", desc=given["desc"])


@pytest.mark.parametrize("bad", BAD)
def test_extensions_do_not_leave_it_either(bad: str) -> None:
    with refused("bad-label", value=f"/{bad}"):
        derivative_name(OUT, ("01", None), "T1w", f"/{bad}")


def test_entities_that_bids_does_not_know_are_refused() -> None:
    with refused("bad-label", value=["description"]):
        derivative_name(OUT, ("01", None), "T1w", ".nii.gz", description="x")
