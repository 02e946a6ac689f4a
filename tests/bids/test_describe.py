import re
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.plan import describe, make_plan

from .conftest import MakeTree


def test_every_session_skip_and_failure_is_in_the_text(
    make_tree: MakeTree, low: dict[str, Any], high: dict[str, Any]
) -> None:
    root = make_tree(
        {"01/A/acq-axi_T1w": low, "01/A/acq-cor_run-2_T1w": low, "01/A/FLAIR": low, "01/G/T1w": high}
        | {"02/A/acq-axi_T1w": low, "03/G/T1w": high, "04/A/T1w": "{broken"}
    )
    text = describe(make_plan(root))
    assert text.startswith(
        "Plan: 2 subjects · 2 low-field sessions · 1 paired with high field · 4 low-field stacks · 1 high-field image"
        " · 1 subject skipped · 1 subject cannot be processed\n"
    )
    rows = {line.split()[0]: line for line in text.splitlines() if line.startswith("sub-")}
    assert re.split(r"\s{2,}", rows["sub-01"]) == [
        "sub-01",
        "A",
        "axi cor_run-2",
        "1",
        "0.0634 T (not 0.006)",
        "G: T1w",
    ]
    assert "sub-02" in rows
    assert "  sub-02_ses-A: no metrics." in text
    assert "  sub-03: There is only high field" in text
    assert "sub-04_ses-A_T1w.json" in text


def test_sessions_with_one_trouble_share_a_line(make_tree: MakeTree, low: dict[str, Any]) -> None:
    root = make_tree({f"0{number}/A/T1w": low | {"ImagingFrequency": 2.7 + number / 100} for number in range(1, 7)})
    text = describe(make_plan(root))
    assert text.count("MagneticFieldStrength says") == 1
    assert "Likewise 5 others: sub-02_ses-A, sub-03_ses-A, sub-04_ses-A and 2 more." in text
    assert "  no metrics - 6 in all" in text


def test_images_left_out_for_one_reason_share_a_line(make_tree: MakeTree, low: dict[str, Any]) -> None:
    tree = {f"01/A/acq-axi_run-{run}_part-phase_T1w": low for run in range(1, 5)} | {"01/A/acq-axi_T1w": low}
    text = describe(make_plan(make_tree(tree)))
    assert text.count("was left out") == 1
    assert "magnitude images are enhanced. Likewise 3 others." in text


def test_no_sessions_no_column(make_tree: MakeTree, low: dict[str, Any]) -> None:
    assert "session " not in describe(make_plan(make_tree({"01/-/T1w": low}))).splitlines()[2]


@pytest.mark.real
def test_ds006557_fits_a_screen(shared_data: Path) -> None:
    lines = describe(make_plan(shared_data / "ds006557-skeleton")).splitlines()
    assert lines[0].endswith(
        "23 subjects · 46 low-field sessions · 46 paired with high field · 344 low-field stacks · 46 high-field images"
    )
    table = [line for line in lines if "GE: T1w T2w" in line]
    assert len(table) == 46
    assert max(map(len, table)) <= 120
    assert sum("(not 0.006)" in line for line in table) == 46
    assert sum(line.endswith("acq-iso_T2w") for line in table) == 23
    assert sum(line.endswith("acq-sag_T1w") for line in table) == 1
    assert len(lines) < 60
