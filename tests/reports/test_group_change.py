"""Sessions of one person in the order of time, the change between them and how far it is known."""

import math
import re
from pathlib import Path

import pytest

from bids_lfenhance.reports.cohort import known_subjects, read_cohort
from bids_lfenhance.reports.group_change import change_table, longitudinal

from .fake_cohort import Cohort, build
from .group_reader import Tables, read
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


def test_what_the_first_session_lacks_changes_since_the_next_that_has_it(tmp_path: Path):
    raw, out = build(tmp_path, Cohort(1, ("A", "B", "C"), ("T1w", "T2w"), reference=None))
    for path in out.glob("sub-001/ses-A/anat/*inrT2w_dseg*"):
        path.unlink()
    (table,) = out.glob("sub-001/ses-A/anat/*inrT1w_dseg.tsv")
    table.write_text(re.sub(r"\tWM\t.*", "\tWM\tn/a\tn/a", table.read_text()))
    (raw / "sub-001").mkdir()
    dates = "ses-A\t2020-01-01\nses-B\t2021-01-01\nses-C\t2021-01-31\n"
    (raw / "sub-001" / "sub-001_sessions.tsv").write_text("session_id\tacq_time\n" + dates)
    cohort = read_cohort(out, raw, known_subjects(out))
    rows = longitudinal(cohort)
    first = {(row["session_id"], row["contrast"], row["name"]): row["first_session_id"] for row in rows}
    assert first["ses-C", "T1w", "WM"] == first["ses-C", "T2w", "GM"] == "ses-B"
    assert ("ses-B", "T1w", "WM") not in first
    assert first["ses-C", "T1w", "GM"] == "ses-A"
    assert {(row["session_id"], row["days"]) for row in rows} == {("ses-B", 366), ("ses-C", 396)}
    lines = {(line[1].text, line[3].text): [cell.text for cell in line[5:]] for line in change_table(rows, cohort).rows}
    assert ["ses-B" in text for text in lines["C", "T1w"]] == [False, False, True]


def test_a_crossover_is_by_each_persons_time_in_table_and_figure(tmp_path: Path):
    """Half of the people had B first; what they had last shows a tenth less."""
    raw, out = build(tmp_path, Cohort(6, ("A", "B"), ("T1w",), reference=None))
    for number in range(1, 7):
        name, (first, last) = f"sub-{number:03d}", "AB" if number % 2 else "BA"
        (raw / name).mkdir()
        dates = f"ses-{first}\t2020-01-01\nses-{last}\t2020-07-01\n"
        (raw / name / f"{name}_sessions.tsv").write_text("session_id\tacq_time\n" + dates)
        for session, volume in ((first, 500e3), (last, 450e3)):
            for table in out.glob(f"{name}/ses-{session}/anat/*_seg-tissue_*_dseg.tsv"):
                table.write_text(f"index\tname\tvolume_mm3\n3\tWM\t{volume + number}\n")
    page = report(tmp_path, drawn=True).page.read_text()
    rows = [r for r in read(out / "group" / "retest.tsv") if (r["name"], r["image"]) == ("WM", "inr")]
    assert [(r["session_pair"], r["n"]) for r in rows] == [("first–second in time", "6"), ("ses-A–ses-B", "6")]
    assert float(rows[0]["bias"]) == -50e3
    assert float(rows[1]["bias"]) == 0
    figure = (out / "group" / "figures" / "retest_T1w.svg").read_text()
    assert figure.count(": -50.00 mL") == 2 * 6
    assert "Bias and limits of agreement: each person" in page


def test_of_three_sessions_table_figure_and_title_are_of_one_pair(tmp_path: Path):
    """The latest of which shows a fifth less."""
    _, out = build(tmp_path, Cohort(4, ("baseline", "month6", "month12"), ("T1w",), reference=None))
    for table in out.glob("sub-*/ses-*/anat/*_seg-tissue_*_dseg.tsv"):
        volume = 400e3 if "month12" in table.name else 500e3
        table.write_text(f"index\tname\tvolume_mm3\n3\tWM\t{volume}\n")
    page = report(tmp_path, drawn=True).page.read_text()
    assert "Bias and limits of agreement: sessions baseline–month6" in page
    tables = Tables(page)
    shown = [row for number in tables.where("Structure", "CV, %") for row in tables.rows(number)]
    assert {row["Enhanced (inr)", "Difference, %"].text for row in shown} == {"±0 ± 0"}
    assert "-100.00 mL" not in (out / "group" / "figures" / "retest_T1w.svg").read_text()
    rows = [r for r in read(out / "group" / "summary.tsv") if r["session_id"] == "ses-baseline–ses-month6"]
    assert {r["mean"] for r in rows} == {"0"}


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
    assert row["session_pair"] == "–".join(f"ses-{session}" for session in sessions)
    assert float(row["difference_percent_mean"]) == pytest.approx(-100 * 50 / 475, abs=1)
