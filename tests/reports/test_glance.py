"""The first sentences of a page say what the figures say."""

from pathlib import Path

from bids_lfenhance.evaluation.usable import Usable
from bids_lfenhance.reports.collect import collect
from bids_lfenhance.reports.glance import glance, improved_sentence, open_rows, usable_sentence
from bids_lfenhance.reports.session_figures import Album
from bids_lfenhance.reports.usable import judged


def test_every_purpose_stands_with_its_word_and_the_gravest_reason():
    mixed = Usable("yes", "check", "no", ("no to measure volumes: a", "check to segment: b"))
    assert usable_sentence(mixed) == "To look at: yes. To segment: check first. To measure volumes: no (a)."
    assert usable_sentence(Usable("yes", "yes", "yes")) == "For every purpose: yes."
    assert "no high field" in usable_sentence(Usable("yes", "yes", "yes", verified=False))


def test_what_improved_is_told_from_the_table_and_losses_with_it(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    album = Album()
    first, second = judged(session)
    assert "PSNR 20.98 → 22.53 dB" in improved_sentence(session, first, album)
    assert improved_sentence(session, first, album).endswith("both better.")
    assert improved_sentence(session, second, album).endswith("both worse.")
    assert [row.metric for row in open_rows(session)] == ["psnr", "ssim", "mae", "nmse"] * 2


def test_without_maps_nothing_is_trusted(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    assert glance(session, judged(session)[0], Album()).doubt.endswith("do not trust detail anywhere.")


def test_where_not_to_trust_names_regions_risk_and_detail(derivative: Path):
    session = collect(derivative, "01").sessions[0]
    album = Album(weakest={("T1w", "inr"): [("left amygdala", 14.3)]})
    album.scales = [
        {"contrast": "T1w", "label": "inr", "kind": "Error", "median": 5.31},
        {
            "contrast": "T1w",
            "label": "inr",
            "kind": "Risk",
            "about": {"FractionAbove": 0.0137, "BandLimit": {"x": 0.25, "z": 0.2}},
        },
    ]
    doubt = glance(session, judged(session)[0], album).doubt
    for part in (
        "left amygdala (14 %)",
        "median over the brain 5.3 %",
        "1.4 % of the brain contradicts",
        "finer than 2.5 mm",
    ):
        assert part in doubt
