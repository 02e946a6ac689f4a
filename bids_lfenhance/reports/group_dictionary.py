"""The tables of the group level: what each is, and what every column of it means."""

from collections.abc import Mapping
from typing import Any

from ..evaluation.thresholds import PURPOSES
from ..evaluation.volume_error import COLUMNS as ERROR_COLUMNS
from ..segmentation.regions import regions
from .group_data import INTRACRANIAL

Columns = dict[str, Mapping[str, Any]]


def _column(description: str, units: str = "") -> Mapping[str, Any]:
    return {"Description": description} | ({"Units": units} if units else {})


def _interval(name: str, what: str, units: str = "") -> Columns:
    ends = {"low": "lower", "high": "upper"}
    columns = {name: _column(what, units)}
    return columns | {f"{name}_{end}": _column(f"{word} end of its 95 % interval", units) for end, word in ends.items()}


_KEYS: Columns = {
    "participant_id": _column("Subject, as in participants.tsv"),
    "session_id": _column("Session, as in file names; n/a for a dataset without sessions"),
}
_SESSION: Columns = {
    "session": _column(
        "Low-field session; 'all': each subject's sessions averaged first; 'n/a': dataset without sessions"
    )
}
_CONTRAST: Columns = {"contrast": _column("Contrast (BIDS suffix)")}
_IMAGE: Columns = {
    "image": _column(
        "'preproc' is the low-field baseline (plain mean of the stacks), any other word the desc- of a method"
    )
}
_N: Columns = {"n": _column("Subjects that the row is over")}
_NAME: Columns = {
    "name": _column("Region as the dseg.tsv names it; without 'left' or 'right': both sides together"),
}
_SEGMENTATION: Columns = {
    "segmentation": _column(
        "seg- of the segmentation: 'tissue', 'regions' or 'synthseg'; n/a for metrics of intensities"
    )
}
_MEASURE: Columns = {
    "measure": _column(
        "Volume by labelled voxels (volume_mm3) or by sum of posteriors (volume_soft_mm3); bias and limits mm^3"
    )
}


def _agreement(reference: str) -> Columns:
    mm3 = "mm^3"
    return {
        **_N,
        "mean": _column("Mean volume over subjects", mm3),
        "sd": _column("Standard deviation over subjects", mm3),
        "reference_mean": _column(f"Mean volume of {reference}", mm3),
        "reference_sd": _column(f"Standard deviation of {reference}", mm3),
        "difference_percent_mean": _column(f"Mean over subjects of 100 (V - V_ref) / V_ref; V_ref: {reference}", "%"),
        "difference_percent_sd": _column("Standard deviation of it", "%"),
        **_interval("bias", f"Bland-Altman bias: mean of volume minus {reference}", mm3),
        **_interval("lower", "Lower limit of agreement, bias - 1.96 SD", mm3),
        **_interval("upper", "Upper limit of agreement, bias + 1.96 SD", mm3),
        **_interval("r", "Pearson correlation"),
        "r_p": _column("p of r, two-sided, not corrected"),
        **_interval("icc", "ICC(2,1), absolute agreement (Shrout and Fleiss 1979)"),
        **_interval("ccc", "Lin's concordance correlation coefficient (1989)"),
    }


def _compared(family: str) -> Columns:
    return {
        **_N,
        "mean": _column("Mean over subjects, in the unit of what is measured"),
        "sd": _column("Standard deviation over subjects"),
        "pairs": _column("Subjects that have this image and the baseline"),
        "difference_mean": _column("Mean over those of image minus baseline"),
        "difference_sd": _column("Standard deviation of the difference"),
        "p": _column("Wilcoxon signed-rank test of the difference, two-sided; n/a below 6 pairs"),
        "p_holm": _column(f"p after Holm's correction over {family}"),
    }


SUMMARY: Columns = {
    **_CONTRAST,
    **_SESSION,
    **_IMAGE,
    **_SEGMENTATION,
    "quantity": _column(
        "One figure per subject. psnr, ssim, lpips: protocol brain-fit, inside the brain. dice: mean over structures, "
        "left and right as one. volume_error_percent: mean over structures of |V - V_ref| / V_ref, high field the "
        "reference. repeat_percent: mean over structures of |V2 - V1| / ((V1 + V2) / 2), two low-field sessions. "
        "…_deep: over thalamus, caudate, putamen, pallidum, hippocampus and amygdala alone"
    ),
    **_compared("all contrasts, sessions and methods of one quantity and segmentation"),
}

METRICS: Columns = {
    **_CONTRAST,
    **_SESSION,
    **_IMAGE,
    "protocol": _column(
        "How both images were scaled first (docs/metrics.md); figures of different protocols do not compare"
    ),
    "region": _column("Where it was measured"),
    "metric": _column("What was measured; the data dictionary of desc-<method>_qc.tsv defines it"),
    **_compared("all rows of one metric, region and protocol"),
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
    "session": _column("The two low-field sessions, reference first"),
    **_SEGMENTATION,
    **_NAME,
    **_IMAGE,
    **_MEASURE,
    **_agreement("the first session"),
    "within_subject_cv_percent": _column("Within-subject coefficient of variation", "%"),
}

PEOPLE: Columns = {
    **_CONTRAST,
    "image": _column("As in the other tables; 'high' is high field"),
    **_SEGMENTATION,
    "quantity": _column(
        "As in summary.tsv; volume_mm3; or volume_difference_percent, 100 (V - V_ref) / V_ref to high field"
    ),
    "name": _column("Structure of a volume, both sides together; n/a where the quantity is of all"),
    "by": _column("'sex' or 'age'"),
    "level": _column("The sex; n/a for age"),
    **_N,
    "mean": _column("Mean over subjects"),
    "sd": _column("Standard deviation over subjects"),
    **_interval("r", "Pearson correlation with age"),
    "r_p": _column("p of r, two-sided, not corrected"),
}

_USABLE = "yes, check or no (docs/metrics.md): whether it is usable"

QUALITY: Columns = {
    **_KEYS,
    **{purpose: _column(f"{_USABLE} {words}: the worst word of its images") for purpose, words in PURPOSES.items()},
    "scans": _column("Low-field scans found"),
    "snr_min": _column("Lowest signal-to-noise ratio of a scan"),
    "rotation_max_deg": _column("Largest rotation between stacks", "degree"),
    "translation_max_mm": _column("Largest shift between stacks", "mm"),
    "coverage_min": _column("Smallest share of the brain that the template expects in a scan's field of view"),
    "similarity_min": _column("Lowest share of variance explained after alignment"),
    "template_correlation": _column("Correlation with the template from which the brain mask is taken"),
    "mask_ml": _column("Volume of the brain mask", "mL"),
    "confidence_min": _column("Lowest mean confidence of the regions of an image, 0 to 1"),
    "high_field": _column("High-field session it is compared with"),
    "reasons": _column("Why its images are not usable, or must be looked at before"),
}

IMAGES: Columns = {
    **_KEYS,
    **_CONTRAST,
    "image": _column("As in the other tables; 'high' is high field"),
    "status": _column(
        "complete, missing, half-written (not counted), no metrics (high field is there, metrics are not), or no "
        "volumes (a segmentation is missing that other images have)"
    ),
    "detail": _column("What is wrong"),
    **{purpose: _column(f"{_USABLE} {words}; only of enhanced images") for purpose, words in PURPOSES.items()},
    "high_field": _column("Whether there is high field of this contrast: yes or no"),
    "segmentations": _column("seg- of the tables of volumes that there are"),
    "risk_fraction": _column("Share of the brain above the risk threshold"),
    "risk_ml": _column("That share of the brain mask's volume", "mL"),
    "risk_seen": _column("Share of the brain that some stack saw"),
    "lesion_ml": _column("Volume of the lesions that the dataset's masks outline", "mL"),
    "lesion_contrast": _column("(mean of the lesions - mean of the white matter 2 to 8 mm around) / the latter"),
}

_ONE_IMAGE: Columns = {**_KEYS, **_CONTRAST, "image": IMAGES["image"]}

VOLUMES_LONG: Columns = {
    **_ONE_IMAGE,
    **_SEGMENTATION,
    "index": _column("Label in the image; of regions FreeSurfer's number"),
    "name": _column("Tissue or region, as the dseg.tsv names it; 'total intracranial': all regions together"),
    "freesurfer_name": _column("Name of the region in FreeSurfer's colour table; n/a for tissues"),
    "volume_mm3": _column("Volume of the voxels that carry the label", "mm^3"),
    "volume_soft_mm3": _column("Sum of the posterior times the voxel volume", "mm^3"),
    **{name: _column(about["Description"], about["Units"]) for name, about in ERROR_COLUMNS.items()},
    "volume_etiv_percent": _column("100 volume_mm3 / the total intracranial volume of the same image", "%"),
    "confidence": _column("Mean over the region's voxels of its own posterior, 0 to 1"),
}

VOLUMES_WIDE: Columns = {
    **_ONE_IMAGE,
    **_SEGMENTATION,
    INTRACRANIAL: _column("Total intracranial volume: all regions together, CSF as far as the image shows it", "mm^3"),
    **{region.freesurfer: _column(f"Volume of the {region.name} by label", "mm^3") for region in regions()},
}

METRICS_LONG: Columns = {
    **_ONE_IMAGE,
    **{name: METRICS[name] for name in ("protocol", "region", "metric")},
    "value": _column("The figure, of this image against high field; of the metric 'dice' the overlap of the structure"),
}

TABLES: Mapping[str, Columns] = {
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
}
"""Name of the file in ``group/`` → its columns, in order."""
