from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.pairing import choose_reference, one_per_contrast, session_time
from bids_lfenhance.bids.scans import Scan, make_scans
from bids_lfenhance.bids.sidecars import SidecarFinder

from .conftest import MakeTree

Sessions = dict[str | None, list[Scan]]


@pytest.fixture
def sessions(make_tree: MakeTree) -> Callable[[dict[str, Any]], Sessions]:
    """Scans by session of a tree made from ``session/name: sidecar``."""

    def make(images: dict[str, Any]) -> Sessions:
        root = make_tree({f"01/{key}": sidecar for key, sidecar in images.items()})
        scans, _ = make_scans(root.rglob("*.nii.gz"), SidecarFinder(root))
        return {label: [scan for scan in scans if scan.session == label] for label in {scan.session for scan in scans}}

    return make


def at(day: str) -> dict[str, str]:
    return {"AcquisitionDateTime": f"{day}T12:00:00"}


def test_nearest_in_time_is_chosen_and_said(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"LF/T1w": at("2020-05-10"), "A/T1w": at("2020-05-01"), "B/T1w": at("2020-05-12")})
    chosen, images, notes = choose_reference(found["LF"], {"A": found["A"], "B": found["B"]})
    assert (chosen, images) == ("B", tuple(found["B"]))
    assert len(notes) == 1
    assert "ses-B is the nearest in time" in notes[0]
    assert "2.0 days" in notes[0]


def test_without_dates_the_first_by_label_is_chosen_and_said(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    only_times = {"AcquisitionTime": "12:00:00.000000"}
    found = sessions({"LF/T1w": only_times, "A/T1w": only_times, "B/T1w": only_times})
    chosen, _, notes = choose_reference(found["LF"], {"B": found["B"], "A": found["A"]})
    assert chosen == "A"
    assert "first by label" in notes[0]


def test_one_candidate_needs_no_words(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"LF/T1w": {}, "A/T1w": {}})
    assert choose_reference(found["LF"], {"A": found["A"]}) == ("A", tuple(found["A"]), ())


def test_more_contrasts_in_common_beat_time(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    when = at("2020-05-10")
    found = sessions({"LF/T1w": when, "LF/T2w": when, "A/T1w": when, "B/T1w": at("2019-01-01"), "B/T2w": {}})
    assert choose_reference(found["LF"], {"A": found["A"], "B": found["B"]})[0] == "B"


def test_another_session_than_the_own_is_said(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"A/acq-lf_T1w": {}, "A/acq-lf_T2w": {}, "A/acq-hf_T1w": {}, "old/T1w": {}, "old/T2w": {}})
    low = [scan for scan in found["A"] if "lf" in scan.name]
    high = {"A": [scan for scan in found["A"] if "hf" in scan.name], "old": found["old"]}
    chosen, _, notes = choose_reference(low, high)
    assert chosen == "old"
    assert any("than the high field of the same session of ses-A" in note for note in notes)


def test_the_same_session_beats_time(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"X/acq-axi_T1w": at("2020-05-10"), "X/acq-hf_T1w": {}, "A/T1w": at("2020-05-10")})
    low, high = found["X"]
    assert choose_reference([low], {"A": found["A"], "X": [high]})[:2] == ("X", (high,))


def test_no_contrast_in_common_is_no_pair(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"LF/FLAIR": {}, "A/T1w": {}})
    chosen, images, notes = choose_reference(found["LF"], {"A": found["A"]})
    assert (chosen, images) == (None, ())
    assert "high field has T1w, low field FLAIR" in notes[0]
    assert choose_reference(found["LF"], {}) == (None, (), ())


def test_a_contrast_without_high_field_is_said(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"LF/FLAIR": {}, "LF/T1w": {}, "A/T1w": {}})
    assert "ses-A has no FLAIR" in choose_reference(found["LF"], {"A": found["A"]})[2][0]


def test_one_image_per_contrast_plain_names_first(sessions: Callable[[dict[str, Any]], Sessions]) -> None:
    found = sessions({"A/acq-fast_run-2_T1w": {}, "A/acq-MPRAGE_T1w": {}, "A/ce-gd_T1w": {}, "A/T2w": {}})
    images, notes = one_per_contrast(found["A"])
    assert [scan.name for scan in images] == ["acq-MPRAGE_T1w", "T2w"]
    assert len(notes) == 1
    assert "acq-fast_run-2_T1w, ce-gd_T1w" in notes[0]


def test_dates_of_tables(sessions: Callable[[dict[str, Any]], Sessions], tmp_path: Path) -> None:
    found = sessions({"LF/T1w": {}, "A/T1w": at("2020-01-01"), "B/T1w": {}})
    subject = tmp_path / "data" / "sub-01"
    (subject / "ses-A" / "sub-01_ses-A_scans.tsv").write_text(
        "filename\tacq_time\nanat/sub-01_ses-A_T1w.nii.gz\t1999-12-31T23:00:00\n"
    )
    (subject / "sub-01_sessions.tsv").write_text("session_id\tacq_time\nses-B\t2001-02-03T04:05:06\nses-LF\tn/a\n")
    days = {label: session_time(scans) for label, scans in found.items()}
    assert [str(days["A"]), str(days["B"]), days["LF"]] == ["1999-12-31 23:00:00", "2001-02-03 04:05:06", None]


def test_a_plain_scan_of_a_later_session_beats_one_with_contrast_agent(sessions):
    found = sessions({"LF/T1w": at("2020-05-10"), "A/ce-gad_T1w": at("2020-05-10"), "B/T1w": at("2020-06-10")})
    chosen, images, _ = choose_reference(found["LF"], {"A": found["A"], "B": found["B"]})
    assert (chosen, [scan.contrast_agent for scan in images]) == ("B", [False])


def test_a_session_began_with_its_first_scan(sessions):
    found = sessions({"A/acq-axi_T1w": at("2020-05-10"), "A/acq-cor_T1w": at("2020-05-02"), "A/T2w": {}})
    assert session_time(found["A"]).day == 2
