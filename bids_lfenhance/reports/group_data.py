"""The figures of a cohort one by one, for statistics elsewhere: long and wide tables whose keys are those of BIDS."""

import csv
import io
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from ..config import TISSUES, TOTAL_INTRACRANIAL
from ..evaluation.session_pairs import POOLED
from ..evaluation.subject_values import ALL
from ..evaluation.volume_error import COLUMNS as ERROR_COLUMNS
from ..segmentation.regions import regions
from .cohort import NO_SESSION, Cohort, Rows

INTRACRANIAL = "EstimatedTotalIntraCranialVol"
"""What asegstats2table of FreeSurfer calls the total intracranial volume."""

FREESURFER = {region.name: region.freesurfer for region in regions()} | {TOTAL_INTRACRANIAL: INTRACRANIAL}
"""Our name of a region → FreeSurfer's."""

SYNTHSEG = [TOTAL_INTRACRANIAL, *(region.name for region in regions())]
"""Columns of the table that mri_synthseg --vol writes, in its order, by our names."""

_COLUMNS = {"seg": "segmentation", "seg_found": "segmentations", "scans_found": "scans", "n_sessions": "sessions"}
"""Column of a file → key of a row; why they differ: ``group_dictionary``."""

_SYNTHSEG_NAMES = {"brain stem": "brain-stem", "CSF": "csf"}


def bids_keys(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row whose subject and session are those of participants.tsv and of file names.

    >>> bids_keys({"subject": "01", "session": "LF", "scans": 3})
    {'participant_id': 'sub-01', 'session_id': 'ses-LF', 'scans': 3}
    """
    rest = {key: value for key, value in row.items() if key not in ("subject", "session")}
    session = row["session"]
    return {
        "participant_id": f"sub-{row['subject']}",
        "session_id": None if session == NO_SESSION else f"ses-{session}",
        **rest,
    }


def by_columns(row: Mapping[str, Any], columns: Collection[str]) -> dict[str, Any]:
    """A row by the names of ``group_dictionary``, sessions as in file names (``ses-``).

    >>> by_columns({"session": "A–B", "segmentation": "tissue", "n": 3}, ["session_pair", "seg", "n"])
    {'session_pair': 'ses-A–ses-B', 'seg': 'tissue', 'n': 3}
    """
    session = row.get("session")
    if session not in (None, NO_SESSION, ALL, POOLED):
        session = "–".join(f"ses-{label}" for label in session.split("–"))
    named = {new: row[old] for new, old in _COLUMNS.items() if old in row}
    named |= {"session_id": session, "session_pair": session} if session else {}
    named |= row
    return {name: named.get(name) for name in columns}


def volumes_long(cohort: Cohort) -> Rows:
    """One row per image, segmentation and region (``group_dictionary.VOLUMES_LONG``); high field in its own session."""
    index = {region.name: region.index for region in regions()}
    numbers = {name: number for number, name in enumerate(TISSUES, start=1)}
    rows = []
    for about, tissue in cohort.segmentations.values():
        keys = bids_keys(about) | {"segmentation": tissue.segmentation}
        whole, of_tissue = (tissue.volumes or {}).get(TOTAL_INTRACRANIAL), tissue.segmentation == "tissue"
        for name, volume in (tissue.volumes or {}).items():
            rows.append(
                {
                    **keys,
                    "index": (numbers if of_tissue else index).get(name),
                    "name": name,
                    "freesurfer_name": None if of_tissue else FREESURFER.get(name),
                    "volume_mm3": volume,
                    "volume_soft_mm3": tissue.soft.get(name),
                    **dict(zip(ERROR_COLUMNS, tissue.error.get(name, (None, None)), strict=True)),
                    "volume_etiv_percent": 100 * volume / whole if whole else None,
                    "confidence": tissue.confidence.get(name),
                }
            )
    return rows


def volumes_wide(cohort: Cohort) -> Rows:
    """One row per image and segmentation of regions, a column per region by FreeSurfer's name, mm³ by label."""
    return [
        bids_keys(about)
        | {"segmentation": tissue.segmentation}
        | {FREESURFER[name]: volume for name, volume in (tissue.volumes or {}).items() if name in FREESURFER}
        for about, tissue in cohort.segmentations.values()
        if tissue.segmentation != "tissue"
    ]


def metrics_long(cohort: Cohort) -> Rows:
    """One row per figure of an image against high field: metrics of intensity, and the Dice of every structure."""
    rows = []
    for figures in (cohort.metrics, cohort.overlaps):
        places = [[bids_keys({"subject": s, "session": x}) for x in figures.sessions] for s in figures.subjects]
        for key, cells in figures.cells.items():
            about = dict(zip(figures.names, key, strict=True))
            if "metric" not in about:
                protocol = f"seg-{about.pop('segmentation')}"
                about |= {"protocol": protocol, "region": about.pop("name"), "metric": "dice"}
            known = np.isfinite(cells)
            for (i, j), value in zip(np.argwhere(known).tolist(), cells[known].tolist(), strict=True):
                rows.append({**places[i][j], **about, "value": value})
    return sorted(rows, key=lambda row: (row["participant_id"], row["session_id"] or ""))


def synthseg_table(cohort: Cohort) -> bytes:
    """The volumes of every segmented image as mri_synthseg --vol writes them (CSV, mm³ by posterior), all in one file.

    The first column names each as its label image is named, up to ``_dseg``.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["subject", *(_SYNTHSEG_NAMES.get(name, name) for name in SYNTHSEG)])
    for path, (_, tissue) in cohort.segmentations.items():
        if tissue.segmentation != "tissue" and tissue.soft:
            volumes = [f"{tissue.soft[one]:.3f}" if one in tissue.soft else "" for one in SYNTHSEG]
            table.writerow([path.name.partition("_dseg")[0], *volumes])
    return text.getvalue().encode()
