from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.fusion import fuse_session
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.pfsr.loss import stages
from bids_lfenhance.methods.pfsr.method import ENHANCER, TRAINABLE
from bids_lfenhance.methods.pfsr.network import build
from bids_lfenhance.methods.pfsr.settings import PfsrSettings
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights

from ..learned import batch_of, untrained, untrained_weights
from ..phantoms import small_session

SMALL = PfsrSettings(width=8, groups=1, blocks=1, reduction=4, shuffle=2)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7), size=24)


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights before their first step: the enhanced image is the image."""
    recipe = {"method": "pfsr", "contrasts": CONTRASTS, "settings": asdict(SMALL)}
    return save_weights(tmp_path_factory.mktemp("identity"), build(SMALL), recipe, "")


def run(volume: Volume, weights: Path, draws: int = 1, seed: int = 0, **changes: Any) -> Enhanced:
    return enhance(volume, ENHANCER, PfsrSettings(weights=str(weights), **changes), np.random.default_rng(seed), draws)


@pytest.mark.parametrize("shuffle", [1, 2])
@pytest.mark.parametrize("window", [8, 11])
def test_windows_give_what_one_piece_gives(shuffle: int, window: int) -> None:
    settings = replace(SMALL, shuffle=shuffle)
    nets, batch = untrained(TRAINABLE, settings, spread=0.1), batch_of("lf2hf", size=23)
    whole = TRAINABLE.predict(nets, batch, settings, torch.Generator())
    assert (whole - batch.input).abs().max() > 0.05
    parts = TRAINABLE.predict(nets, batch, replace(settings, window=window), torch.Generator())
    torch.testing.assert_close(parts, whole, atol=1e-5, rtol=0)


def test_windows_are_refused_where_they_would_change_the_result() -> None:
    with pytest.raises(InputError, match="window = 0"):
        build(replace(SMALL, attention="global", window=32))


def test_untrained_weights_return_the_brain_in_its_units(session: Volume, identity: Path) -> None:
    """Through box, scale, mirror, shift and back: nothing moves, nothing is rescaled."""
    for seed in range(4):
        result = run(session, identity, seed=seed, noise=0.0)
        np.testing.assert_allclose(result.image, session.image, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("fusion", ["mean", "sr"])
def test_a_contrast_that_the_weights_do_not_know_is_only_fused(session: Volume, tmp_path: Path, fusion: Any) -> None:
    """Without the noise that the draws add to what the network enhances."""
    weights = untrained_weights(TRAINABLE.name, tmp_path, contrasts=("T1w",), fusion=fusion)
    result, fused = run(session, weights, noise=2.0), fuse_session(session, fusion)
    np.testing.assert_array_equal(result.image[1], fused[1])
    assert not np.array_equal(result.image[0], fused[0])
    assert any(text.startswith("T2w was not enhanced") for text in result.provenance["warnings"])


def test_what_is_enhanced_is_fused_as_in_training(session: Volume, tmp_path: Path) -> None:
    recipe = {"method": "pfsr", "contrasts": CONTRASTS, "settings": asdict(replace(SMALL, fusion="sr"))}
    weights = save_weights(tmp_path, build(SMALL), recipe, "")
    result = run(session, weights, noise=0.0, fusion="mean")
    np.testing.assert_allclose(result.image, fuse_session(session, "sr"), rtol=1e-5, atol=1e-6)
    assert not np.allclose(result.image, session.image, rtol=1e-2)


def test_a_share_of_the_networks_change_is_that_share(session: Volume, tmp_path: Path) -> None:
    weights = untrained_weights(TRAINABLE.name, tmp_path, strength=0.5)
    none, half, whole = (run(session, weights, noise=0.0, strength=share).image for share in (1e-9, 0.5, 1.0))
    assert np.abs(whole - none).max() > 1e-3
    np.testing.assert_allclose(half, (none + whole) / 2, atol=1e-5 * session.image.max())
    np.testing.assert_array_equal(run(session, weights, noise=0.0).image, half, "the weights' own")
    with pytest.raises(InputError, match="Expected strength to be at most 1"):
        PfsrSettings(strength=2)


def test_the_spread_follows_the_noise_of_the_scan(session: Volume, identity: Path) -> None:
    quiet = replace(session, stacks=tuple(replace(stack, sigma=stack.sigma / 4) for stack in session.stacks))

    def spread(volume: Volume, noise: float) -> np.ndarray:
        """(N,) how far two draws lie apart in the brain, T1w."""
        one, other = (run(volume, identity, seed=seed, noise=noise).image[0] for seed in (0, 1))
        return np.abs(one - other)[session.brain]

    assert np.median(spread(session, 1.0)) > 0.1 * session.stacks[0].sigma
    assert np.median(spread(session, 1.0)) == pytest.approx(4 * np.median(spread(quiet, 1.0)), rel=0.1)
    assert spread(session, 0.0).max() < 1e-4 * session.image.max()


def test_the_record_names_the_weights(session: Volume, identity: Path) -> None:
    provenance = run(session, identity).provenance
    record = provenance["records"][0]
    assert len(record["weights_sha256"]) == 64
    assert provenance["settings"]["shuffle"] == 2, "the weights', not the default"
    assert record["precision"] in ("bf16", "fp32")
    assert set(record["scale"]) == {"T1w", "T2w"}


def test_other_voxels_than_it_learnt_on_are_warned_about(session: Volume, identity: Path) -> None:
    coarse = replace(session, grid=Grid(np.diag([2.0, 2, 2, 1]), session.grid.shape), stacks=())
    assert any("voxels of 1 mm" in text for text in run(coarse, identity).provenance["warnings"])
    assert not any("voxels of 1 mm" in text for text in run(session, identity).provenance["warnings"])


def test_no_weights_is_said_with_how_to_train_them(session: Volume, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="train --method pfsr"):
        run(session, tmp_path / "nowhere")


def test_stages_without_steps_are_left_out() -> None:
    assert [stage.name for stage in stages(PfsrSettings())] == ["pretrain", "finetune"]
    assert [stage.name for stage in stages(PfsrSettings(pretrain_steps=0))] == ["finetune"]
    (only,) = stages(PfsrSettings(finetune_steps=0, rate=0.5))
    assert (only.data, only.phases[0].rate) == ("simulated", 0.5)
