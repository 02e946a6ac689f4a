"""The learned estimate of a session: what ``fusionnet`` writes, and what generative methods start from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..config import CONTRASTS
from ..imaging.slots import SLOTS, SlotImages, fill_slots, fill_with_image
from ..imaging.volume import Volume, in_order
from ..nn.crop import BrainCrop
from ..nn.estimate import RESTORED, SCALE, network_input, read_output
from ..nn.settings import JsonObject
from ..nn.unet3d import apply_padded
from .options import SHARES, TargetContrast

if TYPE_CHECKING:
    from ..imaging.consistency import ErrorPosterior
    from ..imaging.contrast import ContrastCurve

REACH_MM = 2.0
"""How far around the brain mask the network is used: masks of low field end short of the cortex (8 to 15 % of simulated
brains lay outside), and the training perturbed them by as much."""


SR_PER_SLOT: Mapping[str, float] = {"T1w": 0.1, "T2w": 0.4, "FLAIR": 1.0}
"""Weight of the super-resolution of the stacks (``fuse_sr``) for every slot beyond the first, where the learned
estimate has the weight 1. Planes across each other leave less to be guessed, and of T2w and FLAIR the network has seen
few people (chosen for the bundled weights, docs/methods/fusionnet.md)."""

MARGIN = 4
"""Voxels around the brain mask that the network is given: ``REACH_MM``, and zeros beyond, as in training."""


@dataclass(frozen=True, eq=False)
class ContrastEstimate:
    """The estimate of one contrast in the box of the brain, scaled so that the 95th percentile of the brain is near 1.

    ``inputs`` (1, 17, x, y, z) what the network was given; ``mean`` and ``scale`` (1, 1, x, y, z) the estimate and the
    SD of its error as predicted, not yet calibrated; ``slots`` the stacks behind it; ``correction`` (1, 1, x, y, z),
    what the stacks add to the mean; ``posterior`` of its error given the stacks (``imaging.consistency``) and their
    super-resolution ``fused`` (X, Y, Z), in the units of the scan, None where they were not used. All are in the
    contrast that the network was asked for. ``curve`` makes
    of it the contrast that is written, in the units of the scan; None where that is the same. ``vector`` is the c of
    CSF, GM and WM behind the curve.
    """

    inputs: Tensor
    mean: Tensor
    scale: Tensor
    slots: SlotImages
    correction: Tensor
    posterior: "ErrorPosterior | None" = None
    fused: np.ndarray | None = None
    curve: "ContrastCurve | None" = None
    vector: tuple[float, ...] = ()

    @property
    def image(self) -> Tensor:
        """(1, 1, x, y, z): the estimate, before the curve."""
        return self.mean + self.correction

    def in_units(self, image: Tensor) -> np.ndarray:
        """(x, y, z) float32 ≥ 0: an image (1, 1, x, y, z) in the units of the scan."""
        return image[0, 0].clamp(min=0).cpu().numpy() * np.float32(self.slots.unit)

    def curved(self, image: np.ndarray) -> np.ndarray:
        """float32: an image in the units of the scan, in the contrast that is written."""
        return self.curve(image) if self.curve else image

    def record(self) -> JsonObject:
        """Plain JSON for the sidecar."""
        names = [name for name, there in zip(SLOTS, self.slots.present, strict=True) if there]
        rms = float(self.correction[self.correction != 0].square().mean().sqrt()) if self.correction.any() else 0.0
        around = "the image that was given" if self.fused is None else "super-resolution of the stacks"
        about = {"slots": names, "stacks": self.slots.stacks, "unit": self.slots.unit, "around": around}
        return {**about, "correction_rms": rms * self.slots.unit, "contrast_vector": list(self.vector)}


@dataclass(frozen=True, eq=False)
class SessionEstimate:
    """The estimates of a session's contrasts that the weights know and a stack covers, by name.

    ``region`` (x, y, z) bool: the brain of ``crop`` and ``REACH_MM`` around it, where the estimate holds.
    """

    volume: Volume
    crop: BrainCrop
    region: np.ndarray
    contrasts: Mapping[str, ContrastEstimate]
    warnings: tuple[str, ...]

    def paste(self, images: Mapping[str, Tensor]) -> np.ndarray:
        """(C, X, Y, Z) float32: images (1, 1, x, y, z) by contrast in place of the brain, in the units of the scan.

        Around it lies ``fused``, or the session's own image where there is none. Each contrast's curve is then applied
        to all of its channel, also around the brain.
        """
        out = self.volume.image.astype(np.float32)
        for name, image in images.items():
            one, channel = self.contrasts[name], CONTRASTS.index(name)
            around = out[channel] if one.fused is None else one.fused.copy()
            around[self.crop.box] = np.where(self.region, one.in_units(image), around[self.crop.box])
            out[channel] = one.curved(around)
        return out

    def error_scale(self, factors: Mapping[str, float]) -> np.ndarray:
        """(C, X, Y, Z) float32: SD of the error in the units of the scan, times a factor by contrast.

        Clipped to ``nn.estimate.SCALE``, then times the factor and the slope of the contrast's curve; zero beyond
        ``region``.
        """
        out = np.zeros(self.volume.image.shape, np.float32)
        for name, one in self.contrasts.items():
            here: tuple[int | slice, ...] = (CONTRASTS.index(name), *self.crop.box)
            slope = one.curve.slope(one.in_units(one.image)) if one.curve else np.float32(1)
            scale = one.scale[0, 0].cpu().numpy().clip(*SCALE) * (factors[name] * one.slots.unit) * slope
            out[here] = np.where(self.region, scale, 0)
        return out

    def record(self) -> JsonObject:
        """Plain JSON for the sidecar."""
        return {
            "contrasts": {name: one.record() for name, one in self.contrasts.items()},
            "reach_mm": REACH_MM,
            "warnings": list(self.warnings),
        }


def keeps_contrast(contrast: str, asked: TargetContrast) -> bool:
    """Whether the network is asked to keep the scan's own contrast: yes, but for ``RESTORED`` ones with "learned".

    >>> keeps_contrast("T1w", "learned"), keeps_contrast("T2w", "learned"), keeps_contrast("T1w", "auto")
    (False, True, True)
    """
    return asked != "learned" or contrast not in RESTORED


def estimate_session(
    volume: Volume, network: nn.Module, known: Sequence[str], asked: TargetContrast, device: str
) -> SessionEstimate:
    """The estimate of every contrast of a session that the network knows.

    Parameters
    ----------
    volume : with brain mask, and tissue where a contrast is to be changed; without stacks its image is taken for one
        isotropic scan
    network : (1, 17, x, y, z) → (1, 2, x, y, z), on ``device``
    known : contrasts the network has learned
    asked : the contrast to be written: that of the scan changed by a curve (``SHARES``), or "learned", the network's
    """
    from ..imaging.morphology import dilate  # a training on a machine without scipy reads this module too

    crop = BrainCrop.of(volume, known, MARGIN)
    region = dilate(crop.mask, REACH_MM, crop.grid.zooms)
    warnings = list(crop.warnings(known))
    estimates: dict[str, ContrastEstimate] = {}
    for name in (name for name in volume.contrasts if name in known):
        stacks = volume.stacks_of(name)
        image = crop.image[CONTRASTS.index(name)]
        where = (crop.grid, crop.mask, region)
        slots = fill_slots(stacks, *where) if stacks else fill_with_image(image, *where)
        warnings += [f"{name}: {text}" for text in slots.warnings]
        if not slots.present.any():
            warnings.append(f"{name} was not enhanced: no stack shows any of the brain")
            continue
        estimates[name] = _estimate(slots, network, keeps_contrast(name, asked), device)
    found = SessionEstimate(volume, crop, region, estimates, tuple(warnings))
    for name in (name for name in estimates if keeps_contrast(name, asked)):
        found = _in_contrast(_with_scans(found, name), name, asked)
    return found


def _with_scans(found: SessionEstimate, name: str) -> SessionEstimate:
    """The same, one contrast's estimate corrected by its stacks and averaged with their super-resolution."""
    from scipy import fft  # as above

    from ..imaging.fusion import fuse_sr

    volume = found.volume
    stacks = in_order(volume.stacks_of(name))
    if not stacks:
        return found
    with fft.set_workers(torch.get_num_threads()):  # each line of a transform is one thread's: the same to the bit
        fused = fuse_sr(stacks, volume.grid, mask=volume.mask, mean=volume.channel(name))
        one = replace(found.contrasts[name], fused=fused)
        found = replace(found, contrasts={**found.contrasts, name: one})
        learned, posterior = _corrected(found, name)
    weight = learned_weight(one.slots.covered, found.crop.mask, SR_PER_SLOT[name], found.crop.grid.zooms)
    around = fused[found.crop.box] / np.float32(one.slots.unit)
    image = torch.from_numpy(around + weight * (learned - around))[None, None].to(one.mean.device)
    kept = torch.from_numpy(found.region).to(one.mean.device)
    changed = replace(one, correction=torch.where(kept, image - one.mean, 0.0), posterior=posterior)
    return replace(found, contrasts={**found.contrasts, name: changed})


def _corrected(found: SessionEstimate, name: str) -> "tuple[np.ndarray, ErrorPosterior | None]":
    """((x, y, z) the network's estimate at the level of the stacks plus the mean posterior of its error, posterior)."""
    from ..imaging.consistency import posterior_of_error, shading  # as above

    one, grid, box = found.contrasts[name], found.volume.grid, found.crop.box
    where = found.crop.mask & one.slots.covered.any(axis=0)
    mean, base = (image[0, 0].cpu().numpy() for image in (one.mean, one.inputs[:, :1]))
    level = shading(mean, base, where, grid.zooms) * mean
    image = found.paste({name: torch.from_numpy(level)[None, None]})[CONTRASTS.index(name)]
    scale, region = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, bool)
    predicted = one.scale[0, 0].cpu().numpy().clip(max=SCALE[1]) * one.slots.unit
    scale[box] = np.where(found.region, predicted, 0)
    region[box] = found.region
    posterior = posterior_of_error(image, scale, found.volume.stacks_of(name), region, grid)
    if posterior is not None:
        level = level + posterior.mean[box] / np.float32(one.slots.unit)
    return level, posterior


def learned_weight(covered: np.ndarray, mask: np.ndarray, per_slot: float, zooms: Sequence[float]) -> np.ndarray:
    """(x, y, z) float32 in [0, 1]: weight of the learned estimate in its mean with the super-resolution of the stacks.

    1 / (1 + ``per_slot`` (n − 1)) where stacks of n slots cover a voxel. Across the border of the brain it falls to
    zero, from ``REACH_MM`` inside to as much outside, but over four voxels at least; the end of the grid is no border.

    Parameters
    ----------
    covered : (4, x, y, z) bool, slots
    mask : (x, y, z) bool, brain
    zooms : (3,) mm
    """
    from scipy.ndimage import distance_transform_edt  # as above

    weight = 1 / (1 + per_slot * (covered.sum(axis=0) - 1).clip(min=0))
    if not mask.all():
        depth = distance_transform_edt(mask, zooms) - distance_transform_edt(~mask, zooms)
        weight *= np.clip(0.5 + depth / (2 * max(REACH_MM, 2 * min(zooms))), 0, 1)
    return weight.astype(np.float32)


def _in_contrast(found: SessionEstimate, name: str, asked: TargetContrast) -> SessionEstimate:
    """The same, with the curve from one contrast towards that of high field."""
    share = SHARES[asked] if name in RESTORED else 0.0
    if share == 0:
        return found
    from ..imaging.contrast import STEEPEST, WM, contrast_curve, fit_contrast, tissue_means  # as above

    volume, one = found.volume, found.contrasts[name]
    if volume.tissue is None:
        kept = f"{name} keeps its low-field contrast: the session came without tissue"
        return replace(found, warnings=(*found.warnings, kept))
    image = found.paste({name: one.image})[CONTRASTS.index(name)]
    seen = np.zeros(volume.grid.shape, bool)
    seen[found.crop.box] = found.crop.mask & one.slots.covered.any(axis=0)
    sigma = float(np.median([stack.sigma for stack in volume.stacks_of(name)] or [0.0]))
    vector, doubts = fit_contrast(name, image, volume.tissue, seen, sigma)
    if not doubts:
        white = float(tissue_means(image, volume.tissue, seen)[WM])
        curve = contrast_curve(name, vector, white, share)  # misses white matter where grey is too near to it
        if abs(float(curve(np.array(white))) / white - 1) > 0.01 or curve.slope(curve.levels).max() > STEEPEST:
            doubts = [f"{name} keeps its low-field contrast: its tissues are too much alike"]
    if doubts:
        return replace(found, warnings=(*found.warnings, *doubts))
    changed = replace(one, curve=curve, vector=tuple(vector.tolist()))
    return replace(found, contrasts={**found.contrasts, name: changed})


def _estimate(slots: SlotImages, network: nn.Module, own: bool, device: str) -> ContrastEstimate:
    arrays = (slots.image, slots.covered, slots.present, slots.resolution, np.float32(own))
    tensors = [torch.from_numpy(np.asarray(one))[None].to(device) for one in arrays]
    with torch.no_grad():
        inputs = network_input(*tensors)
        mean, scale = read_output(inputs, apply_padded(network, inputs))
    return ContrastEstimate(inputs, mean, scale, slots, torch.zeros_like(mean))
