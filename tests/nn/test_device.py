"""How many threads a training takes."""

from collections.abc import Iterator

import pytest
import torch

from bids_lfenhance import resources
from bids_lfenhance.nn.device import use_threads


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
