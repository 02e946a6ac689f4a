"""Half precision inside networks only."""

import torch
from torch import nn

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
