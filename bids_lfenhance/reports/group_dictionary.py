"""The tables of the group level: what each is, and what every column of it means.

No column has the name of an entity of BIDS or its plural ("session", "segmentations"): pybids takes what a data
dictionary says of such a column for a value of the entity, and then finds no session of any subject.
"""

from collections.abc import Mapping
from typing import Any

from ..config import CUT
from ..evaluation.thresholds import PURPOSES
from ..evaluation.volume_error import COLUMNS as ERROR_COLUMNS
from ..segmentation.regions import regions
from .group_data import INTRACRANIAL

Columns = dict[str, str | Mapping[str, Any]]
"""What each column means: a sentence, or its description and units."""


def _column(description: str, units: str) -> Mapping[str, Any]:
    return {"Description": description} | ({"Units": units} if units else {})


def _interval(name: str, what: str, units: str = "") -> Columns:
    ends = {"low": "lower", "high": "upper"}
    columns: Columns = {name: _column(what, units)}
    return columns | {f"{name}_{end}": _column(f"{word} end of its 95 % interval", units) for end, word in ends.items()}


_KEYS: Columns = {
    "participant_id": "Subject, as in participants.tsv",
    "session_id": "Session, as in file names; n/a for a dataset without sessions",
}
_SESSION: Columns = {
    "session_id": "Low-field session; 'all': each subject's sessions averaged first; n/a for a dataset without sessions"
}
_CONTRAST: Columns = {"contrast": "Contrast (BIDS suffix)"}
_IMAGE: Columns = {
    "image": "'preproc' is the low-field baseline (plain mean of the stacks), any other word the desc- of a method"
}
_N: Columns = {"n": "Subjects that the row is over"}
_NAME: Columns = {
    "name": "Region as the dseg.tsv names it; without 'left' or 'right': both sides together",
}
_SEGMENTATION: Columns = {
    "seg": "seg- of the segmentation: 'tissue', 'regions' or 'synthseg'; n/a for metrics of intensities"
}
_MEASURE: Columns = {
    "measure": "Volume by labelled voxels (volume_mm3) or by sum of posteriors (volume_soft_mm3); bias and limits mm^3"
}


def _agreement(reference: str) -> Columns:
    mm3, single = "mm^3", "; of a single session, under 'all' too (Bland and Altman 1999, section 5.2)"
    mean = "; under 'all' of the means of each subject's sessions, so higher than of single sessions"
    return {
        **_N,
        "mean": _column("Mean volume over subjects", mm3),
        "sd": _column("Standard deviation over subjects", mm3),
        "reference_mean": _column(f"Mean volume of {reference}", mm3),
        "reference_sd": _column(f"Standard deviation of {reference}", mm3),
        "difference_percent_mean": _column(f"Mean over subjects of 100 (V - V_ref) / V_ref; V_ref: {reference}", "%"),
        "difference_percent_sd": _column("Standard deviation of it", "%"),
        **_interval("bias", f"Bland-Altman bias: mean of volume minus {reference}", mm3),
        **_interval("lower", f"Lower limit of agreement, bias - 1.96 SD{single}", mm3),
        **_interval("upper", f"Upper limit of agreement, bias + 1.96 SD{single}", mm3),
        **_interval("r", f"Pearson correlation{mean}"),
        "r_p": "p of r, two-sided, not corrected",
        **_interval("icc", f"ICC(2,1), absolute agreement (Shrout and Fleiss 1979){mean}"),
        **_interval("ccc", f"Lin's concordance correlation coefficient (1989){mean}"),
    }


def _compared(family: str) -> Columns:
    return {
        **_N,
        "n_sessions": "Sessions of these subjects, all together",
        "mean": "Mean over subjects, in the unit of what is measured",
        "sd": "Standard deviation over subjects",
        "pairs": "Subjects that have this image and the baseline",
        "baseline_mean": "Mean of the baseline over those, of the sessions that have both",
        "difference_mean": "Mean over those of image minus baseline",
        "difference_sd": "Standard deviation of the difference",
        "difference_hodges_lehmann": (
            "Hodges-Lehmann estimate of the difference: median of the means of every two, zeros left out; its sign is "
            "the direction of the test"
        ),
        "p": "Wilcoxon signed-rank test of the difference, two-sided; n/a below 6 pairs",
        "p_holm": f"p after Holm's correction over {family}",
        "p_holm_least": "Least p_holm that so many pairs could reach: from 0.05 on they are too few for the test",
    }


_OVERALL = "the sessions averaged (of repeat_percent the pair of sessions shown first) are a family of their own"


SUMMARY: Columns = {
    **_CONTRAST,
    **_SESSION,
    **_IMAGE,
    **_SEGMENTATION,
    "quantity": (
        "One figure per subject. psnr, ssim, lpips: protocol brain-fit, inside the brain. dice: mean over structures, "
        "left and right as one. volume_error_percent: mean over structures of |V - V_ref| / V_ref, high field the "
        "reference. repeat_percent: mean over structures of |V2 - V1| / ((V1 + V2) / 2), two low-field sessions. "
        "…_deep: over thalamus, caudate, putamen, pallidum, hippocampus and amygdala alone"
    ),
    **_compared(f"all contrasts, sessions and methods of one quantity and segmentation; {_OVERALL}"),
}

METRICS: Columns = {
    **_CONTRAST,
    **_SESSION,
    **_IMAGE,
    "protocol": "How both images were scaled first (docs/metrics.md); figures of different protocols do not compare",
    "region": "Where it was measured",
    "metric": "What was measured; the data dictionary of desc-<method>_qc.tsv defines it",
    **_compared("all rows of one metric, region and protocol; the sessions averaged are a family of their own"),
}

OVERLAP: Columns = {
    **_CONTRAST,
    **_SESSION,
    **_SEGMENTATION,
    **_NAME,
    **_IMAGE,
    **_compared("the structures and methods of one contrast and session; sides apart from both together"),
}

VOLUMES: Columns = {**_CONTRAST, **_SESSION, **_SEGMENTATION, **_NAME, **_IMAGE, **_MEASURE, **_agreement("high field")}

RETEST: Columns = {
    **_CONTRAST,
    "session_pair": (
        "The two low-field sessions, reference first; 'first–second in time': each person's own first two, where "
        "labels do not line up"
    ),
    **_SEGMENTATION,
    **_NAME,
    **_IMAGE,
    **_MEASURE,
    **_agreement("the first session"),
    "within_subject_cv_percent": _column("Within-subject coefficient of variation", "%"),
}

PEOPLE: Columns = {
    **_CONTRAST,
    "image": "As in the other tables; 'high' is high field",
    **_SEGMENTATION,
    "quantity": "As in summary.tsv; volume_mm3; or volume_difference_percent, 100 (V - V_ref) / V_ref to high field",
    "name": "Structure of a volume, both sides together; n/a where the quantity is of all",
    "by": "'sex' or 'age'",
    "level": "The sex; n/a for age",
    **_N,
    "mean": "Mean over subjects",
    "sd": "Standard deviation over subjects",
    **_interval("r", "Pearson correlation with age"),
    "r_p": "p of r, two-sided, not corrected",
}

_USABLE = "yes, check or no (docs/metrics.md): whether it is usable"

QUALITY: Columns = {
    **_KEYS,
    **{purpose: f"{_USABLE} {words}: the worst word of its images" for purpose, words in PURPOSES.items()},
    "scans_found": "Low-field scans",
    "snr_min": "Lowest signal-to-noise ratio of a scan",
    "rotation_max_deg": _column("Largest rotation between stacks", "degree"),
    "translation_max_mm": _column("Largest shift between stacks", "mm"),
    "coverage_min": "Smallest share of the brain that the template expects in a scan's field of view",
    "similarity_min": "Lowest share of variance explained after alignment",
    "template_correlation": "Correlation with the template from which the brain mask is taken",
    "mask_ml": _column("Volume of the brain mask", "mL"),
    "confidence_min": "Lowest mean confidence of the regions of an image, 0 to 1",
    "high_field": "High-field session it is compared with",
    "reasons": "Why its images are not usable, or must be looked at before",
}

IMAGES: Columns = {
    **_KEYS,
    **_CONTRAST,
    "image": "As in the other tables; 'high' is high field",
    "status": (
        "complete, missing, half-written (not counted), no metrics (high field is there, metrics are not), or no "
        "volumes (a segmentation is missing that other images have)"
    ),
    "detail": "What is wrong",
    **{purpose: f"{_USABLE} {words}; only of enhanced images" for purpose, words in PURPOSES.items()},
    "high_field": "Whether there is high field of this contrast: yes or no",
    "seg_found": "seg- of the tables of volumes that there are",
    "risk_fraction": "Share of the brain above the risk threshold",
    "risk_ml": _column("That share of the brain mask's volume", "mL"),
    "risk_seen": "Share of the brain that some stack saw",
    "lesion_ml": _column("Volume of the lesions that the dataset's masks outline", "mL"),
    "lesion_contrast": "(mean of the lesions - mean of the white matter 2 to 8 mm around) / the latter",
}

_ONE_IMAGE: Columns = {**_KEYS, **_CONTRAST, "image": IMAGES["image"]}

_JUDGED: Columns = {purpose: IMAGES[purpose] for purpose in PURPOSES}

VOLUMES_LONG: Columns = {
    **_ONE_IMAGE,
    **_SEGMENTATION,
    **_JUDGED,
    "index": "Label in the image; of regions FreeSurfer's number",
    "name": "Tissue or region, as the dseg.tsv names it; 'total intracranial': all regions together",
    "freesurfer_name": "Name of the region in FreeSurfer's colour table; n/a for tissues",
    "volume_mm3": _column(f"Volume of the voxels that carry the label; {CUT}", "mm^3"),
    "volume_soft_mm3": _column("Sum of the posterior times the voxel volume", "mm^3"),
    **{name: _column(about["Description"], about["Units"]) for name, about in ERROR_COLUMNS.items()},
    "volume_etiv_percent": _column(
        "100 volume_mm3 / the total intracranial volume of the same image; n/a where that is n/a", "%"
    ),
    "confidence": "Mean over the region's voxels of its own posterior, 0 to 1",
}

VOLUMES_WIDE: Columns = {
    **_ONE_IMAGE,
    **_SEGMENTATION,
    **_JUDGED,
    INTRACRANIAL: _column(f"Total intracranial volume: all regions together; {CUT}", "mm^3"),
    **{region.freesurfer: _column(f"Volume of the {region.name} by label; {CUT}", "mm^3") for region in regions()},
}

METRICS_LONG: Columns = {
    **_ONE_IMAGE,
    **{name: METRICS[name] for name in ("protocol", "region", "metric")},
    "value": "The figure, of this image against high field; of the metric 'dice' the overlap of the structure",
}

LONGITUDINAL: Columns = {
    "participant_id": _KEYS["participant_id"],
    "session_id": _KEYS["session_id"],
    "days": _column(
        "Days since the person's first low-field session, by scans.tsv or sessions.tsv; n/a without dates", "d"
    ),
    **_CONTRAST,
    "image": IMAGES["image"],
    **_SEGMENTATION,
    "name": VOLUMES_LONG["name"],
    "first_session_id": "The person's first session that has this volume: the change is since then",
    "first_mm3": _column("Volume in first_session_id", "mm^3"),
    "volume_mm3": _column("Volume in this session", "mm^3"),
    "change_percent": _column("100 (volume_mm3 - first_mm3) / first_mm3", "%"),
    "change_error_percent": _column(
        "Root of the sum of squares of the expected errors of both, in per cent of first_mm3; n/a where unknown", "%"
    ),
}

_COLUMNS: Mapping[str, Columns] = {
    "summary": SUMMARY,
    "metrics": METRICS,
    "overlap": OVERLAP,
    "volumes": VOLUMES,
    "retest": RETEST,
    "people": PEOPLE,
    "quality": QUALITY,
    "images": IMAGES,
    "volumes_long": VOLUMES_LONG,
    "volumes_wide": VOLUMES_WIDE,
    "metrics_long": METRICS_LONG,
    "longitudinal": LONGITUDINAL,
}
TABLES: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    table: {name: {"Description": about} if isinstance(about, str) else about for name, about in columns.items()}
    for table, columns in _COLUMNS.items()
}
"""Name of the file in ``group/`` → its columns, in order."""
