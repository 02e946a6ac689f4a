"""Draws around the learned estimate, by the flow of its whitened residual: what ``cfm`` and ``bridge`` do alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..config import CONTRASTS
from ..imaging.volume import Volume
from ..nn.crop import BrainCrop
from ..nn.estimate import SCALE
from ..nn.flow import Velocity
from ..nn.memory import choose_size, peak_bytes
from ..nn.method import Draw, Plain, Prepared, Residuals
from ..nn.precision import use_precision
from ..nn.residual import CLIP, CONDITION, condition_of, flow_of
from ..nn.unet3d import UNet3d
from ..nn.weights import Loaded
from ..nn.windows import Windows
from . import get_method
from .estimate import SessionEstimate, estimate_session
from .options import COARSER
from .residual_options import ESTIMATE, ResidualNetwork, ResidualSampling, check_estimate, load_flow

S = TypeVar("S", bound=ResidualSampling)

Sampler = Callable[[Velocity, Tensor, S, torch.Generator], tuple[Tensor, int]]
"""(r̂, network calls) of the velocity, an image (1, 1, X, Y, Z) of r̂'s shape and device, settings and randomness."""

WINDOWS = (0, 160, 128, 96, 64)
"""Voxels a side of the windows that are tried, from the best: the flow was trained on 128."""

FIELDS = 64
"""Copies of a brain in float32 that are in memory at once, beside what the network needs."""


@dataclass(frozen=True, eq=False)
class ResidualPrepared(Prepared[S]):
    """The flow in its trained state on its device, multiplying in ``precision``.

    ``estimator``: what the method of the estimate prepared.
    """

    network: nn.Module
    loaded: Loaded
    precision: str
    estimator: Any

    @cached_property
    def estimate(self) -> SessionEstimate:
        """Of the session: made once, for all draws."""
        own, ready = self.settings, self.estimator
        known = [name for name in ready.loaded.contrasts if name in self.loaded.contrasts]
        return estimate_session(self.volume, ready.network, known, own.target_contrast, own.device)


def build(settings: ResidualNetwork) -> dict[str, nn.Module]:
    """``flow``: (B, 20, X, Y, Z) state and condition, time (B,) → (B, 1, X, Y, Z) velocity."""
    return {"flow": UNet3d(1 + CONDITION, 1, settings.widths, timed=True)}


def prepare(volume: Volume, settings: Any, loaded: Loaded) -> ResidualPrepared[Any]:
    """What all draws share; raise InputError where the estimate is not the one the flow was trained behind."""
    record = get_method(ESTIMATE)
    asked = record.about.sampling(
        weights=settings.estimate,
        device=settings.device,
        precision=settings.precision,
        target_contrast=settings.target_contrast,
    )
    estimator = record.prepare(volume, asked)
    check_estimate(type(settings).method, settings.estimate_sha256, estimator.loaded)
    device = torch.device(settings.device)
    network = build(settings)["flow"]
    network.load_state_dict(loaded.state["flow"])
    network = network.to(device, memory_format=torch.channels_last_3d).eval()  # type: ignore[call-overload]
    half = use_precision({"flow": network}, settings.precision, device)
    return ResidualPrepared(volume, settings, network, loaded, "bf16" if half else "fp32", estimator)


def load(settings_of: Callable[[ResidualSampling, Plain], Any], volume: Volume, sampling: ResidualSampling) -> Any:
    """As ``prepare``, with the weights that the user asks for."""
    loaded = load_flow(sampling.weights)
    return prepare(volume, settings_of(sampling, loaded.settings), loaded)


def fit_to_memory(prepared: ResidualPrepared[S], limit: int) -> ResidualPrepared[S]:
    """The same with the largest window that ``limit`` bytes allow; raise InputError if none does."""
    get_method(ESTIMATE).fit_to_memory(prepared.estimator, limit)  # type: ignore[misc]
    settings = prepared.settings
    if not settings.draws_residual:
        return prepared
    sides = BrainCrop.of(prepared.volume, prepared.loaded.contrasts).mask.shape
    with torch.device("meta"):
        network = build(settings)["flow"].eval()  # type: ignore[arg-type]
    half = torch.bfloat16 if prepared.precision == "bf16" else torch.float32
    network = network.to(half)
    multiple = int(network.multiple)  # type: ignore[arg-type]

    def needed(window: int) -> int:
        seen = [min(side, window or side) for side in sides]
        field = torch.empty(1, 1 + CONDITION, *(s + -s % multiple for s in seen), device="meta", dtype=half)
        time = torch.empty(1, device="meta", dtype=half)
        return FIELDS * 4 * int(np.prod(sides)) + peak_bytes(lambda: network(field, time))

    sizes = [size for size in WINDOWS if size < max(sides)] if not settings.window else []
    sizes = sizes or [size for size in (settings.window, *WINDOWS[1:]) if size <= settings.window] or [0]
    window = choose_size(sizes, needed, limit, type(settings).method, sides, COARSER)
    return replace(prepared, settings=replace(settings, window=window))


def sample(prepared: ResidualPrepared[S], generator: np.random.Generator, sampler: Sampler[S]) -> Draw:
    """One draw: the estimate, the SD of its error, and one residual around it where anything is to be drawn."""
    settings, found = prepared.settings, prepared.estimate
    factor = prepared.estimator.settings.error_factor
    image = found.paste({name: one.mean for name, one in found.contrasts.items()})
    residual: np.ndarray | None = None
    calls: Mapping[str, int] = {}
    if settings.draws_residual:
        residual, calls = draw_residual(prepared, generator, sampler)
    record = {
        **found.record(),
        "weights": str(prepared.loaded.path),
        "weights_sha256": prepared.loaded.sha256,
        "estimate_sha256": prepared.estimator.loaded.sha256,
        "precision": prepared.precision,
        "error_factor": factor,
        "image": f"estimate plus {settings.sharpness:g} of the draw" if settings.sharpness else "estimate",
        "nfe": len(found.contrasts) + sum(calls.values()),
        "window": settings.window,
    }
    return Draw(image, record, scale=found.error_scale(factor), residual=residual)


def draw_residual(
    prepared: ResidualPrepared[S], generator: np.random.Generator, sampler: Sampler[S]
) -> tuple[np.ndarray, Mapping[str, int]]:
    """(σ r̂ (C, X, Y, Z) float32 in the units of the scan, zero beyond the brain; network calls by contrast).

    Each contrast has one noise for the whole brain, drawn on the processor, whatever the others are.
    """
    settings, found = prepared.settings, prepared.estimate
    seeds = generator.integers(2**63, size=len(CONTRASTS))
    windows = Windows((settings.window,) * 3) if settings.window else None
    out = np.zeros(prepared.volume.image.shape, np.float32)
    calls: dict[str, int] = {}
    for name, one in found.contrasts.items():
        channel = CONTRASTS.index(name)
        noise = torch.Generator().manual_seed(int(seeds[channel]))  # on the processor, whatever the device
        velocity = flow_of(prepared.network, condition_of(one.mean, one.scale, one.inputs), windows)
        with torch.no_grad():
            drawn, calls[name] = sampler(velocity, one.mean, settings, noise)
        residual = (one.scale.clamp(*SCALE) * drawn.clamp(-CLIP, CLIP))[0, 0].cpu().numpy() * one.slots.unit
        here: tuple[int | slice, ...] = (channel, *found.crop.box)
        out[here] = np.where(found.crop.mask, residual, 0)
    return out, calls


def conclude(
    prepared: ResidualPrepared[Any], image: np.ndarray, residuals: Residuals
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """The image to be written, (C, X, Y, Z) float32, and the maps beside it.

    The sample is recentred, so that the mean of as many would be the estimate, and widened by what that takes from
    its spread.
    """
    settings, count = prepared.settings, residuals.count
    shown = residuals.first
    if count > 1:
        shown = (residuals.first - residuals.mean) * np.float32(np.sqrt(count / (count - 1)))
    maps: dict[str, np.ndarray] = {}
    if settings.sample:
        maps["Sample"] = np.where(shown != 0, np.maximum(image + shown, 0), image)
    if residuals.sd is not None:
        maps["DrawsStd"] = residuals.sd
    if settings.sharpness:
        image = np.where(shown != 0, np.maximum(image + np.float32(settings.sharpness) * shown, 0), image)
    return image, maps
