"""``pfsr`` runs windows as large as memory allows, and refuses before it starts."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import get_method, get_trainable
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.pfsr.inference import PfsrPrepared
from bids_lfenhance.nn.crop import BrainCrop
from bids_lfenhance.nn.memory import GIB
from bids_lfenhance.nn.method import StartingImage

from ..learned import untrained_weights
from ..phantoms import small_session


@pytest.fixture(scope="module")
def head() -> Volume:
    """No image, but the size of one."""
    shape = (160, 192, 152)
    volume = volume_from_channels(Grid(np.eye(4), shape), {"T1w": np.ones(shape, np.float32)})
    return volume.with_anatomy(np.ones(shape, bool), np.zeros((3, *shape), np.float32))


def unheld(preset: str, volume: Volume) -> Any:
    """What ``fit_to_memory`` looks at in a preset's networks: their size, so they are without storage."""
    method = get_trainable("pfsr")
    settings = method.about.settings(**method.about.presets[preset])
    with torch.device("meta"):
        nets = method.build(settings)
    loaded: Any = SimpleNamespace(contrasts=("T1w",), method="pfsr")
    estimate = StartingImage(volume, {}, ("T1w",))
    return PfsrPrepared(volume, settings, nets, loaded, "fp32", estimate, BrainCrop.of(volume, ("T1w",)))


def prepared(folder: Path, volume: Volume, **changes: Any) -> Any:
    method = get_method("pfsr")
    settings = method.about.sampling(weights=str(untrained_weights(method.name, folder)), **changes)
    return method.prepare(volume, settings)


def test_less_memory_less_at_once_down_to_a_refusal(tmp_path: Path, head: Volume) -> None:
    method = get_method("pfsr")
    assert method.fit_to_memory is not None
    nets = prepared(tmp_path, head)
    sizes, refusal = [], ""
    for limit in [64 * GIB, *np.geomspace(4, 0.05, 9) * GIB]:
        try:
            sizes.append(method.fit_to_memory(nets, int(limit)).settings.window)
        except InputError as error:
            refusal = str(error)
            break
    assert "GiB of memory for the network on 160 x 192 x 152 voxels" in refusal
    assert sizes[0] == nets.settings.window, "there was room for what was asked"
    rank = [size or 10**9 for size in sizes]
    assert rank == sorted(rank, reverse=True)
    assert len(set(sizes)) > 1


def test_the_published_size_is_known_too(head: Volume) -> None:
    method = get_method("pfsr")
    assert method.fit_to_memory is not None
    nets = unheld("paper", head)
    size = method.fit_to_memory(nets, 100 * GIB).settings.window
    assert size == nets.settings.window
    with pytest.raises(InputError, match="GiB of memory for the network"):
        method.fit_to_memory(nets, GIB // 4)


def test_it_refuses_before_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = get_method("pfsr")

    def never(*_: Any) -> Any:
        pytest.fail("it began")

    settings = method.about.sampling(weights=str(untrained_weights(method.name, tmp_path)))
    session = small_session(np.random.default_rng(7), size=24)
    with pytest.raises(InputError, match="GiB of memory"):
        enhance(session, replace(method, sample=never), settings, np.random.default_rng(0), memory_gb=0.01)
