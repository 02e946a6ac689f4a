"""Which processor is taken, and how many threads."""

from collections.abc import Iterator

import pytest
import torch

from bids_lfenhance import resources
from bids_lfenhance.errors import InputError
from bids_lfenhance.nn.device import choose_device, use_threads


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("asked", "processes", "found"), [(None, None, 8), (None, "3", 2), (None, "20", 1), (5, "3", 5)]
)
def test_the_processes_of_a_machine_share_its_processors(monkeypatch, asked, processes, found: int) -> None:
    monkeypatch.setattr(resources, "available_cpus", lambda: 8)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    use_threads(asked)
    assert torch.get_num_threads() == found


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:", "cuda:-1", "auto:1", "cpu:0"])
def test_a_device_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(InputError, match=f"found '{name}'"):
        choose_device(name)
