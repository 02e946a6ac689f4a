"""What holds on a GPU: the processor's image, memory as estimated, and a device that runs out. Skipped without one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import METHODS, description, get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.memory import limit_of

from .learned import untrained_weights
from .phantoms import small_session

NAMES = [name for name in METHODS if description(name).is_trained]

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.parametrize("name", NAMES),
]


def settings_of(name: str, folder: Path, **changes: Any) -> Any:
    method = get_method(name)
    return method.about.sampling(weights=str(untrained_weights(method.name, folder)), contrast="none", **changes)


def head(size: int = 160) -> Volume:
    """No image, but the size of one."""
    noise = np.random.default_rng(0).random((size,) * 3, np.float32)
    volume = volume_from_channels(Grid(np.eye(4), (size,) * 3), {"T1w": noise + 1})
    return volume.with_anatomy(np.ones((size,) * 3, bool), np.zeros((3,) + (size,) * 3, np.float32))


def test_the_image_of_the_processor(name: str, tmp_path: Path) -> None:
    session = small_session(np.random.default_rng(7), size=32)
    images = []
    for device in ("cpu", "cuda:0"):
        settings = settings_of(name, tmp_path / device[:4], device=device)
        images.append(enhance(session, get_method(name), settings, np.random.default_rng(0), n_samples=1).image)
    far = np.abs(images[0] - images[1]).mean() / np.abs(images[0]).mean()
    assert far < 0.02, "both multiply in bfloat16, and round at other places"


def test_no_more_memory_than_there_was_said_to_be(name: str, tmp_path: Path) -> None:
    method, volume = get_method(name), head()
    settings = settings_of(name, tmp_path, device="cuda:0")
    assert method.fit_to_memory is not None
    shared = method.prepare(volume, settings)
    fitted = None
    for limit in np.geomspace(2**30, limit_of("cuda:0"), 4):
        try:
            fitted = method.fit_to_memory(shared, int(limit))
        except InputError:
            continue  # what is refused takes nothing; all of the device is enough for every method
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        method.sample(fitted, np.random.default_rng(0))
        assert torch.cuda.max_memory_allocated() - before <= limit
    assert fitted


def test_a_device_that_runs_out_is_named(name: str, tmp_path: Path) -> None:
    settings = settings_of(name, tmp_path, device="cuda:0")
    whole = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_allocated() + 2**27) / whole)
    try:
        with pytest.raises(MethodError, match=f"{name} ran out of memory on its device"):
            enhance(head(), get_method(name), settings, np.random.default_rng(0), n_samples=1)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
