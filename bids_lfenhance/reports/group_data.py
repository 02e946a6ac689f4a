"""The figures of a cohort one by one, for statistics elsewhere: long and wide tables whose keys are those of BIDS."""

import csv
import io
import math
from collections.abc import Mapping
from typing import Any

from ..config import TISSUES, TOTAL_INTRACRANIAL
from ..segmentation.regions import regions
from .cohort import NO_SESSION, Cohort, Rows

INTRACRANIAL = "EstimatedTotalIntraCranialVol"
"""What asegstats2table of FreeSurfer calls the total intracranial volume."""

FREESURFER = {region.name: region.freesurfer for region in regions()} | {TOTAL_INTRACRANIAL: INTRACRANIAL}
"""Our name of a region → FreeSurfer's."""

SYNTHSEG = [TOTAL_INTRACRANIAL, *(region.name for region in regions())]
"""Columns of the table that mri_synthseg --vol writes, in its order, by our names."""

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


def volumes_long(cohort: Cohort) -> Rows:
    """One row per image, segmentation and region (``group_dictionary.VOLUMES_LONG``); high field in its own session."""
    index = {region.name: region.index for region in regions()}
    rows = []
    for about, tissue in cohort.segmentations.values():
        whole = (tissue.volumes or {}).get(TOTAL_INTRACRANIAL)
        for name, volume in (tissue.volumes or {}).items():
            row = bids_keys(about) | {"segmentation": tissue.segmentation, "name": name}
            row["index"] = TISSUES.index(name) + 1 if tissue.segmentation == "tissue" and name in TISSUES else None
            if tissue.segmentation != "tissue":
                row |= {"index": index.get(name), "freesurfer_name": FREESURFER.get(name)}
            row |= {"volume_mm3": volume, "volume_soft_mm3": tissue.soft.get(name)}
            row |= {"volume_etiv_percent": 100 * volume / whole if whole else None}
            rows.append(row | {"confidence": tissue.confidence.get(name)})
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
        for key, cells in figures.cells.items():
            about = dict(zip(figures.names, key, strict=True))
            if "metric" not in about:
                protocol = f"seg-{about.pop('segmentation')}"
                about |= {"protocol": protocol, "region": about.pop("name"), "metric": "dice"}
            for subject, line in zip(figures.subjects, cells.tolist(), strict=True):
                for session, value in zip(figures.sessions, line, strict=True):
                    if math.isfinite(value):
                        rows.append(bids_keys({"subject": subject, "session": session, **about, "value": value}))
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
