"""An estimate is corrected by what its stacks, made by an independent scanner, say beyond it; and by nothing else."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.imaging.acquisition import Acquisition, Frame
from bids_lfenhance.imaging.consistency import TRUST, _compare, posterior_of_error, shading
from bids_lfenhance.imaging.fusion import slab_profile
from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.imaging.volume import Stack
from tests import oracle

SIZE = 56
SNR = 15.0
MEANS = (0.4, 0.8, 1.0)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, Grid, list[Stack]]:
    """(Truth with a lesion, where it is, grid, three stacks of it)."""
    rng = np.random.default_rng(4)
    image, affine, tissue = oracle.phantom_head(SIZE, rng)
    lesion = np.zeros(image.shape, bool)
    lesion[24:29, 36:41, 26:31] = True
    image = np.where(lesion, 0.2 * image, image)
    stacks = [
        oracle.acquire_stack(image, affine, tissue, "T1w", plane=plane, rng=rng, snr=SNR, bias=0.0, means=MEANS).stack()
        for plane in ("axi", "cor", "sag")
    ]
    return oracle.low_field_image(image, tissue, MEANS), lesion, Grid(affine, image.shape), stacks


def correction(*asked) -> np.ndarray:
    found = posterior_of_error(*asked)
    assert found is not None
    return found.mean


def mask_of(truth: np.ndarray) -> np.ndarray:
    return truth > 0.2


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


@pytest.mark.parametrize("sd", [0.08, 0.04])
def test_what_the_estimate_left_out_comes_back_even_where_its_error_scale_was_too_small(head, sd) -> None:
    truth, lesion, grid, stacks = head
    mask = mask_of(truth)
    without = np.where(lesion, np.median(truth[mask & ~lesion]), truth).astype(np.float32)
    change = correction(without, np.full(truth.shape, sd, np.float32), stacks, mask, grid)
    missing = (without - truth)[lesion].mean()
    assert missing > 2 * sd
    assert (without + change - truth)[lesion].mean() < 0.15 * missing
    assert rms(change[mask & ~lesion]) < 0.35 * sd  # elsewhere the estimate was right


@pytest.mark.parametrize("size", [4, 8])
def test_most_of_a_lesion_comes_back_from_one_stack_of_thick_slices(size) -> None:
    rng = np.random.default_rng(4)
    image, affine, tissue = oracle.phantom_head(SIZE, rng)
    lesion = np.zeros(image.shape, bool)
    lesion[24 : 24 + size, 30 : 30 + size, 24 : 24 + size] = True
    image = np.where(lesion, 0.5 * image, image)
    scan = oracle.acquire_stack(image, affine, tissue, "T1w", plane="axi", rng=rng, snr=SNR, bias=0.0, means=MEANS)
    truth = oracle.low_field_image(image, tissue, MEANS)
    mask = mask_of(truth)
    without = np.where(lesion, np.median(truth[mask & ~lesion]), truth).astype(np.float32)
    scale = np.full(truth.shape, 0.04, np.float32)
    change = correction(without, scale, [scan.stack()], mask, Grid(affine, image.shape))
    assert change[lesion].mean() / (truth - without)[lesion].mean() > 0.9


def test_a_right_estimate_hardly_changes(head) -> None:
    truth, _, grid, stacks = head
    mask = mask_of(truth)
    change = correction(truth, np.full(truth.shape, 0.05, np.float32), stacks, mask, grid)
    assert rms(change[mask]) < 0.5 / SNR
    assert not change[~mask].any()


def test_where_the_estimate_is_sure_it_stays(head) -> None:
    truth, lesion, grid, stacks = head
    mask = mask_of(truth)
    without = np.where(lesion, 1, truth).astype(np.float32)
    sure, unsure = (
        correction(without, np.full(truth.shape, sd, np.float32), stacks, mask, grid) for sd in (0.001, 0.08)
    )
    assert rms(sure[lesion]) < 0.05 * rms(unsure[lesion])


def test_gain_and_shading_of_a_stack_are_no_error_of_the_estimate(head) -> None:
    truth, _, grid, stacks = head
    mask, scale = mask_of(truth), np.full(truth.shape, 0.05, np.float32)
    plain = correction(truth, scale, stacks, mask, grid)
    shaded = []
    for number, stack in enumerate(stacks):
        ramp = np.linspace(0.97, 1.03, stack.data.shape[0])[:, None, None] * (1 + 0.1 * number)
        shaded.append(replace(stack, data=(stack.data * ramp).astype(np.float32)))
    changed = correction(truth, scale, shaded, mask, grid)
    assert rms((changed - plain)[mask]) < 0.3 * rms(plain[mask]) + 0.005


def test_the_level_of_an_estimate_comes_half_way_to_that_of_the_scans_and_detail_stays(head) -> None:
    truth, lesion, grid, _ = head
    mask = mask_of(truth)
    slope = np.exp(np.linspace(-0.2, 0.2, SIZE))[:, None, None]
    factor = shading(truth, np.where(lesion, 2 * truth, truth) * slope, mask, grid.zooms)
    middle = tuple(slice(side // 4, -side // 4) for side in truth.shape)
    assert np.abs(np.log(factor) - 0.5 * np.log(slope))[middle].max() < 0.05
    assert np.abs(np.gradient(factor)).max() < 0.02  # the lesion that only one of them has is no level


def test_the_level_of_a_scan_that_covers_half_says_nothing_of_the_other(head) -> None:
    truth, _, grid, _ = head
    half = mask_of(truth) & (np.arange(SIZE) < 20)[:, None, None]
    factor = shading(truth, np.where(half, 1.2 * truth, 0), half, grid.zooms)
    assert factor[half].min() > 1.09
    assert np.isfinite(factor).all()
    assert factor.min() > 0.9
    assert np.array_equal(shading(truth, 0 * truth, np.zeros_like(half), grid.zooms), np.ones(truth.shape))


def test_the_order_of_stacks_changes_no_byte_and_none_changes_nothing(head) -> None:
    truth, _, grid, stacks = head
    mask, scale = mask_of(truth), np.full(truth.shape, 0.05, np.float32)
    one, other = (correction(truth, scale, order, mask, grid) for order in (stacks, stacks[::-1]))
    assert one.tobytes() == other.tobytes()
    assert posterior_of_error(truth, scale, [], mask, grid) is None
    assert posterior_of_error(truth, scale, stacks, np.zeros_like(mask), grid) is None
    assert not correction(truth, 0 * scale, stacks, mask, grid).any()


@pytest.mark.parametrize("width", [1.2, 8.0])
def test_draws_spread_as_the_corrected_estimate_errs_and_agree_with_the_scans(head, width) -> None:
    truth, _, grid, stacks = head
    mask, sd, rng = mask_of(truth), 0.15, np.random.default_rng(1)

    def error() -> np.ndarray:
        """Smooth over some 3 mm, like ``SPECTRUM``, or so much that the scans are not asked."""
        smooth = ndimage.gaussian_filter(rng.standard_normal(truth.shape), width)
        return np.where(mask, sd * smooth / smooth.std(), 0).astype(np.float32)

    estimate = truth + error()
    found = posterior_of_error(estimate, np.full(truth.shape, sd, np.float32), stacks, mask, grid)
    assert found is not None
    corrected = estimate + found.mean
    prior = error()
    drawn = found.draw(prior, np.random.default_rng(2))
    left = rms((corrected - truth)[mask])
    assert left < 0.8 * sd, "the scans say something"
    assert 0.8 * left < rms(drawn[mask]) < 1.2 * left < rms(prior[mask])
    assert not drawn[~mask].any()

    def misfit(image: np.ndarray) -> float:
        scan = stacks[0]
        inside = (
            resample(ndimage.binary_erosion(mask, iterations=3), grid.affine, Grid(scan.affine, scan.data.shape), 0) > 0
        )
        shown = resample(ndimage.uniform_filter1d(image, 5, axis=2), grid.affine, Grid(scan.affine, scan.data.shape))
        return rms((scan.data - np.median(scan.data[inside] / shown[inside]) * shown)[inside])

    assert misfit(corrected + drawn) < misfit(corrected + prior)
    assert found.draw(prior, np.random.default_rng(2)).tobytes() == drawn.tobytes()
    assert found.draw(prior, np.random.default_rng(3)).tobytes() != drawn.tobytes()


def test_the_level_of_an_error_is_what_is_smooth_of_it_inside_the_mask(head) -> None:
    truth, _, grid, stacks = head
    mask, rng = mask_of(truth), np.random.default_rng(3)
    found = posterior_of_error(truth, np.full(truth.shape, 0.1, np.float32), stacks, mask, grid)
    assert found is not None
    fine = np.where(mask, rng.standard_normal(truth.shape), 0).astype(np.float32)
    ramp = np.where(mask, 3 + np.linspace(-0.3, 0.3, SIZE)[:, None, None], 0).astype(np.float32)
    assert rms(found.without_level(ramp)[mask]) < 0.05 * rms(ramp[mask])
    assert rms((found.without_level(fine + ramp) - fine)[mask]) < 0.15
    assert not found.without_level(fine + ramp)[~mask].any()


SIZE = 56


MEANS = (0.4, 0.8, 1.0)


@pytest.fixture(scope="module")
def compared():
    rng = np.random.default_rng(4)
    image, affine, tissue = oracle.phantom_head(SIZE, rng)
    truth, grid = oracle.low_field_image(image, tissue, MEANS), Grid(affine, image.shape)
    stack = oracle.acquire_stack(
        image, affine, tissue, "T1w", plane="axi", rng=rng, snr=15, bias=0.0, means=MEANS
    ).stack()
    frame = Frame(grid)
    depth = ndimage.distance_transform_edt(truth > 0.2, grid.zooms).astype(np.float32)
    return truth, stack, depth, frame


def test_a_draw_of_the_noise_is_as_wide_as_the_scans_are_trusted(compared):
    """By Matheron's rule the draw needs the noise that the solution believes in, TRUST and all."""
    truth, stack, depth, frame = compared
    scan = _compare(stack, frame.spectrum(truth), depth, frame)
    drawn = scan.of_draw(0 * frame.spectrum(truth), np.random.default_rng(1))
    assert drawn.residual.std() == pytest.approx(scan.noise / TRUST**0.5, rel=0.05)


def test_noise_is_no_less_than_what_a_good_fit_leaves_nor_than_the_scan_says(compared):
    truth, stack, depth, frame = compared
    spectrum = frame.spectrum(truth)
    left = _compare(stack, spectrum, depth, frame).residual
    robust = 1.4826 * np.median(np.abs(left))
    for sigma, noise in ((0.01 * stack.sigma, robust), (3 * stack.sigma, 3 * stack.sigma)):
        found = _compare(replace(stack, sigma=sigma), spectrum, depth, frame)
        assert found.noise == pytest.approx(noise, rel=0.15), sigma


def test_the_mean_of_a_magnitude_is_no_signal(compared):
    """At SNR 3 a magnitude lies 5 % above its signal, and more where it is dark: no error of the estimate."""
    truth, stack, depth, frame = compared
    rng = np.random.default_rng(2)
    geometry = Grid(stack.affine, stack.data.shape)
    signal = Acquisition(geometry, slab_profile(stack.fwhm), frame.grid, None, frame).forward(truth)
    sigma = 0.3
    data = np.hypot(signal + rng.normal(0, sigma, signal.shape), rng.normal(0, sigma, signal.shape)).astype(np.float32)
    scan = _compare(replace(stack, data=data, sigma=sigma), frame.spectrum(truth), depth, frame)
    assert scan.gain == pytest.approx(1, abs=0.03)


def test_level_half_way():
    from bids_lfenhance.imaging.consistency import shading

    slope = np.exp(np.linspace(-0.4, 0.4, SIZE))[:, None, None]
    truth = np.ones((SIZE,) * 3)
    factor = shading(truth, truth * slope, truth > 0, (1.0, 1.0, 1.0))
    middle = slice(SIZE // 4, -SIZE // 4)
    share = np.polyfit(np.log(slope)[middle, 0, 0], np.log(factor)[middle, SIZE // 2, SIZE // 2], 1)[0]
    assert share == pytest.approx(0.5, abs=0.1)
