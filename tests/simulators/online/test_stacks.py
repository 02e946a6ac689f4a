"""Stacks simulated in torch have the noise, the resolution and the contrast that were drawn of them."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.imaging.acquisition import Acquisition
from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.imaging.profile import FWHM_PER_SD
from bids_lfenhance.nn.acquisition import frequencies, padded_spectrum
from bids_lfenhance.nn.settings import OnlineTraining
from bids_lfenhance.simulators.online.fields import Noise
from bids_lfenhance.simulators.online.material import TrainingHead, tissue_of_intensity
from bids_lfenhance.simulators.online.parameters import Lesion, Painting, SessionParameters, StackDraw, draw_session
from bids_lfenhance.simulators.online.stacks import (
    interpolated,
    lattice,
    registered_affine,
    scan,
    simulate,
    transfer_of,
    true_affine,
)
from bids_lfenhance.simulators.online.subjects import make_subject

from .phantoms import head, label_image, radius_of

CPU = torch.device("cpu")
NOTHING = (0.0, 0.0, 0.0)
PAD = 8

PLAIN = StackDraw(
    0, (1.6, 1.6, 5.0), ("gaussian",) * 3, (1.6, 1.6, 5.0), NOTHING, NOTHING, NOTHING, NOTHING, NOTHING,
    0.0, 0.0, 0.0, 0.0, (0, 0, 0),
)  # fmt: skip
"""A stack without any fault."""


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def scanned(image: np.ndarray, stack: StackDraw, seed: int = 0) -> torch.Tensor:
    spectrum, sides = padded_spectrum(torch.from_numpy(image.astype(np.float32))[None], PAD)
    return scan(stack, spectrum, sides, PAD, image.shape, 1.0, Noise(seed))


def blob(shape: tuple[int, int, int], sd: float) -> np.ndarray:
    x, y, z = (np.arange(side) - (side - 1) / 2 for side in shape)
    return np.exp(-(x[:, None, None] ** 2 + y[None, :, None] ** 2 + z[None, None, :] ** 2) / (2 * sd**2))


def spread_of(data: np.ndarray, step: tuple[float, ...]) -> np.ndarray:
    """(3,) variance of a blob along its axes, mm²."""
    weight = data / data.sum()
    found = []
    for axis, size in enumerate(step):
        share = weight.sum(axis=tuple({0, 1, 2} - {axis}))
        place = (np.arange(len(share)) - (share * np.arange(len(share))).sum()) * size
        found.append((share * place**2).sum())
    return np.array(found)


def test_a_gaussian_stack_is_that_of_the_numpy_acquisition() -> None:
    image = blob((40, 44, 42), 5)
    stack = replace(PLAIN, degrees=(4.0, -3.0, 7.0), shift=(1.0, -2.0, 0.5), offset=(0.3, -0.2, 0.1))
    applied = tuple(math.sqrt(width**2 - 1) for width in stack.width)
    geometry = Grid(true_affine(stack, image.shape), lattice(stack, image.shape))
    expected = Acquisition(geometry, applied, Grid(np.eye(4), image.shape)).forward(image.astype(np.float32))
    np.testing.assert_allclose(scanned(image, stack).numpy(), expected, atol=1e-4 * expected.max())


@pytest.mark.parametrize("slot", [0, 1, 2, 3])
def test_resolution_is_the_one_that_was_drawn(slot: int) -> None:
    """The variance of a blob grows by that of the profile; the 1 mm of the head is in the width already."""
    voxel = tuple(2.5 if slot == 3 else 5.0 if axis == {0: 2, 1: 1, 2: 0}[slot] else 1.5 for axis in range(3))
    width = tuple(1.1 * size for size in voxel)
    stack = replace(PLAIN, slot=slot, voxel=voxel, width=width, offset=(0.2, 0.4, -0.1))
    before = spread_of(blob((64, 64, 64), 4), (1.0,) * 3)
    after = spread_of(scanned(blob((64, 64, 64), 4), stack).numpy(), voxel)
    np.testing.assert_allclose(after - before, (np.array(width) ** 2 - 1) / FWHM_PER_SD**2, rtol=0.03)
    slab = replace(stack, profile=("box",) * 3)
    after = spread_of(scanned(blob((64, 64, 64), 4), slab).numpy(), voxel)
    np.testing.assert_allclose(after - before, np.array(width) ** 2 / 12, rtol=0.05)


def test_a_k_space_that_ends_halves_the_last_wave_and_passes_long_ones() -> None:
    stack = replace(PLAIN, profile=("lowpass",) * 3, width=(2.0, 2.0, 2.0))
    passed = transfer_of(stack, frequencies((80, 80, 80), CPU))
    assert float(passed[20, 0, 0]) == pytest.approx(0.5, abs=1e-5)  # a quarter of a cycle per mm
    assert float(passed[12, 0, 0]) == pytest.approx(1.0)
    assert float(passed[28, 0, 0]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("smooth", [0.0, 1.5])
def test_noise_is_the_one_that_was_drawn(smooth: float) -> None:
    image = np.ones((60, 60, 60))
    stack = replace(PLAIN, noise=0.05, smooth=smooth)
    one, other = scanned(image, stack, 1), scanned(image, stack, 2)
    inner = (slice(8, -8), slice(8, -8), slice(2, -2))
    assert float((one - other)[inner].std()) / math.sqrt(2) == pytest.approx(0.05, rel=0.08)
    neighbours = torch.corrcoef(torch.stack([one[inner][1:].flatten(), one[inner][:-1].flatten()]))[0, 1]
    assert (float(neighbours) > 0.3) == bool(smooth)


def test_without_signal_noise_is_rayleigh() -> None:
    found = scanned(np.zeros((60, 60, 60)), replace(PLAIN, noise=0.1))
    assert float(found.mean()) == pytest.approx(0.1 * math.sqrt(math.pi / 2), rel=0.02)


def test_shading_and_gains_of_slices_are_as_wide_as_drawn() -> None:
    image = np.ones((70, 70, 70))
    shaded = scanned(image, replace(PLAIN, bias=0.2)).log()[6:-6, 6:-6, 2:-2]
    assert 0.1 < float(shaded.std()) < 0.25
    gains = scanned(image, replace(PLAIN, voxel=(2.0, 2.0, 1.0), width=(2.0, 2.0, 1.0), slices=0.04))
    slices = gains[5:-5, 5:-5, 5:-5].mean(dim=(0, 1))
    assert 0.025 < float(slices.std()) < 0.055


def test_it_is_brought_back_as_the_app_resamples() -> None:
    image = blob((40, 44, 42), 6).astype(np.float32)
    stack = replace(
        PLAIN, degrees=(3.0, 1.0, -2.0), error_degrees=(1.0, 0.0, 0.5), error_shift=(0.3, 0.2, 0.1), cut=(2, 1, 0)
    )
    data = scanned(image, stack)
    found, inside = interpolated(data, stack, image.shape)
    expected = resample(data.numpy(), registered_affine(stack, image.shape), Grid(np.eye(4), image.shape))
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-4)
    assert not inside[:, :, :3].any()


def session(material: TrainingHead, seed: int = 3, **changes: Any) -> SessionParameters:
    """A session of all four stacks without faults."""
    drawn = draw_session(np.random.default_rng(seed), material, material.kind == "head", 0.0)
    stacks = tuple(
        replace(PLAIN, slot=slot, voxel=voxel, width=voxel)
        for slot, voxel in enumerate([(1.5, 1.5, 4.0), (1.5, 4.0, 1.5), (4.0, 1.5, 1.5), (2.2, 2.2, 2.2)])
    )
    plain = replace(drawn.subject, warp=None, flip=False)
    return replace(drawn, stacks=stacks, subject=plain, rim=(0.0, 0.0), **changes)


def test_tissues_are_as_bright_as_drawn() -> None:
    """On average: each tissue of a head is shaded by 5 %."""
    material = head(texture=3.0)
    radius = np.pad(radius_of((44, 48, 40)), 8, constant_values=9.0)
    parts = [torch.from_numpy(part) for part in (abs(radius - 0.7) < 0.06, radius < 0.4)]
    ratios = []
    for seed in range(8):
        drawn = session(material, seed)
        sharp = make_subject(material, drawn.subject, Noise(drawn.seed), CPU)
        assert float(sharp.high[parts[1]].mean()) == pytest.approx(210 / 230, rel=0.02)
        means = drawn.subject.contrast.means[1:]
        ratios.append([float(sharp.low[part].mean()) / mean for part, mean in zip(parts, means, strict=True)])
    assert np.mean(ratios, axis=0) == pytest.approx([1, 1], abs=0.04)
    assert np.std(ratios) < 0.07


def test_labels_are_painted_as_drawn() -> None:
    material = TrainingHead("labels", np.pad(label_image(), 8), "m/1")
    drawn = session(material)
    assert isinstance(drawn.subject.contrast, Painting)
    sharp = make_subject(material, drawn.subject, Noise(drawn.seed), CPU)
    means = drawn.subject.contrast.means
    for left, right in ((2, 41), (3, 42), (4, 43)):
        assert means[left] == means[right]
        inside = torch.from_numpy(np.isin(material.image, (left, right)))
        assert float(sharp.low[inside].mean()) == pytest.approx(means[left], abs=0.1)
    assert sharp.high is None


def test_a_lesion_is_where_and_as_bright_as_drawn() -> None:
    material = head()
    lesion = Lesion((30, 32, 28), 4.0, (1.0, 1.0, 1.0))
    drawn = session(material)
    subject = replace(drawn.subject, lesions=(lesion,), low=0.3, high=0.25)
    sharp = make_subject(material, subject, Noise(drawn.seed), CPU)
    assert float(sharp.lesions[lesion.centre]) > 0.95
    assert float(sharp.low[lesion.centre]) == pytest.approx(0.3, abs=0.05)
    assert float(sharp.high[lesion.centre]) == pytest.approx(0.25, abs=0.05)
    assert float(sharp.lesions[30, 32, 45]) == 0
    volume = float(sharp.lesions.sum())
    assert 0.5 < volume / (4 / 3 * math.pi * 4**3) < 1.6


def test_all_stacks_show_the_head_on_its_scale() -> None:
    material = head()
    found = simulate(material, session(material), CPU)
    brain = torch.from_numpy(np.pad(radius_of((44, 48, 40)), 8, constant_values=9.0) < 0.5)
    for slot in range(4):
        ratio = found.image[slot][brain].mean() / found.own[brain].mean()
        assert float(ratio) == pytest.approx(1, abs=0.04)
    assert found.present.tolist() == [True] * 4
    assert found.resolution.tolist()[1] == pytest.approx([1.5, 4.0, 1.5])
    assert not found.image[~found.covered].any()
    assert not found.own[~found.brain].any()


def test_the_order_of_the_stacks_is_nothing() -> None:
    material = head()
    drawn = draw_session(np.random.default_rng(8), material, True, OnlineTraining.lesions)
    stacks = session(material).stacks
    one = simulate(material, replace(drawn, stacks=stacks), CPU)
    other = simulate(material, replace(drawn, stacks=stacks[::-1]), CPU)
    for name in ("image", "covered", "own", "high", "lesions"):
        assert torch.equal(getattr(one, name), getattr(other, name))


def test_a_session_is_a_function_of_what_was_drawn() -> None:
    material = head()
    for seed in range(3):
        drawn = draw_session(np.random.default_rng(seed), material, bool(seed % 2), OnlineTraining.lesions)
        assert drawn == draw_session(np.random.default_rng(seed), material, bool(seed % 2), OnlineTraining.lesions)
        one, other = simulate(material, drawn, CPU), simulate(material, drawn, CPU)
        assert torch.equal(one.image, other.image)
        assert torch.isfinite(one.image).all()
        assert float(one.own.max()) <= 4
        assert not torch.equal(one.image, simulate(material, replace(drawn, seed=1), CPU).image)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_makes_what_the_processor_makes() -> None:
    material = head()
    drawn = draw_session(np.random.default_rng(1), material, True, OnlineTraining.lesions)
    here, there = simulate(material, drawn, CPU), simulate(material, drawn, torch.device("cuda"))
    torch.testing.assert_close(there.image.cpu(), here.image, atol=1e-3, rtol=0)


def test_the_tissues_of_a_head_are_found_in_its_histogram() -> None:
    """Little fluid, grey and white matter that overlap: the darkest voxels are fluid, the brightest white."""
    rng = np.random.default_rng(0)
    parts = [(60, 12, 3000), (110, 20, 20_000), (180, 15, 18_000)]
    values = np.concatenate([rng.normal(mean, sd, count) for mean, sd, count in parts])
    posterior, means = tissue_of_intensity(np.bincount(np.clip(values, 1, 255).astype(int), minlength=256))
    assert np.array(means) * 230 == pytest.approx([60, 110, 180], abs=15)
    assert posterior[30].argmax() == 0
    assert posterior[30, 0] > 0.9
    assert posterior[210, 2] > 0.9
    np.testing.assert_allclose(posterior.sum(axis=1), 1, atol=1e-6)
