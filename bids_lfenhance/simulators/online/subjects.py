"""A head as it lies in the scanner: its contrast at low field and the targets, from what was drawn."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ...imaging.grid import translation
from .fields import Noise, bend, blurred, indices, interpolate, percentile, smooth_field
from .material import FULL, TrainingHead
from .parameters import Gamma, Lesion, Painting, Subject, Tissues

SHADE = 0.05
"""SD of the logarithm of each tissue's slow variation in brightness over a head."""

BENT, SHADED, PAINTED, GRAIN, ROUGH = 0, 10, 20, 21, 40
"""First streams of random numbers: the bend, shades of tissues, texture of labels and its grain, edges of lesions."""


@dataclass(frozen=True, eq=False)
class Sharp:
    """A head (X, Y, Z) before it is scanned, arbitrary units.

    ``low`` in the contrast of the scan; ``high`` the T1w itself, None where the contrast of the scan is the only
    target; ``brain`` bool; ``lesions`` share of lesion, 0 to 1.
    """

    low: Tensor
    high: Tensor | None
    brain: Tensor
    lesions: Tensor


def make_subject(head: TrainingHead, drawn: Subject, noise: Noise, device: torch.device) -> Sharp:
    """The head with its contrast and lesions; left and right exchanged last, where that was drawn."""
    source = torch.from_numpy(head.image).to(device)
    brain = source > 0
    lesions = planted(drawn.lesions, brain, noise)
    value = source.float() / (1 if head.kind == "labels" else FULL)
    if drawn.warp is not None:
        index = bend(drawn.warp, noise, BENT, source.shape, device)
        solid = torch.stack([brain.float(), value]) if head.kind == "labels" else brain.float()[None]
        moved = interpolate(solid, index, "nearest")
        smooth = interpolate(lesions[None] if head.kind == "labels" else torch.stack([lesions, value]), index)
        brain, lesions = moved[0] > 0.5, smooth[0]
        value = (moved[1] if head.kind == "labels" else smooth[1]) * brain
    lesions = lesions * brain
    match drawn.contrast:
        case Tissues() as tissues:
            low = _of_tissues(value, head, tissues, brain, noise)
        case Painting() as painting:
            low = _painted(value.round().long(), painting, brain, noise)
        case Gamma() as gamma:
            low = value**gamma.power
    high = None
    if isinstance(drawn.contrast, Tissues) and drawn.contrast.restored:
        high = (value * (1 - lesions) + lesions * drawn.high) * brain
    low = (low * (1 - lesions) + lesions * drawn.low) * brain
    sharp = [low, high, brain, lesions]
    if drawn.flip:
        sharp = [None if one is None else one.flip(0) for one in sharp]
    return Sharp(*sharp)  # type: ignore[arg-type]


def planted(lesions: tuple[Lesion, ...], brain: Tensor, noise: Noise) -> Tensor:
    """(X, Y, Z) share of lesion, 0 to 1: irregular blobs with an edge of about a voxel."""
    share = torch.zeros(brain.shape, device=brain.device)
    for number, lesion in enumerate(lesions):
        reach = int(2 * lesion.radius + 4)
        box = tuple(
            slice(max(0, at - reach), min(side, at + reach + 1))
            for at, side in zip(lesion.centre, brain.shape, strict=True)
        )
        shape = tuple(part.stop - part.start for part in box)
        place = translation([part.start - at for part, at in zip(box, lesion.centre, strict=True)])
        squares = [
            (at * stretch) ** 2 for at, stretch in zip(indices(place, shape, brain.device), lesion.stretch, strict=True)
        ]
        distance = (squares[0] + squares[1] + squares[2]).sqrt()
        rough = smooth_field(noise, ROUGH + number, shape, max(2.0, lesion.radius), brain.device)
        blob = torch.sigmoid((lesion.radius - distance + 0.25 * lesion.radius * rough) / 0.6)
        share[box] = torch.maximum(share[box], blob)
    return share * brain


def _of_tissues(value: Tensor, head: TrainingHead, drawn: Tissues, brain: Tensor, noise: Noise) -> Tensor:
    """Σ p_k (mean_k shade_k + texture_k (x − μ_k)), and a curve of x."""
    assert head.posterior is not None
    table = torch.from_numpy(head.posterior).to(value.device)
    share = table[(value * FULL).round().clamp(0, 255).long()] * brain[..., None]
    low = torch.zeros_like(value)
    for tissue in range(3):
        shade = torch.exp(SHADE * smooth_field(noise, SHADED + tissue, value.shape, 45, value.device))
        texture = drawn.texture[tissue] * (value - head.means[tissue])
        low += blurred(share[..., tissue], 0.5) * (drawn.means[tissue] * shade + texture)
    if drawn.curve:
        low = (1 - drawn.share) * low + drawn.share * _along(value, drawn.curve) * brain
    return low.clamp(min=0)


def _along(value: Tensor, curve: tuple[float, ...]) -> Tensor:
    """A piecewise linear curve through evenly spaced knots on [0, 1.1]."""
    knots = torch.tensor(curve, device=value.device)
    place = value.clamp(0, 1.1) * ((len(curve) - 1) / 1.1)
    left = place.floor().clamp(0, len(curve) - 2).long()
    part = place - left
    return knots[left] * (1 - part) + knots[left + 1] * part


def _painted(labels: Tensor, drawn: Painting, brain: Tensor, noise: Noise) -> Tensor:
    """Each label's brightness with a texture of 5 mm and a finer grain, blurred."""
    means, spreads = (torch.tensor(each, device=labels.device) for each in (drawn.means, drawn.spreads))
    texture = smooth_field(noise, PAINTED, labels.shape, 5, labels.device)
    grain = noise.take(GRAIN, tuple(labels.shape), labels.device)
    image = (means[labels] + spreads[labels] * texture + 0.02 * grain) * brain
    return blurred(image, drawn.blur).clamp(min=0) * brain


def normalised(image: Tensor, brain: Tensor) -> Tensor:
    """(X, Y, Z) divided by the brain's 95th percentile, between 0 and 4; zero outside the brain."""
    return (image / percentile(image[brain])).clamp(0, 4) * brain
