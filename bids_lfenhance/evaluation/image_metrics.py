"""Image metrics under one protocol or several, side by side (docs/methods/metrics.md)."""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ..imaging.ssim import RADIUS
from . import intensity, sharpness
from .protocols import CEILING_CLIP, PROTOCOLS, LinearScaling, Pair, Protocol, Scales, make_pair
from .ssim import Moments, local_moments, rescale, ssim_map, valid_area

MIN_BRAIN_SHARE = 0.01
"""Axial slices with less brain than this are no part of slice-wise means (for LPIPS)."""

VOXELWISE = {
    "psnr": intensity.psnr,
    "psnr_voxel": intensity.psnr_voxel,
    "mae": intensity.mae,
    "nmse": intensity.nmse,
    "ncc": intensity.ncc,
}
DISTRIBUTION = {"hncc": intensity.ncc, "bhat": intensity.bhattacharyya, "js": intensity.jensen_shannon}


def image_metrics(
    image: np.ndarray,
    reference: np.ndarray,
    mask: np.ndarray,
    zooms: Sequence[float] = (1.0, 1.0, 1.0),
    protocols: Sequence[str] = tuple(PROTOCOLS),
) -> list[dict[str, Any]]:
    """The table of metrics: rows of ``protocol``, ``region``, ``metric``, ``value`` (float, inf or NaN).

    Parameters
    ----------
    image, reference : (X, Y, Z) float32 on one RAS grid, arbitrary units; axial slices along the last axis
    mask : (X, Y, Z) bool, brain, from the reference
    zooms : mm, for the bands of the spectrum
    protocols : those wanted, in the order of the table

    No voxel is subsampled. An image that cannot be compared is an ``InputError``.
    """
    pair = make_pair(image, reference, mask)
    shared: dict[tuple[str, bool], Moments] = {}
    sharp = _sharpness(pair, zooms) if any("edge_f1" in PROTOCOLS[name].metrics for name in protocols) else {}
    rows = []
    for name in protocols:
        protocol = PROTOCOLS[name]
        scales = protocol.scale(pair)
        measure = _slicewise(pair, scales) if name == "slice2d" else _volumewise(pair, scales, protocol, shared, sharp)
        rows += [
            {"protocol": name, "region": where, "metric": metric, "value": value} for where, metric, value in measure
        ]
    return rows


def _sharpness(pair: Pair, zooms: Sequence[float]) -> dict[str, float]:
    """Band power ratios in the images' own units, and edge F1: computed once, as a gain only scales the former."""
    box = pair.box(8)
    x, y, mask = pair.image[box], pair.reference[box], pair.mask[box]
    power_x, power_y = (sharpness.band_power(data, mask, zooms) for data in (x, y))
    ratio = np.divide(power_x, power_y, out=np.full_like(power_x, np.nan), where=power_y > 0)
    named = dict(zip(sharpness.band_names(), (float(r) for r in ratio), strict=True))
    return {**named, "edge_f1": sharpness.edge_f1(x, y, mask)}


def _volumewise(
    pair: Pair, scales: Scales, protocol: Protocol, shared: dict[tuple[str, bool], Moments], sharp: dict[str, float]
) -> Iterator[tuple[str, str, float]]:
    x, y = scales.image(pair.image), scales.reference(pair.reference)
    if protocol.strip:
        x, y = x * pair.mask, y * pair.mask
    similarity = _ssim(pair, scales, protocol, shared, x, y)
    bright = pair.reference > intensity.FOREGROUND * pair.reference_max
    for region in protocol.regions:
        brain = region == "brain"
        inside_x, inside_y = (x[pair.mask], y[pair.mask]) if brain else (x, y)
        values = {name: f(inside_x, inside_y) for name, f in VOXELWISE.items() if name in protocol.metrics}
        if "ncc" in values:  # a negative gain must not forgive an inverted image
            values["ncc"] *= float(np.sign(scales.image.gain * scales.reference.gain))
        values["ssim"] = similarity[region]
        values["nmse"] = min(values["nmse"], protocol.nmse_limit)
        if "wass" in protocol.metrics:
            values |= _distributions(x, y, bright & pair.mask if brain or protocol.strip else bright)
        if "edge_f1" in protocol.metrics and brain:
            gain = (scales.image.gain / scales.reference.gain) ** 2
            values |= {name: value if name == "edge_f1" else value * gain for name, value in sharp.items()}
        if not brain:
            values["empty"] = _empty(pair, protocol.strip)
        for metric, value in values.items():
            yield region, metric, value


def _empty(pair: Pair, strip: bool = False) -> float:
    nothing = (pair.image == 0) & (pair.reference == 0)
    return float(np.mean(nothing | ~pair.mask if strip else nothing))


def _distributions(x: np.ndarray, y: np.ndarray, where: np.ndarray) -> dict[str, float]:
    if not where.any():
        return dict.fromkeys(("wass", *DISTRIBUTION), float("nan"))
    x, y = x[where], y[where]
    p, q = intensity.histogram(x), intensity.histogram(y)
    return {"wass": intensity.wasserstein(x, y)} | {name: f(p, q) for name, f in DISTRIBUTION.items()}


def _ssim(
    pair: Pair,
    scales: Scales,
    protocol: Protocol,
    shared: dict[tuple[str, bool], Moments],
    x: np.ndarray,
    y: np.ndarray,
) -> dict[str, float]:
    """SSIM per region: filtered anew where the brain was cut out, by algebra from one filtering otherwise."""
    window, whole = protocol.window, (slice(None), slice(None), slice(None))
    field = "field" in protocol.regions
    # Where only the brain counts, or all else is zero in both images, for which SSIM is exactly 1 under every window.
    box = whole if field and not protocol.strip else pair.box(2 * RADIUS)
    if protocol.strip:
        moments = local_moments(x[box], y[box], window)
    else:
        if (window, field) not in shared:
            shared[window, field] = local_moments(pair.image[box], pair.reference[box], window)
        moments = rescale(shared[window, field], *scales)
    similarity = np.ones(pair.mask.shape, dtype=np.float32)
    similarity[box] = ssim_map(moments)
    inner = valid_area(pair.mask.shape, moments.pad) if protocol.crop else whole
    return {
        region: _mean(similarity[inner][pair.mask[inner]] if region == "brain" else similarity[inner])
        for region in protocol.regions
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean(dtype=np.float64)) if values.size else float("nan")


def _slicewise(pair: Pair, scales: Scales) -> Iterator[tuple[str, str, float]]:
    """Means over the axial slices with enough brain; whole slices, clipped to [0, 1.05]."""
    enough = pair.mask.mean(axis=(0, 1)) >= MIN_BRAIN_SHARE

    def prepare(data: np.ndarray, line: LinearScaling) -> np.ndarray:
        return np.clip(line(data[:, :, enough]), 0, CEILING_CLIP)

    x, y = prepare(pair.image, scales.image), prepare(pair.reference, scales.reference)
    count = x.shape[2]
    if not count:
        yield from (("field", name, float("nan")) for name in ("psnr", "ssim"))
        yield "field", "empty", _empty(pair)
        return
    per_slice = [intensity.psnr(x[:, :, k], y[:, :, k]) for k in range(count)]
    yield "field", "psnr", float(np.mean(per_slice))
    moments = local_moments(x, y, ndim=2)
    yield "field", "ssim", _mean(ssim_map(moments)[valid_area(x.shape, moments.pad, ndim=2)])
    perceptual = lpips_mean((np.minimum(x[:, :, k], 1), np.minimum(y[:, :, k], 1)) for k in range(count))
    if perceptual is not None:
        yield "field", "lpips", perceptual
    yield "field", "empty", _empty(pair)


def lpips_mean(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Mean LPIPS (AlexNet) over pairs of (X, Y) slices in [0, 1]; None if the package or its weights are missing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are about calls inside lpips
            import lpips

            network = lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False)
            values = [
                float(network(*(lpips.im2tensor(np.repeat(s[:, :, None], 3, axis=2), factor=0.5) for s in pair)))
                for pair in pairs
            ]
    except ImportError:
        return None
    except Exception as error:  # whatever a third party's download or torch build does, the other metrics stand
        logging.getLogger(__name__).info("LPIPS left out: %s", error)
        return None
    return float(np.mean(values)) if values else None
