"""What every metric is: the table behind the TSV's sidecar and the report's legend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .protocols import PROTOCOLS
from .sharpness import BANDS, band_names


@dataclass(frozen=True)
class Metric:
    """One metric: ``better`` is "higher", "lower", "one" (ideal value 1) or "none" (descriptive)."""

    equation: str
    unit: str
    low: float
    high: float
    better: str
    description: str


INF = float("inf")

DICE, VOLUME_DIFFERENCE = "dice", "volume_difference"
"""The metrics of labels."""

_ROWS: Mapping[str, tuple[str, str, float, float, str, str]] = {
    "psnr": (
        *("10 log10(1/MSE)", "dB", -INF, INF, "higher"),
        "Peak signal-to-noise ratio in the region; slice2d: mean over slices",
    ),
    "psnr_voxel": (
        *("mean 10 log10(1/(e² + 1e-8))", "dB", -INF, 80, "higher"),
        "Mean of every voxel's own PSNR: 5.5 dB above 'psnr' for Gaussian errors, more for uneven ones",
    ),
    "ssim": (
        *("(2μxμy + .01²)(2σxy + .03²) / ((μx² + μy² + .01²)(σx² + σy² + .03²))", "1", -1, 1, "higher"),
        "Structural similarity: mean of the SSIM map over the region, in 3D (slice2d: in 2D), half a window of border "
        "left out; Gaussian window σ 1.5, 11 wide, unless the protocol says otherwise; windows at the rim of the "
        "brain see what lies outside it",
    ),
    "mae": ("mean |x − y|", "1", 0, INF, "lower", "Mean absolute error, as a share of the data range"),
    "nmse": ("‖x − y‖² / ‖y‖²", "1", 0, INF, "lower", "Squared error relative to the reference (fastMRI's form)"),
    "ncc": ("cov(x, y) / (σx σy)", "1", -1, 1, "higher", "Pearson correlation over voxels"),
    "wass": (
        *("mean |sort(x) − sort(y)|", "1", 0, INF, "lower"),
        "1-D Wasserstein distance of the intensities where the reference exceeds 1 % of its maximum; all voxels, none "
        "subsampled",
    ),
    "hncc": ("corr(p, q)", "1", -1, 1, "higher", "Pearson correlation of the two histograms, 256 bins on [0, 1]"),
    "bhat": ("−ln Σ √(pq)", "1", 0, INF, "lower", "Bhattacharyya distance of the two histograms"),
    "js": (
        *("½ KL(p‖m) + ½ KL(q‖m), m = (p + q)/2", "nat", 0, 0.6931, "lower"),
        "Jensen–Shannon divergence of the two histograms, natural log (scipy's function returns its root)",
    ),
    **{
        name: (
            "mean |FFT(x·w)|² / mean |FFT(y·w)|²",
            *("1", 0, INF, "one"),
            f"Power of the image over power of the reference between {low:g} and {high:g} cycles/mm, inside the "
            "softened brain mask: below 1 is blur, above 1 is noise or invention",
        )
        for name, (low, high) in zip(band_names(), BANDS, strict=True)
    },
    "edge_f1": (
        *("2PR/(P + R)", "1", 0, 1, "higher"),
        "F1 of the image's edges against the reference's: steepest tenth of the brain by Gaussian derivative (σ 1 "
        "voxel), 4 voxels and more inside the mask, thinned, one voxel of tolerance. Our definition: S2 gives none",
    ),
    "lpips": (
        *("Zhang et al. 2018", "1", 0, INF, "lower"),
        "Learned perceptual distance (AlexNet), mean over axial slices; absent where lpips is not installed",
    ),
    DICE: (
        *("2|A∩B| / (|A| + |B|)", "1", 0, 1, "higher"),
        "Overlap of a region with that of the high field, both segmented alike (protocols seg-…)",
    ),
    VOLUME_DIFFERENCE: (
        *("100 (|A| − |B|) / |B|", "%", -100, INF, "none"),
        "Volume of a region (voxels that carry the label) against that of the high field, both segmented alike "
        "(protocols seg-…); 0 is ideal",
    ),
    "empty": (
        *("mean [x = 0 and y = 0]", "1", 0, 1, "none"),
        "Share of the region's voxels where both images are zero, as given or stripped: they agree for free",
    ),
}
"""Equation, unit, range, which way is better, description."""

METRICS: Mapping[str, Metric] = {name: Metric(*row) for name, row in _ROWS.items()}
"""Name → metric, in the order of the tables."""

SEGMENTATIONS: Mapping[str, str] = {
    "seg-tissue": "Labels of seg-tissue: CSF, GM, WM, with the priors of the high field's registration in both",
    "seg-regions": "Labels of seg-regions: the network of this package, each image segmented for itself",
    "seg-synthseg": "Labels of seg-synthseg: FreeSurfer's mri_synthseg, each image segmented for itself",
}
"""Protocols of what is measured on labels and knows no intensities."""

REGIONS: Mapping[str, str] = {
    "brain": "Inside the brain mask",
    "field": "The whole field of the grid, air and padding included: metric 'empty' says how much of it is nothing",
}


def levels() -> dict[str, str]:
    """One sentence per metric: what it is, its equation, unit, range and which way is better."""
    sense = {"higher": "higher is better", "lower": "lower is better", "one": "1 is ideal", "none": "not a score"}
    return {
        name: f"{metric.description}. {metric.equation}. Unit {metric.unit}, {_range(metric)}, {sense[metric.better]}"
        for name, metric in METRICS.items()
    }


def _range(metric: Metric) -> str:
    low, high = ("−∞" if end == -INF else "∞" if end == INF else f"{end:g}" for end in (metric.low, metric.high))
    return f"{'(' if low == '−∞' else '['}{low}, {high}{')' if high == '∞' else ']'}"


DATA_DICTIONARY: Mapping[str, Mapping[str, Any]] = {
    "contrast": {"Description": "Contrast of the two images that were compared (BIDS suffix)"},
    "image": {
        "Description": "What was compared with high field: 'preproc' is the low-field baseline (plain mean "
        "of the stacks), any other name the desc- of an enhanced image"
    },
    "region": {
        "Description": "Where it was measured: "
        + "; ".join(f"'{name}': {about}" for name, about in REGIONS.items())
        + "; of the metrics of labels the region's name, without a side where both sides count as one"
    },
    "protocol": {
        "Description": "How both images were scaled first; figures of different protocols do not compare",
        "Levels": {name: protocol.description for name, protocol in PROTOCOLS.items()} | dict(SEGMENTATIONS),
    },
    "metric": {"Description": "What was measured; x is the image, y the reference", "Levels": levels()},
    "value": {
        "Description": "The figure, in its metric's unit; 'inf' for the PSNR of identical images and for histograms "
        "that nowhere overlap, 'n/a' where a metric is undefined"
    },
}
"""Sidecar of the TSV of image metrics: column → description, with one level per region, protocol and metric."""
