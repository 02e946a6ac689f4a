"""Half precision inside networks only."""

import pytest
import torch
from torch import nn

from bids_lfenhance.nn import precision
from bids_lfenhance.nn.precision import run_in_bf16


def test_the_network_multiplies_in_half_and_answers_in_full() -> None:
    torch.manual_seed(0)
    net, seen = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1)), []
    net[1].register_forward_hook(lambda *args: seen.append(args[2].dtype))
    x = torch.randn(4, 8)
    exact = net(x)
    run_in_bf16(net, torch.device("cpu"))
    found = net(x)
    assert seen == [torch.float32, torch.bfloat16]
    assert found.dtype == torch.float32
    assert 0 < (found - exact).abs().max() < 0.05
    found.sum().backward()
    assert net[0].weight.grad is not None
    assert net[0].weight.grad.dtype == torch.float32
    assert not torch.is_autocast_enabled("cpu")


def test_other_outputs_pass_through() -> None:
    class Pair(nn.Module):
        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, dict[str, object]]:
            return x @ x.T, {"count": 3, "mask": x > 0}

    net = Pair()
    run_in_bf16(net, torch.device("cpu"))
    product, told = net(torch.ones(2, 2))
    assert product.dtype == torch.float32
    assert told["count"] == 3


@pytest.mark.parametrize(
    ("asked", "native", "half"), [("bf16", True, True), ("bf16", False, False), ("fp32", True, False)]
)
def test_half_precision_is_for_processors_that_have_it(monkeypatch, asked, native, half):
    """Where it is emulated it is slower, and rounds all the same."""
    monkeypatch.setattr(precision, "bf16_is_native", lambda _: native)
    net, seen = nn.Linear(4, 4), []
    net.register_forward_hook(lambda _, __, out: seen.append(out))
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(0))
    plain = net.forward(x)
    assert precision.use_precision({"a": net}, asked, torch.device("cpu")) is half
    assert torch.equal(net(x), plain) is not half
    assert net(x).dtype == torch.float32
