"""The words of the group page for what a test shows."""

import pytest

from bids_lfenhance.evaluation.cohort import metric_table, summary_table
from bids_lfenhance.evaluation.protocols import PRIMARY
from bids_lfenhance.evaluation.structures import SUMMARY_KEYS
from bids_lfenhance.evaluation.subject_values import SubjectValues
from bids_lfenhance.reports.group_regions import bias_table, findings, headline_table
from bids_lfenhance.reports.group_tables import quality_table, shown_p, verdict

ROW = {"pairs": 9, "p_holm": 0.01, "p_holm_least": 0.004, "difference_mean": 1.0, "difference_hodges_lehmann": 1.0}


@pytest.mark.parametrize(
    ("changed", "way", "word", "text"),
    [
        ({}, 1, "better", "0.010"),
        ({}, -1, "worse", "0.010"),
        ({"difference_mean": -1.0}, 1, "mixed", "0.010"),
        ({"p_holm": 0.2}, 1, "even", "0.20"),
        ({"p_holm": 0.2, "p_holm_least": 0.06}, 1, "untested", "n = 9"),
        ({"p_holm": float("nan"), "p_holm_least": float("nan")}, 1, "untested", "n = 9"),
        ({"p_holm": 1.0, "difference_mean": 0.0, "difference_hodges_lehmann": 0.0}, 1, "even", "1.00"),
    ],
)
def test_a_test_in_words(changed: dict[str, float], way: int, word: str, text: str) -> None:
    assert verdict(ROW | changed, way) == word
    assert shown_p(ROW | changed) == text


def values(names: tuple[str, ...], head: tuple[str, ...], enhanced: list[float]) -> SubjectValues:
    people = [f"{number:02d}" for number in range(len(enhanced))]
    data = SubjectValues(names, people, ["A"])
    for name, value in zip(people, enhanced, strict=True):
        for image, own in (("preproc", 20.0), ("inr", value)):
            data.add(("T1w", image, *head), (name, "A"), own)
    return data


def test_both_tables_of_the_page_call_a_failure_among_gains_mixed() -> None:
    gains = [21 + 0.1 * number for number in range(14)]
    summary = summary_table([values(SUMMARY_KEYS, ("n/a", "psnr"), [*gains, -40.0])])
    ((_, said),) = findings(summary)
    assert said == [("mixed", ["PSNR"])]
    cell = headline_table(summary).rows[1][-1]
    assert cell.style == "mixed"
    assert "mean −" in cell.note
    assert "median +" in cell.note
    metrics = metric_table(
        values(("contrast", "image", "protocol", "region", "metric"), (PRIMARY, "brain", "psnr"), [*gains, -40.0])
    )
    assert "mixed" in {cell.style for cell in quality_table(metrics).rows[1]}


def test_the_first_table_says_where_low_field_is_of_other_sessions_or_people() -> None:
    data = values(SUMMARY_KEYS, ("n/a", "psnr"), [21.0] * 8)
    other = SubjectValues(SUMMARY_KEYS, data.subjects, ["A", "B"])
    for key, cells in data.cells.items():
        other.cells[key] = other.empty()
        other.cells[key][:, :1] = cells
    other.cells["T1w", "preproc", "n/a", "psnr"][:, 1] = [14 + 0.1 * n for n in range(8)]
    other.cells["T1w", "inr", "n/a", "ssim"] = other.cells["T1w", "inr", "n/a", "psnr"].copy()
    other.cells["T1w", "inr", "n/a", "ssim"][3:] = float("nan")
    table = headline_table(summary_table([other]))
    heads = [title for title, _ in table.columns]
    cell = dict(zip(heads, table.rows[1], strict=True))
    assert cell["n"].text == "8"
    assert "low field there 20" in cell["PSNR, dB"].note
    assert cell["SSIM"].note.endswith("3 subjects")


def test_every_image_has_its_own_n_and_high_field_is_of_the_most() -> None:
    row = {"contrast": "T1w", "segmentation": "tissue", "name": "WM", "session": "A", "place": 0}
    row |= {"reference_sd": 1e3, "difference_percent_mean": 0.0, "difference_percent_sd": 1.0}
    few, many = row | {"image": "preproc", "n": 4}, row | {"image": "inr", "n": 9}
    rows = [few | {"reference_mean": 400e3}, many | {"reference_mean": 500e3}]
    table = bias_table(rows, "T1w", "tissue", ("preproc", "inr", "absent"))
    assert [title for title, _ in table.groups] == ["", "Low field", "Enhanced (inr)"]
    heads, (line,) = [title for title, _ in table.columns], table.rows
    assert [cell.text for head, cell in zip(heads, line, strict=True) if head == "n"] == ["4", "9"]
    assert line[heads.index("High field, mL")].text.startswith("500")
