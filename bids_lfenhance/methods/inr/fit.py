"""Fits the network to the session, and evaluates it on the grid."""

import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ...errors import InputError, MethodError
from ...imaging.profile import FWHM_PER_SD
from ...nn.settings import JsonObject
from .loss import rician_mean, segmentation
from .network import NeuralField
from .observations import Observations
from .settings import WAVELETS, InrSettings

SAMPLES_PER_RADIAN = 28 / 5
"""Low-field samples across the field of view per unit of ω₀: 28 samples were best fitted with ω₀ = 5."""

RESTARTS = 2
"""How often a fit that diverged is restarted at half the frequency."""

DIVERGED = 1.5
"""A fit whose error ends above this multiple of its error at the start has diverged."""

SPREAD = 3.0
"""s₀ where none is set (docs/methods/inr.md)."""

CHUNK = 1 << 16
"""Points per evaluation of the grid."""


def omega_for(settings: InrSettings, seen: Observations) -> float:
    """ω₀: as set, or scaled to the number of low-field samples across the field of view."""
    if settings.omega > 0:
        return settings.omega
    finest = float(np.linalg.norm(seen.profile, axis=1).min()) * FWHM_PER_SD
    return min(30.0, max(2.0, 2 / finest / SAMPLES_PER_RADIAN))


def spread_for(settings: InrSettings, omega: float) -> float:
    """s₀: as set, or ``SPREAD``; raise InputError where that of ``wire`` is below ω₀/3.

    Its exponent peaks at ω₀²/4s₀²: an envelope that is too wide overflows.
    """
    least = omega / 3 if settings.activation == "wire" else 0.0
    if 0 < settings.spread < least:
        raise InputError(
            f"Expected a spread of at least {least:.3g} for wire, a third of omega, found {settings.spread:g}; raise "
            "it, or lower omega.",
            code="bad-setting",
            key="spread",
        )
    return settings.spread or max(SPREAD, least)


def fit(
    seen: Observations, settings: InrSettings, generator: np.random.Generator, step_mm: float
) -> tuple[NeuralField, JsonObject]:
    """The network fitted to the session, and how the fit went, for the record; restarted at ω₀/2 if it diverges.

    ``step_mm`` is one millimetre in the network's coordinates, the step of the total variation.
    """
    omega = omega_for(settings, seen)
    warnings: list[str] = []
    for _ in range(RESTARTS + 1):
        seed = int(generator.integers(2**63))
        network, errors = _fit_once(seen, settings, omega, seed, step_mm)
        start, end = errors[0], float(np.mean(errors[-10:]))
        if math.isfinite(end) and end <= DIVERGED * start:
            record = {"omega": omega, "steps": len(errors), "mae_start": start, "mae_end": end, "warnings": warnings}
            if settings.activation in WAVELETS:
                record["spread"] = spread_for(settings, omega)
            return network, record
        warnings.append(f"the fit diverged at omega {omega:.3g} and was begun again at half of it")
        omega /= 2
    raise MethodError(
        f"inr diverged {RESTARTS + 1} times, last at omega {2 * omega:.3g}: set omega lower (--set omega=…), or "
        "use interp"
    )


def _fit_once(
    seen: Observations, settings: InrSettings, omega: float, seed: int, step_mm: float
) -> tuple[NeuralField, list[float]]:
    device = torch.device(settings.device)
    noise = torch.Generator().manual_seed(seed)
    network = NeuralField(int(seen.contrast.max()) + 1, settings, omega, spread_for(settings, omega), noise).to(device)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    data = {key: torch.from_numpy(value).to(device) for key, value in vars(seen).items()}
    floor = 0.8 * math.sqrt(2 / math.pi) * float(np.mean(seen.sigma[seen.stack]))
    errors: list[float] = []
    for _ in range(settings.steps):
        batch = torch.randint(len(seen.value), (settings.batch,), generator=noise)
        optimiser.zero_grad(set_to_none=True)
        total, error = _loss(network, data, batch.to(device), settings, noise, step_mm)
        total.backward()
        optimiser.step()
        schedule.step()
        errors.append(float(error.detach()))
        if not math.isfinite(errors[-1]) or (len(errors) > 50 and float(np.mean(errors[-50:])) < floor):
            break
    return network, errors


def _loss(
    network: NeuralField,
    data: Mapping[str, Tensor],
    batch: Tensor,
    settings: InrSettings,
    noise: torch.Generator,
    step_mm: float,
) -> tuple[Tensor, Tensor]:
    """(total, mean absolute error) of one batch of low-field voxels."""
    points, count = _profile_points(data, batch, settings, noise)
    intensity, logits = network(points)
    mean = intensity.view(len(batch), count, -1).mean(dim=1)
    signal = mean.gather(1, data["contrast"][batch, None])[:, 0] + data["base"][batch]
    error = (rician_mean(signal, data["sigma"][data["stack"][batch]]) - data["value"][batch]).abs().mean()
    total = error
    if settings.seg:
        share = torch.softmax(logits, dim=1).view(len(batch), count, -1).mean(dim=1)
        total = total + settings.seg * segmentation(share, data["tissue"][batch])
    if settings.tv:
        total = total + settings.tv * _variation(network, data, batch, noise, step_mm)
    return total, error


def _profile_points(
    data: Mapping[str, Tensor], batch: Tensor, settings: InrSettings, noise: torch.Generator
) -> tuple[Tensor, int]:
    """((B·K, 3) points, K): normal offsets through each voxel's slice profile, in pairs ±z; without PSF its centre."""
    centre = data["point"][batch]
    if not settings.psf:
        return centre, 1
    half = torch.randn(len(batch), settings.psf_points // 2, 3, generator=noise).to(centre.device)
    offset = torch.cat([half, -half], dim=1) @ data["profile"][data["stack"][batch]].transpose(1, 2)
    return (centre[:, None] + offset).view(-1, 3), settings.psf_points


def _variation(
    network: NeuralField,
    data: Mapping[str, Tensor],
    batch: Tensor,
    noise: torch.Generator,
    step_mm: float,
) -> Tensor:
    """Total variation at random points near the batch's voxels, one random axis each."""
    few = batch[: max(1, len(batch) // 4)]
    here = data["point"][few] + 3 * step_mm * (torch.rand(len(few), 3, generator=noise) - 0.5).to(few.device)
    axis = torch.randint(3, (len(few),), generator=noise).to(few.device)
    there = here + step_mm * torch.nn.functional.one_hot(axis, 3)
    intensity, _ = network(torch.cat([here, there]))
    first, second = intensity.chunk(2)
    return (second - first).abs().mean()


def render(network: NeuralField, points: np.ndarray, settings: InrSettings) -> tuple[np.ndarray, np.ndarray]:
    """((C, N) intensity, (3, N) posteriors of CSF, GM, WM), float32, at points (N, 3), in chunks."""
    device = torch.device(settings.device)
    images, shares = [], []
    with torch.no_grad():
        for part in torch.from_numpy(points).split(CHUNK):
            here = part.to(device)
            intensity, logits = network(here)
            images.append(intensity.cpu().numpy())
            shares.append(torch.softmax(logits, dim=1)[:, 1:].cpu().numpy())
    return np.concatenate(images).T, np.concatenate(shares).T
