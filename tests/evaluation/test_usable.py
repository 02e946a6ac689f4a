"""An image is usable only for what every figure allows, a more demanding purpose never more than a less demanding."""

import copy
import itertools
import json
from pathlib import Path

import pytest

from bids_lfenhance.evaluation.evidence import coarsest, evidence, fidelity, of_contrast
from bids_lfenhance.evaluation.thresholds import PURPOSES, THRESHOLDS, table
from bids_lfenhance.evaluation.usable import (
    NOT_VERIFIABLE,
    WORDS,
    asks_for_action,
    brief,
    from_sidecar,
    judge,
)

DOCS = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

GOOD = {
    "Scans": [
        {
            **{"File": "a.nii.gz", "SNR": 14.0, "RotationDeg": 1.0, "TranslationMm": 2.0, "Coverage": 0.99},
            **{"Similarity": 0.9, "Mirrored": False, "Zooms": [1.6, 1.6, 5.0]},
            **{"Clipped": 1e-4, "Ghosts": 0.01, "Alternation": 0.5},
        }
    ],
    "Session": {"CoarsestMm": 1.6},
    "Coverage": {"Brain": 0.999, "OnFaceCm2": 0.0},
    "Anatomy": {"MaskVolumeMl": 1450.0, "TemplateCorrelation": 0.9, "BrainShown": 1.0},
    "Alignment": {"Similarity": 0.8, "Across": False, "Mirrored": False},
    "Risk": {"FractionAbove": 0.001, "FractionSeen": 1.0},
    "Image": {"ErrorStdPercent": 6.0},
    "Fidelity": {
        "SSIM": (0.7, 0.8),
        "PSNR": (21.0, 23.0),
        "NCC": (0.9, 0.95),
        "Edges": (0.8, 0.85),
        "Spectrum": (0.5, 0.3),
        "Dice": (0.8, 0.85),
        "VolumeError": (6.0, 3.0),
        "VolumeErrorP90": (12.0, 6.0),
    },
}


def changed(part: str, key: str, value: object) -> dict:
    record = copy.deepcopy(GOOD)
    (record["Scans"][0] if part == "Scans" else record[part])[key] = value
    return record


def words(record: dict) -> str:
    return " ".join(judge(record).words.values())


def test_large_figures_are_written_out():
    (reason,) = judge({"Anatomy": {"MaskVolumeMl": 2640.0}, "Scans": [], "Failure": None}).reasons[:1]
    assert "2640 mL" in reason


def test_a_good_image_is_usable_for_all():
    usable = judge(GOOD)
    assert (words(GOOD), usable.reasons, usable.verified, usable.overall) == ("yes yes yes", (), True, "yes")


@pytest.mark.parametrize(
    ("part", "key", "doubtful", "bad", "purposes"),
    [
        ("Scans", "SNR", 5.0, 1.0, "look"),
        ("Scans", "SNR", 397.0, None, "look"),
        ("Scans", "RotationDeg", 12.0, 45.0, "look"),
        ("Scans", "TranslationMm", 12.0, 45.0, "look"),
        ("Scans", "Coverage", 0.8, 0.1, "look"),
        ("Coverage", "OnFaceCm2", 5.0, None, "look"),
        ("Scans", "Similarity", 0.3, 0.0, "look"),
        ("Scans", "Zooms", [1.0, 1.0, 1.0], None, "look"),
        ("Scans", "Clipped", 0.05, 0.6, "look"),
        ("Scans", "Ghosts", 0.06, None, "look"),
        ("Scans", "Alternation", 1.3, None, "look"),
        ("Anatomy", "BrainShown", 0.9, 0.4, "look"),
        ("Session", "CoarsestMm", 5.0, 12.0, "segment"),
        ("Anatomy", "MaskVolumeMl", 700.0, 90.0, "look"),
        ("Anatomy", "MaskVolumeMl", 2100.0, 4000.0, "look"),
        ("Anatomy", "TemplateCorrelation", 0.5, 0.0, "look"),
        ("Alignment", "Similarity", 0.4, 0.05, "look"),
        ("Risk", "FractionAbove", 0.05, 0.6, "look"),
        ("Risk", "FractionSeen", 0.9, 0.2, "look"),
        ("Image", "ErrorStdPercent", 30.0, 70.0, "look"),
        ("Fidelity", "SSIM", (0.8, 0.75), (0.8, 0.6), "look"),
        ("Fidelity", "PSNR", (22.0, 21.5), (22.0, 18.0), "look"),
        ("Fidelity", "NCC", (0.4, 0.9), (-0.9, 0.9), "look"),
        ("Fidelity", "Edges", (0.888, 0.660), (0.9, 0.3), "look"),
        ("Fidelity", "Spectrum", (0.2, 0.5), (0.2, 1.2), "look"),
        ("Fidelity", "Dice", (0.85, 0.83), (0.85, 0.7), "segment"),
        ("Fidelity", "VolumeError", (9.0, 8.0), (30.0, 25.0), "measure"),
        ("Fidelity", "VolumeError", (2.0, 4.0), None, "measure"),
        ("Fidelity", "VolumeErrorP90", (10.0, 12.0), (10.0, 60.0), "measure"),
    ],
)
def test_doubt_is_to_be_checked_and_nonsense_is_no(part, key, doubtful, bad, purposes):
    """Of the purposes of the row and of those more demanding; the less demanding are as they were."""
    first = list(PURPOSES).index(purposes)
    for value, word in ((doubtful, "check"), (bad, "no")):
        if value is not None:
            usable = judge(changed(part, key, value))
            expected = ["yes"] * first + [word] * (3 - first)
            assert list(usable.words.values()) == expected
            assert usable.reasons[0].startswith(word)


@pytest.mark.parametrize("absent", [None, float("nan"), "unknown"])
def test_what_was_not_measured_is_not_good(absent):
    usable = judge(changed("Scans", "SNR", absent))
    assert (usable.look, usable.reasons) == ("check", ("check: SNR was not measured (a)",))


def test_no_purpose_is_judged_better_than_a_less_demanding_one():
    for key, value in itertools.product(("Dice", "Edges", "VolumeError", "SSIM"), ((0.9, 0.1), (0.9, 0.87), (1, 90))):
        found = [WORDS.index(word) for word in judge(changed("Fidelity", key, value)).words.values()]
        assert found == sorted(found)


def test_without_high_field_it_says_so_and_the_rest_decides():
    usable = judge({key: value for key, value in GOOD.items() if key != "Fidelity"})
    assert (usable.look, usable.segment, usable.measure) == ("yes", "yes", "yes")
    assert usable.reasons == (NOT_VERIFIABLE,)
    assert not usable.verified


def test_a_head_that_is_cut_is_to_be_looked_at_and_has_no_volumes():
    """Beyond the field of view lies: nothing, a little, a third, two thirds of the brain that the template expects."""
    shares = {0.99: "yes yes yes", 0.95: "check check check", 0.7: "check check no", 0.3: "no no no"}
    assert {share: words(changed("Coverage", "Brain", share)) for share in shares} == shares


def test_a_warning_that_asks_for_action_is_a_check():
    record = GOOD | {"Warnings": ["a is oblique, tilted by 20°.", "a may be misplaced on b; check orientation."]}
    assert words(record) == "check check check"
    assert judge(record).reasons == ("check: a may be misplaced on b; check orientation",)
    assert not asks_for_action("ImagingFrequency says 0.0635 T, which is used, but MagneticFieldStrength says 0.006 T")


def test_an_upside_down_head_is_no_whatever_else_it_is():
    assert words(changed("Anatomy", "Turned", "upside down")) == "no no no"


@pytest.mark.parametrize("part", ["Scans", "Alignment"])
def test_left_and_right_exchanged_is_no_whatever_else_it_is(part):
    assert words(changed(part, "Mirrored", True)) == "no no no"


def test_a_sloppy_image_is_to_look_at_and_what_was_not_enhanced_is_to_be_checked():
    assert words(changed("Image", "Sloppy", True)) == "check no no"
    assert words(changed("Image", "Enhanced", False)) == "check check check"


def test_an_image_whose_error_is_not_calibrated_measures_no_volumes():
    assert words(changed("Image", "ErrorStdCalibrated", False)) == "yes yes check"
    assert words(changed("Image", "ErrorStdCalibrated", True)) == "yes yes yes"


def test_one_bad_stack_among_good_ones_is_named_first():
    record = changed("Anatomy", "MaskVolumeMl", 700.0)
    record["Scans"].append({**record["Scans"][0], "File": "b.nii.gz", "SNR": 2.4})
    usable = judge(record)
    assert usable.reasons[0] == "no: SNR 2.4, expected at least 3 (b)"
    assert brief(usable.reasons[0]) == "SNR 2.4"
    assert usable.reasons[1].startswith("check: brain mask 700 mL")


def test_a_sidecar_gives_back_what_was_judged():
    usable = judge(changed("Fidelity", "Dice", (0.85, 0.83)))
    content = json.loads(json.dumps(usable.sidecar()))
    assert content["Usable"] == {"look": "yes", "segment": "check", "measure": "check"}
    assert from_sidecar(content) == usable


def test_the_table_in_the_documentation_is_this_one():
    assert table() in DOCS.read_text(encoding="utf-8")
    assert len({row.quantity for row in THRESHOLDS}) == len(THRESHOLDS)


ROWS = [
    {"contrast": "T1w", "image": image, "region": region, "protocol": protocol, "metric": metric, "value": value}
    for image, protocol, region, metric, value in (
        ("preproc", "brain-fit", "brain", "psnr", 20.0),
        ("preproc", "brain-fit", "field", "psnr", 30.0),
        ("preproc", "max", "brain", "psnr", 40.0),
        ("m", "brain-fit", "brain", "psnr", 21.0),
        ("m", "brain-fit", "brain", "ssim", 0.8),
        ("preproc", "seg-tissue", "GM", "dice", 0.5),
        ("m", "seg-tissue", "GM", "dice", 0.5),
        ("preproc", "seg-regions", "caudate", "dice", 0.6),
        ("preproc", "seg-regions", "putamen", "dice", float("nan")),
        ("m", "seg-regions", "caudate", "dice", 0.8),
        ("m", "seg-regions", "putamen", "dice", 0.6),
        ("preproc", "seg-regions", "caudate", "volume_difference", -10.0),
        ("preproc", "seg-regions", "putamen", "volume_difference", 4.0),
        ("m", "seg-regions", "caudate", "volume_difference", -2.0),
        ("m", "seg-regions", "putamen", "volume_difference", float("nan")),
    )
]


def test_fidelity_is_of_the_deciding_protocol_the_brain_and_the_finest_segmentation():
    found = fidelity(ROWS, "T1w", "m")
    assert found.pop("VolumeErrorP90") == pytest.approx((9.4, 2.0))
    assert found == {"PSNR": (20, 21), "Dice": (0.6, pytest.approx(0.7)), "VolumeError": (7, 2)}
    assert fidelity(ROWS, "T2w", "m") == {}
    sides = [row | {"region": f"left {row['region']}", "value": 99.0} for row in ROWS]
    assert fidelity([*ROWS, *sides], "T1w", "m") == fidelity(ROWS, "T1w", "m"), "means are of both sides together"


def test_a_segmentation_of_which_nothing_could_be_measured_is_as_if_it_were_not_there():
    """In memory its rows are NaN; from disk, where they are n/a, they come as words."""
    measured = [row for row in ROWS if row["protocol"].startswith("seg-")]
    unknown = [row | {"protocol": "seg-zzz", "value": float("nan")} for row in measured]
    assert unknown
    assert fidelity([*ROWS, *unknown], "T1w", "m") == fidelity(ROWS, "T1w", "m")


def test_detail_is_the_distance_of_the_spectrum_from_that_of_high_field():
    bands = ("spectrum_0.01_0.05", "spectrum_0.05_0.10", "spectrum_0.10_0.20", "spectrum_0.20_0.30")
    rows = [
        {"contrast": "T1w", "image": image, "region": "brain", "protocol": "brain-fit", "metric": band, "value": value}
        for image, values in (("preproc", (1, 1, 0.5, 0.5)), ("m", (1, 1, 2.0, 1)))
        for band, value in zip(bands, values, strict=True)
    ]
    assert fidelity(rows, "T1w", "m")["Spectrum"] == pytest.approx((0.3466, 0.1733), abs=1e-4)


def test_evidence_is_of_one_contrast():
    record = {
        "Scans": [{"Contrast": "T1w", "SNR": 1}, {"Contrast": "T2w", "SNR": 9}, None],
        "Risk": {"T1w": {"FractionSeen": 0.5}, "T2w": {"FractionSeen": 1}},
        "Alignment": {"T2w": {"Similarity": 0.9}},
        "Warnings": ["x_T1w.nii.gz moved", "x_T2w.nii.gz moved", "Both moved"],
    }
    found = evidence(record, "T2w", "m", (), {"Warnings": ["Both moved", "odd"]})
    assert [scan["SNR"] for scan in found["Scans"]] == [9]
    assert (found["Risk"], found["Alignment"]) == ({"FractionSeen": 1}, {"Similarity": 0.9})
    assert found["Warnings"] == ["x_T2w.nii.gz moved", "Both moved", "odd"]
    assert of_contrast(["T1w and T2w differ"], "T2w") == ["T1w and T2w differ"]


def test_an_odd_record_is_to_be_checked():
    odd = {"Scans": [None, 3, {"Zooms": "x", "SNR": None, "Plane": 7}], "Risk": [1], "Anatomy": None, "Warnings": "x"}
    assert words(evidence(odd, "T1w", "m", (), {})) == "check check check"


@pytest.mark.parametrize(
    ("stacks", "mm"),
    [
        ([("axi", (1.6, 1.6, 5.0))], 5.0),
        ([("axi", (1.6, 1.6, 5.0)), ("axi", (1.6, 1.6, 5.0))], 5.0),
        ([("axi", (1.6, 1.6, 5.0)), ("cor", (1.6, 1.6, 5.0))], 1.6),
        ([("iso", (2.3, 2.3, 2.3))], 2.3),
        ([], None),
    ],
)
def test_the_coarsest_direction_is_that_which_no_plane_resolves(stacks, mm):
    assert coarsest([{"Plane": plane, "Zooms": list(zooms)} for plane, zooms in stacks]) == mm


def test_an_image_unlike_its_scans_is_not_usable_whatever_its_risk():
    for correlation, word in ((0.95, "yes"), (0.5, "check"), (0.0, "no"), (-0.8, "no")):
        assert judge(GOOD | {"Image": {"CorrelationWithLowField": correlation}}).words["look"] == word


def test_coarsest_in_plane():
    stacks = [("axi", (1.0, 3.0, 6.0)), ("cor", (1.0, 3.0, 6.0)), ("sag", (1.0, 3.0, 6.0))]
    assert coarsest([{"Plane": plane, "Zooms": list(zooms)} for plane, zooms in stacks]) == 3.0


def test_doubt_of_the_least_demanding_purpose_is_doubt_of_all(monkeypatch):
    """No threshold is of one purpose alone today: the rule must not hang on that."""
    from dataclasses import replace

    from bids_lfenhance.evaluation import usable

    from .test_usable import GOOD

    rows = [replace(row, purposes=("look",)) for row in usable.THRESHOLDS if row.quantity == "SNR"]
    monkeypatch.setattr(usable, "THRESHOLDS", rows)
    bad = GOOD | {"Scans": [GOOD["Scans"][0] | {"SNR": 1.0}]}
    assert set(usable.judge(bad).words.values()) == {"no"}
