"""The memory of networks, found before they run."""

import pytest
import torch
from torch import nn

from bids_lfenhance.errors import InputError
from bids_lfenhance.nn import memory
from bids_lfenhance.nn.memory import FLOOR, MARGIN, choose_size, halves, limit_of, peak_bytes

MIB = 2**20


def test_what_is_alive_at_once_is_counted() -> None:
    x = torch.empty(MIB, device="meta")  # 4 MiB, not counted: it is there already

    def work() -> torch.Tensor:
        one = x + 1
        two = one + 1  # one and two: 8 MiB
        view = two.reshape(1024, 1024).t()  # a view takes nothing
        del one, two
        three = view[:512] * 2  # 4 MiB kept by the view, and 2 MiB
        del view
        return three + 1  # 4 MiB

    assert peak_bytes(work) == 8 * MIB


def test_a_network_of_known_sizes() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1)).to("meta")
    image = torch.empty(3, 1, 64, 64, device="meta")
    # The first convolution's features and what the second step makes of them are there together.
    assert peak_bytes(lambda: net(image)) == 2 * 3 * 8 * 64 * 64 * 4
    real = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 3, padding=1))
    assert peak_bytes(lambda: real(torch.zeros(3, 1, 64, 64))) == 2 * 3 * 8 * 64 * 64 * 4 + 3 * 64 * 64 * 4


def test_as_much_at_once_as_fits_and_a_sentence_where_nothing_does() -> None:
    def needed(count: int) -> int:
        return (10 + 30 * count) * MIB

    def chosen(limit: float) -> int:
        return choose_size(halves(8), needed, int(limit), (160, 192, 150), "use less")

    for count in (8, 4, 2, 1):
        enough = int(MARGIN * needed(count)) + FLOOR
        assert chosen(enough) == count
        if count > 1:
            assert chosen(enough - 1) == count // 2
    with pytest.raises(InputError) as told:
        chosen(100 * MIB)
    assert str(told.value) == (
        "Expected 0.1 GiB of memory for the network on 160 x 192 x 150 voxels, found 0.1; use less, fewer --nprocs, or "
        "a machine with more."
    )


def test_the_processor_may_use_what_is_free_and_no_more_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_memory_gb", lambda: 5.0)
    assert limit_of("cpu") == 5 * 2**30
    assert limit_of("cpu", 3.0) == 3 * 2**30
    assert limit_of("cpu", 9.0) == 5 * 2**30
