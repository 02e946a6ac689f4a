"""Tissue classes on nested shells whose truth is known."""

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.tissue import segment_tissue, tissue_volumes

SHAPE = (48, 52, 44)
CONTRASTS = {"T1w": (40, 90, 130), "T2w": (210, 120, 85), "FLAIR": (30, 140, 105)}


def _shells() -> tuple[np.ndarray, np.ndarray]:
    """Labels 0..3 (air, CSF, GM, WM) of a folded ball, and its blurred, displaced priors."""
    x, y, z = np.meshgrid(*(np.arange(n) - n / 2 for n in SHAPE), indexing="ij")
    wave = 1.5 * np.sin(x / 2.5) * np.cos(y / 3) * np.cos(z / 2.8)
    radius = np.sqrt(x**2 + y**2 + z**2)
    labels = (radius < 20).astype(np.uint8) + (radius + wave < 17.5) + (radius + wave < 12.5)
    labels[radius < 3] = 1
    shifted = np.roll(labels, 1, axis=0)
    priors = np.stack([ndimage.gaussian_filter((shifted == k).astype(np.float32), 2.0) for k in (1, 2, 3)])
    return labels, priors


def _dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def _scan(labels: np.ndarray, contrast: str, rng: np.random.Generator, bias: float = 0.0) -> np.ndarray:
    clean = np.array([0, *CONTRASTS[contrast]], np.float32)[labels]
    slope = np.exp(bias * np.linspace(-1, 1, SHAPE[1]))[None, :, None]
    return (clean * slope + 7 * rng.standard_normal(SHAPE)).astype(np.float32)


@pytest.mark.parametrize("contrast", list(CONTRASTS))
def test_background_that_was_removed_is_no_csf(contrast, rng):
    """Skull stripped close to the cortex: what is gone was counted, 50 mL of a head (no single report)."""
    labels, priors = _shells()
    image, ventricle = _scan(labels, contrast, rng), np.zeros(SHAPE, bool)
    gone = labels < 2
    gone[22:27, 24:29, 20:25] = False
    image[gone] = 0
    image[24, 26, 22] = 0  # enclosed: seen, and dark
    posteriors, found = segment_tissue(image, labels > 0, priors)
    assert not found[gone].any()
    assert not posteriors[:, gone].any()
    ventricle[24, 26, 22] = True
    assert found[ventricle].all()
    assert _dice(found >= 2, labels >= 2) > 0.97


def test_what_no_stack_reached_is_no_tissue(rng):
    """A slab under the mask of a whole head (https://github.com/nipreps/fmriprep/issues/1341)."""
    labels, priors = _shells()
    image = _scan(labels, "T1w", rng)
    image[:, :, 30:] = 0
    _, found = segment_tissue(image, labels > 0, priors)
    assert not found[:, :, 30:].any()
    assert _dice(found[:, :, :30] == 1, labels[:, :, :30] == 1) > 0.85


@pytest.mark.parametrize("contrast", list(CONTRASTS))
def test_every_contrast_needs_no_order_of_intensities(contrast, rng):
    labels, priors = _shells()
    mask = labels > 0
    posteriors, found = segment_tissue(_scan(labels, contrast, rng), mask, priors)
    baseline = np.where(mask, np.argmax(priors, axis=0) + 1, 0)
    for k in (1, 2, 3):
        assert _dice(found == k, labels == k) > 0.9
        assert _dice(found == k, labels == k) > _dice(baseline == k, labels == k) + 0.05
    assert posteriors.dtype == np.float32
    assert found.dtype == np.uint8
    assert np.allclose(posteriors.sum(axis=0)[mask], 1, atol=1e-4)
    assert not posteriors[:, ~mask].any()
    assert not found[~mask].any()


def test_a_bias_field_is_seen_through(rng):
    labels, priors = _shells()
    _, found = segment_tissue(_scan(labels, "T1w", rng, bias=0.2), labels > 0, priors)
    assert min(_dice(found == k, labels == k) for k in (1, 2, 3)) > 0.85


def test_scale_of_the_intensities_does_not_matter(rng):
    labels, priors = _shells()
    image = _scan(labels, "T1w", rng)
    _, one = segment_tissue(image, labels > 0, priors)
    _, other = segment_tissue(1000 * image, labels > 0, priors)
    assert (one == other).mean() > 0.999


def test_an_empty_mask_gives_nothing_and_a_flat_image_no_nan():
    _, priors = _shells()
    posteriors, labels = segment_tissue(np.zeros(SHAPE), np.zeros(SHAPE, bool), priors)
    assert not posteriors.any()
    assert not labels.any()
    posteriors, _ = segment_tissue(np.full(SHAPE, 5.0), np.ones(SHAPE, bool), priors)
    assert np.isfinite(posteriors).all()


def test_two_runs_agree_to_the_last_bit(rng):
    labels, priors = _shells()
    image = _scan(labels, "T2w", rng)
    runs = [segment_tissue(image, labels > 0, priors)[0].tobytes() for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.fixture
def cubes():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:18, 2:18, 2:18] = 1
    labels[4:16, 4:16, 4:16] = 2
    labels[7:13, 7:13, 7:13] = 3
    posteriors = np.stack([labels == i for i in (1, 2, 3)]).astype(np.float32)
    return posteriors, labels


def test_volumes_of_cubes(cubes):
    rows = tissue_volumes(*cubes, voxel_volume=2.0)
    assert [(row["index"], row["name"]) for row in rows] == [(1, "CSF"), (2, "GM"), (3, "WM")]
    assert [row["volume_mm3"] for row in rows] == [2.0 * n for n in (16**3 - 12**3, 12**3 - 6**3, 6**3)]
    assert [row["volume_soft_mm3"] for row in rows] == [row["volume_mm3"] for row in rows]


def test_soft_volume_counts_shares(cubes):
    posteriors, labels = cubes
    soft = tissue_volumes(0.5 * posteriors, labels, 1.0)
    assert soft[2]["volume_soft_mm3"] == pytest.approx(soft[2]["volume_mm3"] / 2)


def test_what_is_uncertain_is_most_where_two_tissues_are_as_likely(cubes):
    """p (1 − p): a quarter of a voxel at .5, .16 at .2, none where all is clear."""
    posteriors, labels = cubes
    whole = tissue_volumes(posteriors, labels, 2.0)[2]["volume_mm3"]
    found = {p: tissue_volumes(p * posteriors, labels, 2.0)[2]["uncertain_mm3"] for p in (1.0, 0.5, 0.2)}
    assert found == pytest.approx({1.0: 0, 0.5: whole / 4, 0.2: 0.16 * whole}, rel=1e-5)
