"""The running mean of weights."""

import pytest
import torch
from torch import nn

from bids_lfenhance.nn.ema import AveragedNetwork, Averages, flat_state, set_state


def constant(value: float) -> dict[str, nn.Module]:
    net = nn.BatchNorm1d(2)
    nn.init.constant_(net.weight, value)
    net.running_mean.fill_(value)
    return {"net": net}


def test_a_short_run_forgets_its_start_and_a_long_one_keeps_its_rate() -> None:
    ema, expected = Averages(constant(5.0), 0.9), 5.0
    for n in range(200):
        ema.update(constant(1.0))
        keep = min(0.9, (1 + n) / (10 + n))
        expected = keep * expected + (1 - keep) * 1.0
        if n == 9:
            assert ema.state["net.weight"][0].item() == pytest.approx(expected, rel=1e-5)
            assert expected < 1.01
    assert ema.state["net.weight"][0].item() == pytest.approx(1.0, abs=1e-5)


def test_buffers_are_copied() -> None:
    ema = Averages(constant(5.0), 0.9)
    ema.update(constant(1.0))
    assert ema.state["net.running_mean"].tolist() == [1.0, 1.0]
    assert ema.state["net.num_batches_tracked"].dtype == torch.int64


def test_state_goes_back_into_networks() -> None:
    one, two = constant(1.0), constant(2.0)
    set_state(two, flat_state(one))
    assert two["net"].weight.tolist() == [1.0, 1.0]
    with pytest.raises(RuntimeError, match="Missing key"):
        set_state(two, {})


def test_a_mean_is_called_as_it_is_now_and_the_network_stays() -> None:
    nets = {"net": nn.Linear(2, 1, bias=False)}
    nn.init.constant_(nets["net"].weight, 1.0)
    ema = Averages(nets, 0.5)
    mean, one = AveragedNetwork("net", nets["net"], ema), torch.ones(1, 2)
    nn.init.constant_(nets["net"].weight, 3.0)
    assert mean(one).item() == 2.0
    assert nets["net"](one).item() == 6.0
    ema.state["net.weight"].fill_(2.0)
    found = mean(one)
    assert found.item() == 4.0
    assert not found.requires_grad
    assert not list(mean.parameters())
