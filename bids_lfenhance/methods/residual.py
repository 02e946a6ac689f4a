"""Draws of the standardised residual around the learned estimate: what ``cfm``, ``bridge`` and ``cssdiff`` share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..config import CONTRASTS
from ..imaging.volume import Volume
from ..nn.crop import BrainCrop
from ..nn.estimate import SCALE
from ..nn.method import Description, Draw, Enhancer, Prepared, Residuals
from ..nn.precision import use_precision
from ..nn.residual import CLIP
from ..nn.settings import JsonObject
from ..nn.stage import Nets
from ..nn.weights import LoadedWeights, load_weights
from . import get_method
from .estimate import MARGIN, ContrastEstimate, SessionEstimate, estimate_session
from .residual_options import ESTIMATE, ResidualSampling, check_estimate, output_maps

if TYPE_CHECKING:
    from ..imaging.consistency import ErrorPosterior

S = TypeVar("S", bound=ResidualSampling)


@dataclass(frozen=True, eq=False)
class ResidualPrepared(Prepared[S]):
    """The networks in their trained state on their device, multiplying in ``precision``.

    ``estimator``: what the method of the estimate prepared; ``spread``: factor of a draw by contrast, where the scans
    correct the estimate; 1 where none was measured.
    """

    nets: Nets
    loaded: LoadedWeights
    precision: str
    estimator: Any
    spread: Mapping[str, float]

    @cached_property
    def estimate(self) -> SessionEstimate:
        """The estimate of the session, made once for all draws."""
        own, ready = self.settings, self.estimator
        known = [name for name in ready.loaded.contrasts if name in self.loaded.contrasts]
        return estimate_session(self.volume, ready.network, known, own.target_contrast, own.device)


@dataclass(frozen=True)
class ResidualSampler(Generic[S]):
    """What each of these methods brings.

    ``resolve(sampling, stored)`` returns the settings in use with weights that store ``stored``; ``build(settings)``
    makes the networks; ``draw(prepared, estimate of one contrast, generator on the processor)`` returns r̂
    (1, 1, x, y, z) and the number of network calls; ``fit(prepared, sides of the brain, bytes)`` returns ``prepared``
    with settings for as much at once as fits into the bytes, or raises InputError. ``keeps_level``: whether a draw
    keeps its part over centimetres where the scans correct the estimate.
    """

    about: Description
    resolve: Callable[[Any, JsonObject], S]
    build: Callable[[S], dict[str, nn.Module]]
    draw: Callable[[ResidualPrepared[S], ContrastEstimate, torch.Generator], tuple[Tensor, int]]
    fit: Callable[[ResidualPrepared[S], tuple[int, ...], int], ResidualPrepared[S]]
    keeps_level: bool = True


def enhancer(sampler: ResidualSampler[S]) -> Enhancer[Any, ResidualPrepared[S]]:
    """The record of a method that draws the residual with this sampler."""
    return Enhancer(
        sampler.about,
        partial(prepare, sampler),
        partial(sample, sampler),
        fit_to_memory=partial(fit_to_memory, sampler),
        is_stochastic=lambda sampling: sampling.draws_residual,
        resolve=sampler.resolve,
        map_metadata=output_maps,
        combine_draws=combine_draws,
    )


def prepare(sampler: ResidualSampler[S], volume: Volume, sampling: ResidualSampling) -> ResidualPrepared[S]:
    """What all draws share; raise InputError where the estimate is not the one the networks were trained with."""
    loaded = load_weights(sampling.weights, sampler.about.weights_name, ())
    settings = sampler.resolve(sampling, loaded.settings)
    record = get_method(ESTIMATE)
    asked = record.about.sampling(
        weights=settings.estimate,
        device=settings.device,
        precision=settings.precision,
        target_contrast=settings.target_contrast,
    )
    estimator = record.prepare(volume, asked)
    check_estimate(sampler.about.name, str(loaded.settings.get("estimate_sha256", "")), estimator.loaded)
    device = torch.device(settings.device)
    nets = loaded.into(sampler.build(settings), device)
    half = use_precision(nets, settings.precision, device)
    spread = dict.fromkeys(loaded.contrasts, 1.0) | loaded.recipe.get("spread", {}).get(sampler.about.name, {})
    return ResidualPrepared(volume, settings, nets, loaded, "bf16" if half else "fp32", estimator, spread)


def fit_to_memory(sampler: ResidualSampler[S], prepared: ResidualPrepared[S], limit: int) -> ResidualPrepared[S]:
    """The same with as much at once as ``limit`` bytes allow; raise InputError if nothing fits."""
    get_method(ESTIMATE).fit_to_memory(prepared.estimator, limit)  # type: ignore[misc]
    if not prepared.settings.draws_residual:
        return prepared
    return sampler.fit(prepared, BrainCrop.of(prepared.volume, prepared.loaded.contrasts, MARGIN).mask.shape, limit)


def sample(sampler: ResidualSampler[S], prepared: ResidualPrepared[S], generator: np.random.Generator) -> Draw:
    """One draw: the estimate, the SD of its error, and one residual around it where anything is to be drawn."""
    settings, estimate = prepared.settings, prepared.estimate
    # The share of a draw that is added has an error like that of the estimate, and independent of it.
    wider = (1 + settings.sharpness**2) ** 0.5
    factors = {name: wider * prepared.estimator.error_factors[name] for name in estimate.contrasts}
    image = estimate.paste({name: one.image for name, one in estimate.contrasts.items()})
    residual: np.ndarray | None = None
    calls: Mapping[str, int] = {}
    if settings.draws_residual:
        residual, calls = draw_residual(sampler, prepared, generator)
    spread = {name: prepared.spread[name] for name, one in estimate.contrasts.items() if one.posterior is not None}
    record = {
        **estimate.record(),
        "weights": prepared.loaded.where,
        "weights_sha256": prepared.loaded.sha256,
        "estimate_sha256": prepared.estimator.loaded.sha256,
        "precision": prepared.precision,
        "error_factors": factors,
        "image": f"estimate plus {settings.sharpness:g} of the draw" if settings.sharpness else "estimate",
        "nfe": len(estimate.contrasts) + sum(calls.values()),
        **({"spread": spread} if calls else {}),
    }
    return Draw(image, record, scale=estimate.error_scale(factors), residual=residual)


def draw_residual(
    sampler: ResidualSampler[S], prepared: ResidualPrepared[S], generator: np.random.Generator
) -> tuple[np.ndarray, Mapping[str, int]]:
    """(Residual (C, X, Y, Z) float32 in the units of the scan, zero beyond the brain; network calls by contrast).

    That is σ r̂; where the stacks correct the estimate, times ``spread`` and conditioned on them. Each contrast has a
    seed that does not depend on the others; its noise is drawn on the processor, whatever the device.
    """
    estimate = prepared.estimate
    seeds = generator.integers(2**63, size=len(CONTRASTS))
    out = np.zeros(prepared.volume.image.shape, np.float32)
    calls: dict[str, int] = {}
    for name, one in estimate.contrasts.items():
        channel = CONTRASTS.index(name)
        with torch.no_grad():
            drawn, calls[name] = sampler.draw(prepared, one, torch.Generator().manual_seed(int(seeds[channel])))
        residual = (one.scale.clamp(*SCALE) * drawn.clamp(-CLIP, CLIP))[0, 0].cpu().numpy()
        here: tuple[int | slice, ...] = (channel, *estimate.crop.box)
        out[here] = np.where(estimate.crop.mask, residual * one.slots.unit, 0)
        if one.posterior is not None:
            prior = out[channel] if sampler.keeps_level else one.posterior.without_level(out[channel])
            out[channel] = _given_the_scans(one.posterior, prepared.spread[name] * prior, int(seeds[channel]))
            out[here] *= estimate.crop.mask
        out[here] = _as_written(one, out[here])
    return out, calls


def _given_the_scans(posterior: "ErrorPosterior", residual: np.ndarray, seed: int) -> np.ndarray:
    """(X, Y, Z) float32: a residual conditioned on the scans (``ErrorPosterior.draw``)."""
    from scipy import fft  # a training on a machine without scipy reads this module too

    with fft.set_workers(torch.get_num_threads()):  # each line of a transform is one thread's: the same to the bit
        return posterior.draw(residual, np.random.default_rng([seed, 1]))


def _as_written(one: ContrastEstimate, residual: np.ndarray) -> np.ndarray:
    """(x, y, z) float32: a residual in the units of the scan, in the contrast asked for."""
    if one.curve is None:
        return residual
    image = one.in_units(one.image)
    return one.curve(np.maximum(image + residual, 0)) - one.curve(image)


def combine_draws(
    prepared: ResidualPrepared[Any], image: np.ndarray, residuals: Residuals
) -> tuple[np.ndarray, Mapping[str, np.ndarray]]:
    """The image to be written, (C, X, Y, Z) float32, and the maps beside it.

    The sample is the first draw, recentred so that the mean of the draws would be the estimate, and widened by as much
    as that takes from its spread.
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
