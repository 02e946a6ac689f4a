from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.field_strength import field_kind, read_field_strength, session_warnings
from bids_lfenhance.bids.scans import make_scans
from bids_lfenhance.bids.sidecars import SidecarFinder

from .conftest import MakeTree


@pytest.mark.parametrize(
    ("sidecar", "tesla"),
    [
        ({"ImagingFrequency": 2.70, "MagneticFieldStrength": 0.006}, 2.70 / 42.577),
        ({"MagneticFieldStrength": 0.055, "Manufacturer": "Hyperfine"}, 0.055),
        ({"Manufacturer": "Hyperfine, Inc."}, 0.064),
        ({"Manufacturer": "GE"}, None),
        ({"ImagingFrequency": 2.70e9, "MagneticFieldStrength": 0.064}, 0.064),
        ({}, None),
    ],
)
def test_order_of_trust(sidecar: dict[str, Any], tesla: float | None) -> None:
    assert read_field_strength(sidecar).tesla == (pytest.approx(tesla) if tesla else None)


@pytest.mark.parametrize("value", ["high", "3 m", None, -3, 0, True, [3, 1], [], float("nan"), 3000, "1,500", "5e400"])
def test_what_is_no_field_strength_is_ignored_and_told(value: object) -> None:
    reading = read_field_strength({"MagneticFieldStrength": value})
    assert reading.tesla is None
    assert reading.unusable == (f"MagneticFieldStrength: {value!r}",)


@pytest.mark.parametrize(
    ("frequency", "field", "contradicts"), [(123.2, 3, False), (2.7, 0.064, False), (2.7, 0.006, True)]
)
def test_disagreement_begins_at_five_per_cent(frequency: float, field: float, contradicts: bool) -> None:
    reading = read_field_strength({"ImagingFrequency": frequency, "MagneticFieldStrength": field})
    assert bool(reading.contradicted_by) is contradicts


def test_a_session_warns_once_of_each_trouble(make_tree: MakeTree, low: dict[str, Any]) -> None:
    bad = low | {"MagneticFieldStrength": "low"}
    root = make_tree({"01/A/acq-axi_T1w": low, "01/A/acq-cor_T1w": low, "01/A/acq-sag_T1w": bad, "01/A/T2w": None})
    scans, _ = make_scans(root.rglob("*.nii.gz"), SidecarFinder(root))
    assumed, disagree, unusable = session_warnings([replace(scan, field_strength=0.05) for scan in scans])
    assert "0.05 T was assumed" in assumed
    assert "1 of 4" in assumed
    assert "0.0634 T" in disagree
    assert "0.006 T in 2 of 4 sidecars (first: sub-01_ses-A_acq-axi_T1w.json)" in disagree
    assert "'low' is no field strength" in unusable
    assert "sub-01_ses-A_acq-sag_T1w.json" in unusable


def test_no_warning_without_reason(tmp_path: Path, make_tree: MakeTree, high: dict[str, Any]) -> None:
    root = make_tree({"01/A/T1w": high, "01/A/T2w": high})
    scans, _ = make_scans(root.rglob("*.nii.gz"), SidecarFinder(root))
    assert session_warnings(scans) == ()


@pytest.mark.parametrize(("tesla", "kind"), [(0.299, "low"), (0.3, "mid"), (0.999, "mid"), (1.0, "high")])
def test_limits_of_field(tesla, kind):
    assert field_kind(tesla) == kind


@pytest.mark.parametrize(
    ("frequency", "nominal", "used", "contradicted"),
    [(127.77, 3, 3, False), (2.7, 0.006, 0.0634, True), (127.73, 2.85, 2.85, False), (12.3, 0.3, 0.3, False)],
)
def test_the_nominal_value_is_used_where_the_frequency_agrees(frequency, nominal, used, contradicted):
    reading = read_field_strength({"ImagingFrequency": frequency, "MagneticFieldStrength": nominal})
    assert reading.tesla == pytest.approx(used, rel=1e-3)
    assert (reading.contradicted_by is not None) == contradicted
