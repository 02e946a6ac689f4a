"""Fusion, judged on stacks from the independent oracle."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.fusion import fuse_mean, fuse_sr
from bids_lfenhance.imaging.grid import Grid, coverage
from bids_lfenhance.imaging.volume import Stack
from tests.oracle import (
    LF_MEANS,
    acquire_session,
    brain_fit_psnr,
    head_centre,
    load_head,
    low_field_image,
    misaligned,
    phantom_head,
    tissue_by_intensity,
)


@pytest.fixture(scope="module")
def scanned() -> tuple[np.ndarray, np.ndarray, Grid, list[Stack]]:
    rng = np.random.default_rng(11)
    image, affine, tissue = phantom_head(72, rng)
    session = acquire_session(image, affine, tissue, rng)
    truth = low_field_image(image, tissue, LF_MEANS["T1w"])
    stacks = misaligned(session, rng, head_centre(image, affine))
    return truth, tissue.sum(axis=0) > 0.5, Grid(affine, image.shape), stacks


def test_super_resolution_beats_the_plain_mean(scanned):
    truth, brain, grid, stacks = scanned
    mean, sharp = fuse_mean(stacks, grid), fuse_sr(stacks, grid)
    inner = ndimage.binary_erosion(brain, iterations=3)
    # The phantom's rim, a step from air to a thin shell, is beyond any linear model; it must only not get worse.
    assert brain_fit_psnr(sharp, truth, brain) >= brain_fit_psnr(mean, truth, brain)
    assert brain_fit_psnr(sharp, truth, inner) >= brain_fit_psnr(mean, truth, inner) + 0.5


def test_the_order_of_the_stacks_and_the_units_do_not_matter(scanned):
    _, _, grid, stacks = scanned
    grid = Grid(grid.affine, (40, 72, 40))
    first = fuse_sr(stacks, grid)
    louder = [Stack(**vars(s) | {"data": 500 * s.data, "sigma": 500 * s.sigma}) for s in reversed(stacks)]
    assert fuse_sr(louder, grid) / 500 == pytest.approx(first, abs=2e-4)


def test_less_prior_keeps_more_detail_and_more_noise(scanned):
    truth, brain, grid, stacks = scanned
    inner = ndimage.binary_erosion(brain, iterations=3)
    usual, less = (fuse_sr(stacks, grid, brain, prior=prior) for prior in (1.0, 0.25))
    fine = [image - ndimage.gaussian_filter(image, 1.0) for image in (usual, less)]
    kept = [np.polyfit((truth - ndimage.gaussian_filter(truth, 1.0))[inner], one[inner], 1)[0] for one in fine]
    assert kept[1] > 1.1 * kept[0]
    assert brain_fit_psnr(less, truth, inner) < brain_fit_psnr(usual, truth, inner)


def test_nothing_is_invented_where_the_mask_is_far(scanned):
    _, _, grid, stacks = scanned
    mask = np.zeros(grid.shape, bool)
    mask[30:40, 30:40, 30:40] = True
    mean, sharp = fuse_mean(stacks, grid), fuse_sr(stacks, grid, mask)
    assert np.array_equal(sharp[:15], mean[:15])
    assert np.abs(sharp - mean)[mask].mean() > 0.01
    step = np.abs(np.diff(sharp - mean, axis=0)).max(axis=(1, 2))
    assert step[19:21].max() < 0.5 * step.max()


def test_a_smooth_image_without_noise_passes_unchanged():
    grid = Grid(np.diag([1.0, 1.0, 1.0, 1.0]), (48, 48, 48))
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    ramp = 1 + 0.02 * np.arange(48)[:, None, None] + np.zeros((48, 48, 12))
    stack = Stack("acq-axi_T1w", "T1w", ramp.astype(np.float32), affine, affine, (1.0, 1.0, 4.0), 0.01)
    fused = fuse_sr([stack], grid)
    assert fused[12:36, 12:36, 12:36] == pytest.approx(np.broadcast_to(ramp[12:36, :1, :1], (24, 24, 24)), abs=0.02)


def test_the_mean_keeps_to_the_range_of_its_stacks_and_is_zero_outside(scanned):
    _, _, grid, stacks = scanned
    bigger = Grid(grid.affine, (grid.shape[0] + 40, grid.shape[1], grid.shape[2]))
    mean = fuse_mean(stacks, bigger)
    assert mean.min() >= 0
    assert mean.max() <= max(stack.data.max() for stack in stacks)
    assert not mean[-20:].any()


def below(stack: Stack, top: float) -> Stack:
    """An upright stack without the voxels whose centre lies above ``top``, mm."""
    axis = int(np.argmax(np.abs(stack.affine[2, :3])))
    heights = stack.affine[2, 3] + stack.affine[2, axis] * np.arange(stack.data.shape[axis])
    return replace(stack, data=np.compress(heights <= top, stack.data, axis))


@pytest.mark.parametrize("planes", [("axi",), ("cor",), ("axi", "cor", "sag")])
def test_beside_the_face_of_the_field_of_view_nothing_bends_and_beyond_it_is_nothing(planes):
    rng = np.random.default_rng(0)
    image, affine, tissue = phantom_head(48, rng)
    session = acquire_session(image, affine, tissue, rng, planes=planes, motion_mm=0, motion_deg=0, bias=0, snr=50)
    grid, brain = Grid(affine, image.shape), tissue.sum(axis=0) > 0.5
    stacks = [below(scan.stack(), top=6.0) for scan in session]
    seen = np.any([coverage(stack.data.shape, stack.affine, grid) for stack in stacks], axis=0)
    sharp, mean = fuse_sr(stacks, grid, brain & seen), fuse_mean(stacks, grid)
    assert not sharp[~seen].any()
    last = np.flatnonzero(seen.any(axis=(0, 1))).max()
    truth = low_field_image(image, tissue, LF_MEANS["T1w"])[:, :, last]
    inside = brain[:, :, last] & seen[:, :, last]
    error, plain = (np.sqrt(np.mean((one[:, :, last] - truth)[inside] ** 2)) for one in (sharp, mean))
    assert error < 1.1 * plain


def test_scans_without_signal_are_given_back():
    grid = Grid(np.eye(4), (8, 8, 8))
    dark = Stack("acq-iso_T1w", "T1w", np.full(grid.shape, -1, np.float32), np.eye(4), np.eye(4), (1, 1, 1), 0.1)
    np.testing.assert_array_equal(fuse_sr([dark], grid), fuse_mean([dark], grid))


def test_no_stack_gives_an_empty_image():
    grid = Grid(np.eye(4), (4, 5, 6))
    assert not fuse_sr([], grid).any()


@pytest.mark.real
@pytest.mark.slow
def test_super_resolution_gains_half_a_decibel_on_a_real_head(shared_data):
    image, affine = load_head(shared_data / "ds002748" / "sub-53" / "anat" / "sub-53_T1w.nii.gz")
    brain = image > 0
    tissue = tissue_by_intensity(image, brain)
    session = acquire_session(image, affine, tissue, np.random.default_rng(2))
    stacks = misaligned(session, np.random.default_rng(3), head_centre(image, affine))
    grid = Grid(affine, image.shape)
    mean, sharp = fuse_mean(stacks, grid), fuse_sr(stacks, grid, brain)
    assert brain_fit_psnr(sharp, image, brain) >= brain_fit_psnr(mean, image, brain) + 0.5
