"""Sessions of one person in the order of time, the change between them and how far it is known."""

import math
from pathlib import Path

import pytest

from bids_lfenhance.reports.cohort import known_subjects, read_cohort
from bids_lfenhance.reports.group_change import change_table, longitudinal

from .fake_cohort import Cohort, build
from .group_reader import read
from .test_group import report


def planted(root: Path, dates: dict[str, str], sessions: tuple[str, str, str] = ("A", "B", "C")) -> list[dict]:
    """Changes of one person whose white matter is 500, 550 and 400 mL in three sessions, ± 6, 8 and 0 mL."""
    raw, out = build(root, Cohort(1, sessions, ("T1w",), reference=None))
    for session, volume, error in zip(sessions, (500e3, 550e3, 400e3), (6e3, 8e3, None), strict=True):
        (table,) = out.glob(f"sub-001/ses-{session}/anat/*_seg-tissue_*desc-inrT1w_dseg.tsv")
        told = f"{error}\t1" if error else "n/a\tn/a"
        head = "index\tname\tvolume_mm3\tvolume_error_mm3\tvolume_error_percent\n"
        table.write_text(f"{head}3\tWM\t{volume}\t{told}\n")
    if dates:
        (raw / "sub-001").mkdir(exist_ok=True)
        rows = "".join(f"ses-{session}\t{date}\n" for session, date in dates.items())
        (raw / "sub-001" / "sub-001_sessions.tsv").write_text("session_id\tacq_time\n" + rows)
    cohort = read_cohort(out, raw, known_subjects(out))
    return [row for row in longitudinal(cohort) if row["name"] == "WM" and row["image"] == "inr"]


def test_without_dates_labels_say_the_order(tmp_path: Path):
    second, third = planted(tmp_path, {})
    assert (second["session_id"], third["session_id"]) == ("ses-B", "ses-C")
    assert second["change_percent"] == pytest.approx(10)
    assert second["change_error_percent"] == pytest.approx(100 * math.hypot(6, 8) / 500)
    assert third["change_percent"] == pytest.approx(-20)
    assert third["change_error_percent"] is None
    assert second["days"] is None


@pytest.mark.parametrize("sessions", [("9", "10", "11"), ("6mo", "12mo", "24mo"), ("month6", "month12", "month24")])
def test_numbers_in_labels_count_as_numbers(tmp_path: Path, sessions: tuple[str, str, str]):
    assert [row["session_id"] for row in planted(tmp_path, {}, sessions)] == [f"ses-{one}" for one in sessions[1:]]


def test_dates_say_the_order_where_every_session_has_one(tmp_path: Path):
    second, third = planted(tmp_path, {"A": "2024-03-01", "B": "2024-01-01", "C": "2024-02-01"})
    assert [(row["session_id"], row["days"]) for row in (second, third)] == [("ses-C", 31), ("ses-A", 60)]
    assert third["first_mm3"] == 550e3
    assert third["change_percent"] == pytest.approx(-100 / 11)
    cohort = read_cohort(tmp_path / "derivative", tmp_path / "raw", ["001"])
    (line, _) = change_table([third, second], cohort).rows
    assert line[0].link == "", "there is no such page"
    assert line[-1].text == "−9.1 ± 1.8"
    assert line[-1].style == "check", "more than the expected error"


def test_tissue_is_not_mixed_with_a_region_of_the_same_name(tmp_path: Path):
    first = planted(tmp_path, {})[0] | {"name": "CSF"}
    region = first | {"segmentation": "regions", "change_percent": 77.0}
    cohort = read_cohort(tmp_path / "derivative", tmp_path / "raw", ["001"])
    (line,) = change_table([first, region], cohort).rows
    assert line[-1].text.startswith("+10 ")


@pytest.mark.parametrize(
    ("sessions", "dates"),
    [(("pre", "post"), {"pre": "2024-01-01", "post": "2024-06-01"}), (("2", "10"), {})],
)
def test_a_retest_comes_after_the_first_test(tmp_path: Path, sessions: tuple[str, str], dates: dict[str, str]):
    """Three people of whom the later session shows a tenth less."""
    raw, out = build(tmp_path, Cohort(3, sessions, ("T1w",), reference=None))
    for session, volume in zip(sessions, (500e3, 450e3), strict=True):
        for table in out.glob(f"sub-*/ses-{session}/anat/*_seg-tissue_*desc-inrT1w_dseg.tsv"):
            table.write_text(f"index\tname\tvolume_mm3\n3\tWM\t{volume}\n")
    for number in range(1, 4) if dates else ():
        (raw / f"sub-00{number}").mkdir()
        rows = "".join(f"ses-{session}\t{date}\n" for session, date in dates.items())
        (raw / f"sub-00{number}" / f"sub-00{number}_sessions.tsv").write_text("session_id\tacq_time\n" + rows)
    report(tmp_path)
    rows = read(out / "group" / "retest.tsv")
    (row,) = [r for r in rows if (r.get("name"), r.get("image")) == ("WM", "inr")]
    assert row["session"] == "–".join(sessions)
    assert float(row["difference_percent_mean"]) == pytest.approx(-100 * 50 / 475, abs=1)
