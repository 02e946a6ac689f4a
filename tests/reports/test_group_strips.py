"""Strips of quality control: every session once, in order, those that stand out named; without high field too."""

import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.config import TISSUES
from bids_lfenhance.reports.cohort import Cohort as Read
from bids_lfenhance.reports.group_strips import MEASURES, STEP, outside, quality_strips, thumbnails
from bids_lfenhance.reports.rendering import encode_thumbnail

from .fake_cohort import Cohort, build
from .group_reader import read
from .test_group import report

SUBJECTS, SESSIONS = 5, ("HFC", "HFE")


class Strips(HTMLParser):
    """The dots of every strip of a page: (place, height, class, link, text)."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.strips, self._link, self._titled = [], "", False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if tag == "svg":
            self.strips.append([])
        elif tag == "a":
            self._link = about["href"]
        elif tag == "circle":
            self.strips[-1].append([float(about["cx"]), float(about["cy"]), about.get("class", ""), self._link, ""])
        self._titled = tag == "title"

    def handle_data(self, data):
        if self._titled and self.strips:
            self.strips[-1][-1][-1] += data

    def handle_endtag(self, tag):
        self._titled = False
        if tag == "a":
            self._link = ""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[list]]]:
    root = tmp_path_factory.mktemp("strips") / "it"
    _, out = build(root, Cohort(SUBJECTS, SESSIONS, ("T1w",), reference=None))
    (out / "sub-002.html").write_text("")
    report(root)
    return out, Strips((out / "group.html").read_text()).strips


def test_every_session_is_a_dot_that_leads_to_its_page(page: tuple[Path, list[list[list]]]) -> None:
    out, strips = page
    rows = read(out / "group" / "quality.tsv")
    columns = [column for column in MEASURES if any(row[column] != "n/a" for row in rows)]
    assert len(columns) >= 5
    assert len(strips) == len(columns) + len(TISSUES)
    for column, dots in zip(columns, strips[len(TISSUES) :], strict=True):
        values = {f"{row['participant_id']} {row['session_id']}": float(row[column]) for row in rows}
        assert [dot[-1].partition(":")[0] for dot in dots] == sorted(values, key=values.__getitem__)
        low, high = min(values.values()), max(values.values())
        for x, _, _, link, text in dots:
            name = text.partition(":")[0]
            if high > low:
                assert x == pytest.approx(100 * (values[name] - low) / (high - low), abs=0.1)
            assert link == ("sub-002.html" if name.startswith("sub-002") else "")
        places = [(x, y) for x, y, *_ in dots]
        assert all(abs(a[0] - b[0]) >= STEP - 0.02 or a[1] != b[1] for a, b in combinations(places, 2)), "none covered"


def test_volumes_without_high_field_are_dots_too_as_shares_of_the_whole(page: tuple[Path, list[list[list]]]) -> None:
    out, strips = page
    rows = [row for row in read(out / "group" / "volumes_long.tsv") if "preproc" not in row["image"]]
    sizes: dict[str, dict[str, float]] = {}
    for row in rows:
        name = f"{row['participant_id']} {row['session_id']}"
        sizes.setdefault(name, {})[row["name"]] = float(row["volume_mm3"])
    for tissue, dots in zip(TISSUES, strips, strict=False):
        wanted = {name: 100 * own[tissue] / sum(own.values()) for name, own in sizes.items()}
        assert len(dots) == len(wanted) == SUBJECTS * len(SESSIONS)
        for *_, text in dots:
            name, _, value = text.partition(": ")
            assert float(value) == pytest.approx(wanted[name], rel=0.01)


def test_the_wall_shows_the_worst_first_and_nothing_of_few(tmp_path: Path) -> None:
    quality, images = [], []
    for number, word in enumerate(("yes", "no", "check")):
        name = f"{number:02d}"
        figures = tmp_path / f"sub-{name}" / "figures"
        figures.mkdir(parents=True)
        (figures / f"sub-{name}_ses-A_desc-thumbnail_T1w.jpg").write_bytes(
            encode_thumbnail(np.zeros((9, 7), np.uint8), 5)
        )
        quality.append({"subject": name, "session": "A", "look": "no"})  # its T2w is not to be looked at
        about = quality[-1] | {"image": "inr", "status": "complete"}
        images += [about | {"contrast": "T1w", "look": word}, about | {"contrast": "T2w", "look": "no"}]
    people, none = ("00", "01", "02"), [None] * 3
    made = Read(tmp_path, people, ("inr",), *none, quality=quality, images=images)  # type: ignore[arg-type]
    words = [one.text.partition(" T1w: to look at ")[::2] for one in thumbnails(made)]
    assert words == [("sub-01 ses-A", "no"), ("sub-02 ses-A", "check"), ("sub-00 ses-A", "yes")]
    assert all(one.picture.startswith("data:image/jpeg") for one in thumbnails(made))
    images[0]["status"] = "no such image"
    assert thumbnails(made) == [], "of two subjects, as an image that is gone is not shown"


def cohort(values: list[float], tmp_path: Path) -> Read:
    quality = [{"subject": f"{n:02d}", "session": "n/a", "snr_min": value} for n, value in enumerate(values)]
    return Read(tmp_path, tuple(row["subject"] for row in quality), (), *[None] * 3, quality=quality)  # type: ignore[arg-type]


def test_what_stands_out_is_named(tmp_path: Path) -> None:
    (strip,) = quality_strips(cohort([20.0, 21.0, 22.0, 23.0, 3.0], tmp_path))
    (far,) = strip.far
    assert (far.text, far.x) == ("sub-04: 3", 0.0)
    assert not any(re.search("ses-", dot.text) for dot in strip.dots)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_nothing_is_drawn_of_few(tmp_path: Path, count: int) -> None:
    assert quality_strips(cohort([5.0] * count, tmp_path)) == []


def test_fences_are_tukeys() -> None:
    values = np.random.default_rng(0).normal(size=200_000)
    assert outside(values).mean() == pytest.approx(0.00698, rel=0.05), "of a normal distribution: textbook"
    assert not outside(np.ones(5)).any()
    assert not outside(np.array([0.992, 0.9996, *np.ones(18)])).any(), "half of them are equal"
    assert outside(np.array([0.3, *np.ones(19)])).tolist() == [True, *[False] * 19]
    assert not outside(np.array([1, 1.1, 1.2, 170])).any(), "of few"


def test_of_few_sessions_the_strip_says_that_they_are_few(tmp_path: Path) -> None:
    few, enough = (quality_strips(cohort(values, tmp_path))[0].few for values in ([1, 1.1, 170], [1, 2, 3, 4, 170]))
    assert (few, enough) == (True, False)
