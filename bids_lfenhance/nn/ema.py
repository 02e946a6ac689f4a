"""Exponential moving average of weights over a training: smoother than they are, and what a training keeps."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class WeightEMA:
    """The exponential running mean of the weights of several networks.

    ``rate`` is the share of the mean that each update keeps, at most; after n updates it is (1+n)/(10+n), so that a
    short run is not held back by its random start. Buffers (statistics, fixed tables) are copied, not averaged.
    """

    def __init__(self, nets: Mapping[str, nn.Module], rate: float) -> None:
        self.rate = rate
        self.updates = 0
        self.state: dict[str, Tensor] = {key: value.detach().clone() for key, value in flat_state(nets).items()}

    @torch.no_grad()
    def update(self, nets: Mapping[str, nn.Module]) -> None:
        """Move the mean towards the networks as they are now, all weights in one call."""
        keep = min(self.rate, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        learned = {f"{name}.{key}" for name, net in nets.items() for key, _ in net.named_parameters()}
        now = flat_state(nets)
        averaged = [key for key, value in now.items() if key in learned and value.is_floating_point()]
        if averaged:
            torch._foreach_lerp_([self.state[key] for key in averaged], [now[key] for key in averaged], 1 - keep)
        for key in now.keys() - averaged:
            self.state[key].copy_(now[key])


def flat_state(nets: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """{``<net>.<parameter>``: tensor}: the weights and buffers of several networks, not copied."""
    return {f"{name}.{key}": value for name, net in nets.items() for key, value in net.state_dict().items()}


def set_state(nets: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> None:
    """Copy weights as ``flat_state`` names them into the networks; a name or shape that does not fit raises."""
    for name, net in nets.items():
        own = {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
        net.load_state_dict(own)
