"""Figures are printed as they are, and judged only where the metric says which way is better."""

import math

import pytest

from bids_lfenhance.evaluation.metric_definitions import DATA_DICTIONARY, METRICS
from bids_lfenhance.reports.collect import Session
from bids_lfenhance.reports.tables import band_limit, metric_rows, number, scan_rows, signed, verdict_of_change


@pytest.mark.parametrize(
    ("metric", "baseline", "value", "word"),
    [
        ("psnr", 20.0, 21.0, "better"),
        ("psnr", 21.0, 20.0, "worse"),
        ("psnr", 20.0, 20.01, "even"),
        ("nmse", 0.05, 0.04, "better"),
        ("nmse", 0.04, 0.05, "worse"),
        ("spectrum", 0.5, 0.9, ""),
        ("empty", 0.5, 0.9, ""),
        ("psnr", None, 20.0, ""),
    ],
)
def test_better_is_what_the_metric_says(metric: str, baseline: float | None, value: float, word: str):
    assert verdict_of_change(metric, baseline, value) == word


def test_a_ratio_is_best_at_one():

    ratio = next(name for name, metric in METRICS.items() if metric.better == "one")
    assert verdict_of_change(ratio, 0.5, 0.9) == "better"
    assert verdict_of_change(ratio, 0.9, 1.4) == "worse"


@pytest.mark.parametrize("value", [22.531, 0.05012, 1502.3, 3.0, 0.1, 98765.4, -4.25e-5])
def test_a_printed_number_is_the_number(value: float):
    assert float(number(value, 4).replace("−", "-")) == pytest.approx(value, rel=5e-4, abs=0.5 * (abs(value) > 1000))


def test_what_is_not_a_number_is_a_dash():
    assert (number(None), number(math.nan), number(math.inf), signed(-math.inf)) == ("–", "–", "∞", "−∞")


def session(record: dict | None = None, metrics: tuple = (), missing: tuple = ()) -> Session:
    figures = {name: [row[name] for row in metrics] for name in DATA_DICTIONARY}
    return Session("A", ("inr",), (), None, record or {}, figures, missing)


def row(image: str, value: float | str, metric: str = "psnr") -> dict:
    return {
        "contrast": "T1w",
        "image": image,
        "region": "brain",
        "protocol": "brain-fit",
        "metric": metric,
        "value": value,
    }


def test_figures_that_are_missing_or_endless_are_not_compared():
    for low, high in ((20.0, "n/a"), ("n/a", 20.0), (20.0, math.inf)):
        (line,) = metric_rows(session(metrics=(row("preproc", low), row("inr", high))), "brain-fit")
        assert (line.results[0].change, line.results[0].judged) == ("", "")


def test_odd_records_do_not_stop_the_page():
    odd = {"Scans": [None, 3, {"Zooms": "x", "SNR": None, "Plane": 7}], "Risk": [1], "Anatomy": None, "Warnings": "x"}
    assert len(scan_rows(session(odd))) == 1
    assert scan_rows(session({"Scans": None})) == []


def test_the_band_limit_is_half_a_wave():
    assert band_limit({"BandLimit": {"x": 0.25, "y": 0.25, "z": 0.1}}) == (
        "blind to detail finer than about 2.0 mm (0.25 cycles/mm) along left–right, "
        "2.0 mm (0.25 cycles/mm) along front–back, 5.0 mm (0.10 cycles/mm) along foot–head"
    )
    assert str(band_limit({"BandLimit": dict.fromkeys("xyz", 0.25)})).endswith(
        "2.0 mm (0.25 cycles/mm) along every axis"
    )
    assert band_limit({}) is None


def test_a_scan_is_told_as_people_say_it():
    scans = [{"File": "x/sub-01_acq-axi_T1w.nii.gz", "Plane": "axi", "Zooms": [1.6, 1.6, 5.0], "FieldStrength": 0.0635}]
    (line,) = scan_rows(session({"Scans": scans}))
    assert (line["file"], line["plane"], line["zooms"], line["field"]) == (
        "sub-01_acq-axi_T1w.nii.gz",
        "axial",
        "1.6 × 1.6 × 5",
        "64 mT",
    )
