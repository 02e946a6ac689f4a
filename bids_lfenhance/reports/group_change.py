"""Several low-field sessions of one person in time order: how much each volume changed, and how far that is known."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import TISSUES, TOTAL_INTRACRANIAL
from ..evaluation.cohort import BASELINE
from ..evaluation.structures import HIGH
from .cohort import Cohort, Rows
from .collect import SegmentationOutputs
from .group_data import bids_keys
from .group_figures import name_of
from .group_tables import Cell, Table, session_text
from .tables import number, signed

SHOWN = (
    *(TOTAL_INTRACRANIAL, "left cerebral cortex", "right cerebral cortex", "left lateral ventricle"),
    *("right lateral ventricle", "left hippocampus", "right hippocampus", *TISSUES),
)
"""What has a column on the page; everything is in longitudinal.tsv."""


def longitudinal(cohort: Cohort) -> Rows:
    """One row per volume of an enhanced image after the first session that has it, as in ``LONGITUDINAL``.

    The change is from that session (``late``: not the person's first); its expected error is √(a² + b²) of the expected
    errors of both volumes.
    """
    series: dict[tuple[str, ...], dict[str, SegmentationOutputs]] = {}
    for about, tissue in cohort.segmentations.values():
        if about["image"] not in (BASELINE, HIGH):
            key = about["subject"], about["contrast"], about["image"], tissue.segmentation
            series.setdefault(key, {})[about["session"]] = tissue
    rows: Rows = []
    order = cohort.order
    for (subject, contrast, image, seg), by_session in series.items():
        firsts: dict[str, str] = {}
        sessions = order.get(subject, [])
        for session in (one for one in sessions if one in by_session):
            about = bids_keys({"subject": subject, "session": session})
            about |= {"days": _days(cohort, subject, sessions[0], session), "contrast": contrast, "image": image}
            about |= {"segmentation": seg}
            for name, volume in (by_session[session].volumes or {}).items():
                if first := firsts.get(name):
                    begun = bids_keys({"subject": subject, "session": first})["session_id"]
                    row = about | {"name": name, "first_session_id": begun, "late": first != sessions[0]}
                    rows.append(row | _change(by_session[first], by_session[session], name))
                elif volume:
                    firsts[name] = session
    return rows


def _days(cohort: Cohort, subject: str, first: str, session: str) -> int | None:
    before, after = (cohort.dates.get((subject, one)) for one in (first, session))
    return (after.date() - before.date()).days if before and after else None


def _change(first: SegmentationOutputs, later: SegmentationOutputs, name: str) -> dict[str, float | None]:
    before, after = ((tissue.volumes or {})[name] for tissue in (first, later))
    errors = (tissue.error.get(name, (math.nan, math.nan))[0] for tissue in (first, later))
    error = 100 * math.hypot(*errors) / before
    return {
        **{"first_mm3": before, "volume_mm3": after, "change_percent": 100 * (after - before) / before},
        "change_error_percent": None if math.isnan(error) else error,
    }


def change_table(rows: Sequence[Mapping[str, Any]], cohort: Cohort) -> Table:
    """A row per person, session and image: change since the first session that has it ± its expected error, %."""
    rows = [row for row in rows if row["name"] not in TISSUES or row["segmentation"] == "tissue"]
    names = [name for name in SHOWN if any(row["name"] == name for row in rows)]
    columns = [
        ("Subject", ""),
        ("Session", "by date (acq_time of scans.tsv or sessions.tsv), else by label"),
        ("Days", "since the person's first session"),
        ("Contrast", ""),
        ("Image", ""),
    ]
    columns += [
        (name[:1].upper() + name[1:], "change since the first session that has it, % ± the errors against high field")
        for name in names
    ]
    lines: dict[tuple, dict[str, Cell]] = {}
    heads: dict[tuple, list[Cell]] = {}
    for row in rows:
        key = tuple(row[name] for name in ("participant_id", "session_id", "contrast", "image"))
        page = cohort.page(key[0].removeprefix("sub-"))
        heads[key] = [Cell(key[0], link=page), Cell(session_text((key[1] or "").removeprefix("ses-")))]
        heads[key] += [Cell(number(row["days"]), row["days"]), Cell(key[2]), Cell(name_of(key[3]))]
        lines.setdefault(key, {})[row["name"]] = _cell(row)
    return Table(
        "Change",
        columns,
        [[*heads[key], *(line.get(name, Cell("–")) for name in names)] for key, line in lines.items()],
        5,
    )


def _cell(row: Mapping[str, Any]) -> Cell:
    change, error = row["change_percent"], row["change_error_percent"]
    text = signed(change, 2) + (f" ± {number(error, 2)}" if error is not None else "")
    text += f" since {row['first_session_id']}" if row["late"] else ""
    return Cell(text, change, "check" if error is not None and abs(change) > error else "")
