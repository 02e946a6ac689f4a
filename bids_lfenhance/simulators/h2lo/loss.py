"""What the operator minimises: L1 at random voxels, and derivatives of a random block (H2LO, eq. 2-3)."""

from functools import cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from ...config import CONTRASTS
from ...nn.batch import Batch, required
from ...nn.stage import Nets, Phase, Stage
from .network import REACH
from .settings import H2loSettings, H2loTraining

FOREGROUND = 0.8
"""Share of the voxels of L1 that are drawn from the brain."""

RADIUS = 2
"""Half-width of the published kernels: 5³ voxels."""


def losses(
    contrast: str,
    nets: Nets,
    batch: Batch,
    settings: H2loTraining,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """``l1`` and the weighted ``grad`` of one contrast's operator, scalars: means over all items of the batch.

    An item without the contrast adds nothing. Only voxels at least ``REACH`` from the border of the patch are used.
    """
    channel = CONTRASTS.index(contrast)
    items = (batch.live)[:, channel].nonzero()[:, 0]
    if not len(items):
        nothing = torch.stack([parameter.sum() for parameter in nets[contrast].parameters()]).sum() * 0.0
        # the same losses as a batch that has the contrast: processes add theirs up by position
        return {f"{contrast}-{name}": nothing for name in ("l1", *(("grad",) if settings.lambda_grad else ()))}
    inner = (slice(None), *(slice(REACH, -REACH),) * 3)
    target = required(batch.target)[items, channel][inner]
    inside = batch.mask[items, 0][inner]
    sides = target.shape[1:]
    block = tuple(min(side, settings.block) for side in sides)
    queries = [torch.cat([_voxels(one, settings.voxels, generator), _block(sides, block, generator)]) for one in inside]
    index = torch.stack(queries).to(target.device)
    predicted = nets[contrast](batch.input[items, channel][:, None], required(batch.to_template)[items], index).float()
    wanted = target.flatten(1).gather(1, index)
    error = predicted - wanted
    share = len(items) / len(batch)
    terms = {f"{contrast}-l1": share * error[:, : settings.voxels].abs().mean()}
    if settings.lambda_grad:
        dense = error[:, settings.voxels :].reshape(-1, *block)
        terms[f"{contrast}-grad"] = share * settings.lambda_grad * gradient_loss(dense, settings.gauss_sigma)
    return terms


def _voxels(inside: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """(count,) voxel numbers: four fifths from the brain (X, Y, Z), the rest from anywhere."""
    brain = inside.flatten().nonzero()[:, 0].to(generator.device)
    from_brain = round(FOREGROUND * count) if len(brain) else 0
    anywhere = torch.randint(inside.numel(), (count - from_brain,), generator=generator, device=generator.device)
    if not from_brain:
        return anywhere
    drawn = torch.randint(len(brain), (from_brain,), generator=generator, device=generator.device)
    return torch.cat([brain[drawn], anywhere])


def _block(sides: torch.Size, block: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Numbers of the voxels of a random block, in order, among those of an array of these ``sides``."""
    device = generator.device
    axes = [
        int(torch.randint(side - n + 1, (), generator=generator, device=device)) + torch.arange(n, device=device)
        for side, n in zip(sides, block, strict=True)
    ]
    x, y, z = torch.meshgrid(*axes, indexing="ij")
    return ((x * sides[1] + y) * sides[2] + z).flatten()


def gradient_loss(error: Tensor, sigma: float) -> Tensor:
    """Σ_d of the mean square of ∂_d of the error (N, X, Y, Z), where the kernels fit (H2LO, eq. 3).

    The mean over voxels, not their sum: λ then does not depend on the size of the block.
    """
    slopes = functional.conv3d(error[:, None], derivative_kernels(sigma, RADIUS).to(error.device))
    return slopes.square().mean(dim=(0, 2, 3, 4)).sum()


@cache
def derivative_kernels(sigma: float, radius: int) -> Tensor:
    """(3, 1, 2·radius+1, …): k_d(r) = −(r_d/σ²) G_σ(r), as H2LO prints it, neither summed to one nor cut smoothly.

    torch's convolution is a correlation, which turns their sign; a square does not see it.
    """
    r = torch.arange(-radius, radius + 1, dtype=torch.float64)
    bell = torch.exp(-(r**2) / (2 * sigma**2)) / (2 * torch.pi * sigma**2) ** 0.5
    slope = -r / sigma**2 * bell
    factors = [[slope if axis == d else bell for axis in range(3)] for d in range(3)]
    return torch.stack([torch.einsum("i,j,k->ijk", *three) for three in factors])[:, None].float()


def stages(settings: H2loSettings) -> tuple[Stage, ...]:
    """One stage on pairs, in which every contrast's operator has its own phase: they share nothing."""
    wanted = CONTRASTS if settings.contrast == "all" else (settings.contrast,)
    phases = tuple(Phase(name, (name,), partial(losses, name), settings.rate) for name in wanted)
    return (Stage("operator", phases, settings.steps, settings.batch, (settings.patch,) * 3, "pairs"),)
