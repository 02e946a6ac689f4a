"""The 3D flow of the standardised residual that ``cfm`` and ``bridge`` share, each in its own time parametrisation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..nn.flow import Velocity
from ..nn.memory import FLOAT, choose_size, peak_bytes
from ..nn.method import Description
from ..nn.residual import CONDITION, condition_of, flow_of
from ..nn.settings import JsonObject
from ..nn.unet3d import UNet3d
from ..nn.windows import Windows
from .estimate import ContrastEstimate
from .options import COARSER
from .residual import ResidualPrepared, ResidualSampler
from .residual_options import FlowNetwork, FlowSampling

S = TypeVar("S", bound=FlowSampling)

WINDOWS = (0, 160, 128, 96, 64)
"""Voxels a side of the windows that are tried, from the best: the flow was trained on 128."""

FIELDS = 64
"""Copies of a brain in float32 that are in memory at once, beside what the network needs."""


def build(settings: FlowNetwork) -> dict[str, nn.Module]:
    """``flow``: (B, 20, X, Y, Z) state and condition, time (B,) → (B, 1, X, Y, Z) velocity."""
    return {"flow": UNet3d(1 + CONDITION, 1, settings.widths, timed=True)}


def velocity_of(prepared: ResidualPrepared[S], one: ContrastEstimate) -> Velocity:
    """The velocity of one contrast's residual, on the whole brain or through the windows of the settings."""
    side = prepared.settings.window
    condition = condition_of(one.mean, one.scale, one.inputs)
    return flow_of(prepared.nets["flow"], condition, Windows((side,) * 3) if side else None)


def fit(prepared: ResidualPrepared[S], sides: tuple[int, ...], limit: int) -> ResidualPrepared[S]:
    """The same with the largest window that ``limit`` bytes allow on a brain of these sides; raise InputError if none.

    No window is larger than the settings ask for.
    """
    settings = prepared.settings
    with torch.device("meta"):
        network = build(settings)["flow"].eval()  # type: ignore[arg-type]
    multiple = int(network.multiple)  # type: ignore[arg-type]

    def needed(window: int) -> int:
        seen = [window or side for side in sides]  # a side shorter than the window is mirrored up to it
        field = torch.empty(1, 1 + CONDITION, *(s + -s % multiple for s in seen), device="meta")
        time = torch.empty(1, device="meta")
        return FIELDS * FLOAT * int(np.prod(sides)) + peak_bytes(lambda: network(field, time))

    sizes = [size for size in WINDOWS if size < max(sides)] if not settings.window else []
    sizes = sizes or [size for size in (settings.window, *WINDOWS[1:]) if size <= settings.window] or [0]
    window = choose_size(sizes, needed, limit, sides, COARSER)
    return replace(prepared, settings=replace(settings, window=window))


def sampler(
    about: Description,
    resolve: Callable[[Any, JsonObject], S],
    solve: Callable[[Velocity, Tensor, S, torch.Generator], tuple[Tensor, int]],
    keeps_level: bool = True,
) -> ResidualSampler[S]:
    """The sampler of a method that follows the flow by ``solve``, which returns (r̂ (1, 1, x, y, z), network calls)."""

    def draw(prepared: ResidualPrepared[S], one: ContrastEstimate, generator: torch.Generator) -> tuple[Tensor, int]:
        return solve(velocity_of(prepared, one), one.mean, prepared.settings, generator)

    return ResidualSampler(about, resolve, build, draw, fit, keeps_level)  # type: ignore[arg-type]
