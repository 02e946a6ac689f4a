"""The operator as a simulator and as a method, and what it can learn."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.intensity_scale import Scale
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.simulators.h2lo.inference import degrade_batch, operators
from bids_lfenhance.simulators.h2lo.method import TRAINABLE
from bids_lfenhance.simulators.h2lo.network import REACH
from bids_lfenhance.simulators.h2lo.settings import H2loSettings, H2loSimulatorSettings
from bids_lfenhance.simulators.h2lo.simulator import SIMULATOR
from bids_lfenhance.simulators.presets import named_preset, stack_geometry
from bids_lfenhance.simulators.session import record_json, replay, simulate_session
from bids_lfenhance.simulators.source import COMMON_MM, HighField
from tests.methods.learned import fit, untrained_weights
from tests.oracle import phantom_head
from tests.simulators.sources import phantom_source

STILL = tuple(map(tuple, np.eye(4).tolist()))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_weights(TRAINABLE.name, tmp_path_factory.mktemp("h2lo"), contrasts=("T1w", "FLAIR"), features=16)


@pytest.fixture(scope="module")
def source() -> HighField:
    return phantom_source(size=32)


def drawn(source: HighField, weights: Path, seed: int = 1, word: str = "hyperfine-axi", **changes: Any) -> Any:
    settings = H2loSimulatorSettings(weights=str(weights), **changes)
    return SIMULATOR.draw(source, named_preset(word, source.contrast), settings, np.random.default_rng(seed))


def test_it_is_in_the_table() -> None:
    assert get_simulator("h2lo") is SIMULATOR


def test_on_the_grid_of_high_field_it_is_what_the_operator_predicts(source: HighField, weights: Path) -> None:
    record = replace(drawn(source, weights), motion=STILL)
    stack = SIMULATOR.apply(source, source.grid, record)
    scale = Scale.of(source.image[None], source.mask)
    image = torch.from_numpy(scale.apply(source.image[None], source.mask)).expand(3, -1, -1, -1)[None]
    present, place = torch.tensor([[True, False, False]]), torch.from_numpy(source.to_template).float()[None]
    batch = Batch(image, present, torch.from_numpy(source.mask)[None, None], to_template=place)
    loaded = load_weights(str(weights), "h2lo", ("T1w",))
    expected = degrade_batch(operators(loaded), batch)[0, 0].numpy() * scale.values[0]
    assert expected.std() > 0
    np.testing.assert_allclose(stack.data, expected, atol=1e-4 * expected.max())
    assert (stack.sigma, stack.fwhm) == (0.0, source.grid.zooms)


def test_the_same_record_gives_the_same_bytes(source: HighField, weights: Path) -> None:
    record = drawn(source, weights, word="hyperfine-sag", snr=15.0)
    assert type(record).of(json.loads(json.dumps(asdict(record)))) == record
    geometry = stack_geometry(named_preset("hyperfine-sag", "T1w"), source.grid)
    first = SIMULATOR.apply(source, geometry, record)
    again = replay(json.dumps(record_json(SIMULATOR, record)), phantom_source(size=32), geometry)
    assert first.data.tobytes() == again.data.tobytes()
    assert first.data.shape == geometry.shape
    np.testing.assert_allclose(first.lf2hf_xfm, record.motion, atol=1e-12)
    assert record == drawn(source, weights, word="hyperfine-sag", snr=15.0)
    assert record != drawn(source, weights, seed=2, word="hyperfine-sag", snr=15.0)


def test_noise_is_as_strong_as_asked_for(source: HighField, weights: Path) -> None:
    clean, noisy = (
        SIMULATOR.apply(source, source.grid, replace(drawn(source, weights, snr=snr), motion=STILL))
        for snr in (0.0, 30.0)
    )
    bright = clean.data > 10 * noisy.sigma
    assert noisy.sigma > 0
    assert (noisy.data - clean.data)[bright].std() == pytest.approx(noisy.sigma, rel=0.05)


def test_the_units_of_high_field_do_not_matter(source: HighField, weights: Path) -> None:
    record = drawn(source, weights)
    one, other = (
        SIMULATOR.apply(head, head.grid, record) for head in (source, replace(source, image=source.image * 8))
    )
    np.testing.assert_allclose(other.data, 8 * one.data, rtol=1e-3, atol=1e-3 * other.data.max())


def test_a_session_is_read_from_one_low_field(source: HighField, weights: Path) -> None:
    presets = [named_preset(word, "T1w") for word in ("hyperfine-axi", "hyperfine-cor")]
    settings = H2loSimulatorSettings(weights=str(weights))
    session = simulate_session(SIMULATOR, [source], presets, settings, np.random.default_rng(0))
    assert [record.plane for _, record in session] == ["axi", "cor"]
    assert all(np.isfinite(stack.data).all() and stack.data.any() for stack, _ in session)


def test_other_weights_than_the_record_names_are_refused(source: HighField, weights: Path) -> None:
    record = replace(drawn(source, weights), sha256="0" * 64)
    with pytest.raises(InputError, match="put the old ones back"):
        SIMULATOR.apply(source, source.grid, record)


def test_a_record_replays_with_weights_that_have_moved(source: HighField, weights: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(weights, old)
    record = replace(drawn(source, old), motion=STILL)
    first, text = SIMULATOR.apply(source, source.grid, record), json.dumps(record_json(SIMULATOR, record))
    old.rename(new)
    head = phantom_source(size=32)
    with pytest.raises(InputError, match="name a folder of a training"):
        replay(text, head, head.grid)
    for place in (new, new / "weights.safetensors"):
        assert replay(text, head, head.grid, weights=place).data.tobytes() == first.data.tobytes()
    others = untrained_weights(TRAINABLE.name, tmp_path / "others", contrasts=("T1w",), features=8)
    with pytest.raises(InputError, match="that the record names"):
        replay(text, head, head.grid, weights=others)


def test_a_contrast_without_an_operator_is_refused(source: HighField, weights: Path) -> None:
    with pytest.raises(InputError, match="T2w"):
        drawn(replace(source, contrast="T2w"), weights)


def test_weights_that_claim_more_than_they_hold_are_refused(weights: Path) -> None:
    loaded = load_weights(str(weights), "h2lo", ("T1w",))
    state = {name: net for name, net in loaded.state.items() if name != "FLAIR"}
    with pytest.raises(InputError, match=r"operator for FLAIR .* found those of T"):
        operators(replace(loaded, state=state))


def swapped(seed: int, size: int = 20) -> Batch:
    """A phantom whose grey and white matter change places in low field, as a batch of T1w alone.

    Air all around, so that the operator is asked for every voxel of the brain.
    """
    _, affine, tissue = phantom_head(size, np.random.default_rng(seed))
    tissue = np.pad(tissue, [(0, 0), *[(REACH, REACH)] * 3])
    affine[:3, 3] -= REACH
    mask = tissue.sum(axis=0) > 0.5
    images = [np.tensordot(means, tissue, 1) * mask for means in ((0.2, 0.6, 1.0), (0.2, 1.0, 0.6))]
    high, low = (torch.zeros(1, 3, *mask.shape) for _ in range(2))
    high[0, 0], low[0, 0] = (torch.from_numpy(image.astype(np.float32)) for image in images)
    flags = torch.tensor([[True, False, False]])
    place = torch.from_numpy((np.diag([1 / COMMON_MM] * 3 + [1]) @ affine).astype(np.float32))[None]
    inside = torch.from_numpy(mask)[None, None]
    return Batch(high, flags, inside, target=low, wanted=flags, to_template=place)


def ncc(image: torch.Tensor, batch: Batch) -> float:
    mask = batch.mask[0, 0]
    return float(np.corrcoef(image[0, 0][mask].numpy(), batch.target[0, 0][mask].numpy())[0, 1])


@pytest.mark.parametrize(
    ("features", "rate"), [(8, 4e-3), pytest.param(128, 1e-3, marks=pytest.mark.slow)], ids=["small", "published"]
)
def test_it_learns_that_tissues_change_places(features: int, rate: float) -> None:
    """Row 14: three phantoms to learn from, a fourth to be judged by; 300 steps."""
    settings = H2loSettings(contrast="T1w", features=features, voxels=1000, block=10)
    torch.manual_seed(0)
    nets = TRAINABLE.build(settings)  # type: ignore[union-attr]
    heads = [swapped(seed) for seed in range(3)]
    fit(TRAINABLE, settings, nets, heads, steps=300, rate=rate)
    unseen = swapped(3)
    found = degrade_batch(nets, unseen)
    assert ncc(found, unseen) > ncc(unseen.input, unseen) + 0.2
    further = unseen.to_template.clone()
    further[0, 0, 3] += 5 / COMMON_MM
    moved = degrade_batch(nets, replace(unseen, to_template=further))
    assert (moved - found).abs().max() > 0.01


@pytest.mark.parametrize("contrast", ["T1w", "T2w"])
def test_the_bundled_weights_work_without_a_word(contrast: str) -> None:
    """A phantom is no brain, so this says only that something of it is seen, and that they say whom they know."""
    source = phantom_source(size=32, contrast=contrast)
    preset, rng = named_preset("hyperfine-axi", contrast), np.random.default_rng(1)
    record = SIMULATOR.draw(source, preset, H2loSimulatorSettings(), rng)
    made = SIMULATOR.apply(source, source.grid, replace(record, motion=STILL)).data
    assert np.isfinite(made).all()
    assert made[source.mask].mean() > 2 * made[~source.mask].mean()
    assert record.trained_on
