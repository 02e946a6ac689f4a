"""The running mean of weights."""

import pytest
import torch
from torch import nn

from bids_lfenhance.nn.ema import WeightEMA, flat_state, set_state


def constant(value: float) -> dict[str, nn.Module]:
    net = nn.BatchNorm1d(2)
    nn.init.constant_(net.weight, value)
    net.running_mean.fill_(value)
    return {"net": net}


def test_a_short_run_forgets_its_start_and_a_long_one_keeps_its_rate() -> None:
    ema, expected = WeightEMA(constant(5.0), 0.9), 5.0
    for n in range(200):
        ema.update(constant(1.0))
        keep = min(0.9, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * 1.0
        if n == 9:
            assert ema.state["net.weight"][0].item() == pytest.approx(expected, rel=1e-5)
            assert expected < 1.01
    assert ema.state["net.weight"][0].item() == pytest.approx(1.0, abs=1e-5)


def test_buffers_are_copied() -> None:
    ema = WeightEMA(constant(5.0), 0.9)
    ema.update(constant(1.0))
    assert ema.state["net.running_mean"].tolist() == [1.0, 1.0]
    assert ema.state["net.num_batches_tracked"].dtype == torch.int64


def test_state_goes_back_into_networks() -> None:
    one, two = constant(1.0), constant(2.0)
    set_state(two, flat_state(one))
    assert two["net"].weight.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="Missing key"):
        set_state(two, {})
