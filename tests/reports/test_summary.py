"""The first sentences of a page say what the figures say."""

from pathlib import Path

from bids_lfenhance.evaluation.usable import Usable
from bids_lfenhance.reports.collect import collect
from bids_lfenhance.reports.session_figures import SessionFigures
from bids_lfenhance.reports.summary import improved_sentence, shown_rows, summary_of, usable_sentence
from bids_lfenhance.reports.usable import usable_images


def test_every_purpose_stands_with_its_word_and_the_gravest_reason():
    mixed = Usable("yes", "check", "no", ("no to measure volumes: a", "check to segment: b"))
    assert usable_sentence(mixed) == "To look at: yes. To segment: check first. To measure volumes: no (a)."
    assert usable_sentence(Usable("yes", "yes", "yes")) == "For every purpose: yes."
    assert "no high field" in usable_sentence(Usable("yes", "yes", "yes", verified=False))


def test_what_improved_is_told_from_the_table_and_losses_with_it(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    figures = SessionFigures()
    first, second = usable_images(session)
    assert "PSNR 20.98 → 22.53 dB" in improved_sentence(session, first, figures)
    assert improved_sentence(session, first, figures).endswith("both better.")
    assert improved_sentence(session, second, figures).endswith("both worse.")
    assert [row.metric for row in shown_rows(session)] == ["psnr", "ssim", "mae", "nmse"] * 2


def test_without_maps_nothing_is_trusted(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    assert summary_of(session, usable_images(session)[0], SessionFigures()).doubt.endswith(
        "do not trust detail anywhere."
    )


def test_where_not_to_trust_names_regions_risk_and_detail(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    figures = SessionFigures(weakest={("T1w", "inr"): [("left amygdala", 14.3)]})
    figures.scales = [
        {"contrast": "T1w", "label": "inr", "kind": "Error", "median": 5.31},
        {
            "contrast": "T1w",
            "label": "inr",
            "kind": "Risk",
            "about": {"FractionAbove": 0.0137, "BandLimit": {"x": 0.25, "z": 0.2}},
        },
    ]
    doubt = summary_of(session, usable_images(session)[0], figures).doubt
    for part in (
        "left amygdala (14 %)",
        "median over the brain 5.3 %",
        "1.4 % of the brain contradicts",
        "finer than 2.5 mm",
    ):
        assert part in doubt
