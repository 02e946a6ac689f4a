"""Reading a group page and the tables it is from: independent of the code that writes them."""

import csv
import html.parser
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np


class Cell(NamedTuple):
    """Its text, the figure it is sorted by, and the note below the text."""

    text: str
    figure: str | None
    note: str


class Tables(html.parser.HTMLParser):
    """The tables of a page: heads, the group over each column, rows of cells."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables, self.heads, self.groups = [], [], []
        self._cell, self._about, self._note, self._grouping = None, {}, None, False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        about = dict(attrs)
        if tag == "table":
            for parts in (self.tables, self.heads, self.groups):
                parts.append([])
        elif tag == "tr" and self.tables:
            self._grouping = about.get("class") == "groups"
            self.tables[-1] += [] if self._grouping else [[]]
        elif tag in ("td", "th"):
            self._cell, self._about, self._note = [], about, None
        elif tag == "small" and self._cell is not None:
            self._note = []

    def handle_data(self, data):
        if self._cell is not None:
            (self._cell if self._note is None else self._note).append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self._cell is not None:
            text = "".join(self._cell).strip()
            if self._grouping:
                self.groups[-1] += [text] * int(self._about.get("colspan", 1))
            elif tag == "td" or self._about.get("scope") == "row":
                note = "".join(self._note or []).strip()
                self.tables[-1][-1].append(Cell(text, self._about.get("data-v"), note))
            else:
                self.heads[-1].append(text)
            self._cell = None

    def where(self, *columns: str) -> list[int]:
        """The numbers of the tables with all of these columns."""
        return [number for number, head in enumerate(self.heads) if set(columns) <= set(head)]

    def rows(self, number: int) -> list[dict[tuple[str, str], Cell]]:
        """The rows of a table: (group, head) → cell."""
        heads = self.heads[number]
        keys = list(zip(self.groups[number] or [""] * len(heads), heads, strict=True))
        return [dict(zip(keys, row, strict=True)) for row in self.tables[number] if row]

    def named(self, column: str) -> tuple[list[str], list[list[Cell]]]:
        """Heads and rows of the first table with a column of this name."""
        (number, *_) = self.where(column)
        return self.heads[number], [row for row in self.tables[number] if row]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a TSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def numbers(text: str) -> list[float]:
    """The numbers in a text."""
    return [float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text.replace("−", "-"))]


class Sources:
    """Figures of the participant level: (contrast, image, protocol or segmentation, name, what) → (subject, session).

    ``gone`` are images (subject, session, contrast, image) that are not on disk, so that nothing of them counts.
    """

    def __init__(self, out: Path, methods: tuple[str, ...], high: str, gone: set[tuple[str, str, str, str]]) -> None:
        self.figures = defaultdict(dict)
        sessions = sorted({path.name for path in out.glob("sub-*/ses-*")} - {high})
        for path in out.glob("sub-*/ses-*/anat/*_dseg.tsv"):
            subject, session = path.relative_to(out).parts[:2]
            seg, image, contrast = re.search(r"_seg-(\w+?)_.*desc-(\w+?)(T1w|T2w|FLAIR)_dseg", path.name).groups()
            image = "high" if session == high else image
            if (subject, session, contrast, image) not in gone:
                rows = {row["name"]: float(row["volume_mm3"]) / 1000 for row in read(path)}
                for name in [n[5:] for n in rows if n.startswith("left ")]:
                    rows[name] = rows[f"left {name}"] + rows[f"right {name}"]
                for name, volume in rows.items():
                    for label in sessions if image == "high" else [session]:
                        self.figures[contrast, image, seg, name, "volume"][subject, label] = volume
        for method in methods:
            for path in out.glob(f"sub-*/ses-*/anat/*_desc-{method}_qc.tsv"):
                subject, session = path.relative_to(out).parts[:2]
                for row in read(path):
                    if (subject, session, row["contrast"], row["image"]) not in gone:
                        protocol = row["protocol"].removeprefix("seg-")
                        key = (row["contrast"], row["image"], protocol, row["region"], row["metric"])
                        self.figures[key][subject, session] = float(row["value"])

    def pairs(self, first: tuple, second: tuple, sessions: tuple[str, ...]) -> np.ndarray:
        """(n, 2): subjects that have both, over the sessions that have both."""
        return np.array([own.mean(axis=0) for own in self._both(first, second, sessions)])

    def differences(self, first: tuple, second: tuple, sessions: tuple[str, ...]) -> list[np.ndarray]:
        """First minus second in each session of each subject that has both."""
        return [own[:, 0] - own[:, 1] for own in self._both(first, second, sessions)]

    def _both(self, first: tuple, second: tuple, sessions: tuple[str, ...]) -> list[np.ndarray]:
        a, b = self.figures[first], self.figures[second]
        people = sorted({subject for subject, _ in a})
        keys = ([(s, k) for k in sessions if (s, k) in a and (s, k) in b] for s in people)
        return [np.array([[a[key], b[key]] for key in own]) for own in keys if own]

    def values(self, key: tuple, sessions: tuple[str, ...]) -> np.ndarray:
        """(n,): each subject's mean over its sessions."""
        return self.pairs(key, key, sessions)[:, 0]


def people(folder: Path) -> dict[str, dict[str, str]]:
    """The rows of participants.tsv by subject."""
    return {row["participant_id"]: row for row in read(folder / "participants.tsv")}


def record(out: Path, subject: str, session: str) -> dict:
    """The record of a session."""
    return json.loads(next(out.glob(f"{subject}/ses-{session}/anat/*preproc_qc.json")).read_text())
