"""Summaries of a segmentation: both sides together, and one value per subject over all structures."""

import numpy as np

from ..config import TOTAL_INTRACRANIAL
from .agreement import difference_percent
from .label_overlap import without_side
from .subject_values import SubjectValues

HIGH = "high"
"""The image name of high field, beside each low-field session that is compared with it."""

DEEP = ("thalamus", "caudate", "putamen", "pallidum", "hippocampus", "amygdala")
"""The deep grey matter, both sides together: small, and hard to see at low field."""

VOLUME_KEYS = ("contrast", "image", "segmentation", "name", "measure")
OVERLAP_KEYS = ("contrast", "image", "segmentation", "name")
SUMMARY_KEYS = ("contrast", "image", "segmentation", "quantity")


def has_side(name: str) -> bool:
    """Whether it is the left or the right one of two.

    >>> has_side("left caudate"), has_side("caudate")
    (True, False)
    """
    return without_side(name) != name


def is_structure(name: str) -> bool:
    """Whether it counts in a mean over structures: both sides together, and not the total.

    >>> is_structure("caudate"), is_structure("left caudate")
    (True, False)
    """
    return not has_side(name) and name != TOTAL_INTRACRANIAL


def with_both_sides(volumes: SubjectValues) -> SubjectValues:
    """The same and, before the first of two sides, the sum of both where an image has both."""
    result = volumes.like(VOLUME_KEYS)
    for (contrast, image, segmentation, name, measure), cells in volumes.cells.items():
        key = (contrast, image, segmentation, without_side(name), measure)
        if has_side(name) and key not in result.cells:
            sides = (volumes.get(*key[:3], f"{side} {key[3]}", measure) for side in ("left", "right"))
            result.cells[key] = np.sum(list(sides), axis=0)
        result.cells[contrast, image, segmentation, name, measure] = cells
    return result


def overlap_summary(overlaps: SubjectValues) -> SubjectValues:
    """``dice``: mean over structures, both sides together; ``dice_deep``: over the deep ones."""
    summary = overlaps.like(SUMMARY_KEYS)
    for contrast, image, segmentation, names in _grouped(overlaps):
        values = {name: overlaps.get(contrast, image, segmentation, name) for name in names}
        _add_means(summary, (contrast, image, segmentation, "dice"), values)
    return summary


def volume_summary(volumes: SubjectValues) -> SubjectValues:
    """``volume_error_percent``: mean over structures of |V − V_ref| / V_ref, by label; ``…_deep``: the deep ones."""
    summary = volumes.like(SUMMARY_KEYS)
    for contrast, image, segmentation, names in _grouped(volumes):
        if image == HIGH:
            continue
        errors = {}
        for name in names:
            own, high = (volumes.get(contrast, of, segmentation, name, "volume_mm3") for of in (image, HIGH))
            errors[name] = np.abs(difference_percent(own, high))
        _add_means(summary, (contrast, image, segmentation, "volume_error_percent"), errors)
    return summary


def repeat_summary(earlier: SubjectValues, later: SubjectValues) -> SubjectValues:
    """``repeat_percent``: mean over structures of 2 |V₂ − V₁| / (V₁ + V₂), by label, of every pair of sessions."""
    summary = earlier.like(SUMMARY_KEYS)
    for contrast, image, segmentation, names in _grouped(earlier):
        spreads = {}
        for name in names:
            key = contrast, image, segmentation, name, "volume_mm3"
            first, second = earlier.get(*key), later.get(*key)
            spreads[name] = 2 * np.abs(difference_percent(second, (first + second) / 2))
        _add_means(summary, (contrast, image, segmentation, "repeat_percent"), spreads)
    return summary


def _grouped(values: SubjectValues) -> list[tuple[str, str, str, list[str]]]:
    """Contrast, image, segmentation, and the structures there are of it: no sides, no total."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for contrast, image, segmentation, name, *_ in values.cells:
        names = groups.setdefault((contrast, image, segmentation), [])
        if is_structure(name) and name not in names:
            names.append(name)
    return [(*key, names) for key, names in groups.items()]


def _add_means(summary: SubjectValues, key: tuple[str, str, str, str], values: dict[str, np.ndarray]) -> None:
    for suffix, names in (("", list(values)), ("_deep", [name for name in DEEP if name in values])):
        if names:
            stack = np.stack([values[name] for name in names])
            known = np.isfinite(stack)
            counts = np.where(known.any(axis=0), known.sum(axis=0), np.nan)
            mean = np.where(known, stack, 0).sum(axis=0) / counts
            if np.isfinite(mean).any():
                summary.cells[(*key[:3], key[3] + suffix)] = mean
