"""Slices drawn together: one noise, neighbours that agree, and nothing that depends on how many go at once."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import description
from bids_lfenhance.methods.cssdiff.diffusion import power_schedule
from bids_lfenhance.methods.cssdiff.inference import velocity_of
from bids_lfenhance.methods.cssdiff.network import Encoder, build
from bids_lfenhance.methods.cssdiff.settings import CssDiffNetwork
from bids_lfenhance.nn.estimate import CHANNELS
from bids_lfenhance.nn.flow import heun

from ..generative import moved

torch.set_num_threads(1)
SD = 0.8


class Exact(nn.Module):
    """E[v | u] of residuals that are white in plane, with an SD of .8 and a correlation of .5 from slice to slice.

    ``reach`` 1 looks at three slices, as the denoiser does; 0 at its own alone.
    """

    def __init__(self, reach: int) -> None:
        super().__init__()
        self.reach, self.multiple = reach, 1

    def forward(self, x: Tensor, level: Tensor, tokens: Tensor) -> Tensor:
        angle = float(level[0]) * np.pi / 2
        a, s = np.cos(angle), np.sin(angle)
        near = slice(1 - self.reach, 2 + self.reach)
        covariance = SD**2 * np.array([[1, 0.5, 0], [0.5, 1, 0.5], [0, 0.5, 1]])[near, near]
        weights = a * covariance[self.reach] @ np.linalg.inv(a**2 * covariance + s**2 * np.eye(len(covariance)))
        clean = torch.einsum("k,nkxy->nxy", torch.from_numpy(weights).to(x), x[:, near])[:, None]
        return (a * x[:, 1:2] - clean) / s


def drawn(denoiser: nn.Module, encoder: nn.Module, shape: tuple[int, int, int], at_once: int, steps: int = 8) -> Tensor:
    """(Z, X, Y): a residual around a made-up estimate."""
    generator = torch.Generator().manual_seed(3)
    mean = torch.rand(1, 1, *shape, generator=generator)
    inputs = torch.rand(1, CHANNELS, *shape, generator=generator)
    noise = torch.randn(shape[2], *shape[:2], generator=generator)
    nets = {"denoiser": denoiser, "encoder": encoder}
    with torch.no_grad():
        velocity = velocity_of(nets, mean, torch.full_like(mean, 0.1), inputs, at_once)
        return heun(velocity, noise, power_schedule(steps))


@pytest.mark.parametrize(("reach", "correlation", "near"), [(1, 0.5, 0.08), (0, 0.0, 0.02)])
def test_the_variance_and_the_agreement_of_slices_are_those_of_the_residual(
    reach: int, correlation: float, near: float
) -> None:
    found = drawn(Exact(reach), Encoder(), (16, 16, 400), 50)
    assert float(found.var()) == pytest.approx(SD**2, rel=0.08)
    assert float((found[1:] * found[:-1]).mean() / found.var()) == pytest.approx(correlation, abs=near)


def test_how_many_slices_go_at_once_changes_nothing() -> None:
    nets = moved(build(CssDiffNetwork(width=8)), seed=1)
    whole, *parts = (drawn(nets["denoiser"], nets["encoder"], (18, 21, 7), count, 3) for count in (7, 3, 1))
    assert float(whole.std()) > 0.1
    for part in parts:
        torch.testing.assert_close(part, whole, atol=1e-5, rtol=0)


def test_a_width_that_attention_cannot_divide_is_refused() -> None:
    with pytest.raises(InputError, match="width of cssdiff in multiples of 4, found 9"):
        description("cssdiff").settings(width=9)
