"""What can be looked at slice by slice on the page: images, maps in colour, outlines and regions.

A volume goes into the page as one picture, all axial slices side by side; the page's script cuts every plane from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import DERIVED_MAPS
from ..evaluation.risk import THRESHOLD as RISK_THRESHOLD
from ..imaging.grid import zooms_of
from . import rendering as fig
from .session_images import ContrastImages, Frame
from .tables import band_limit

PERCENT = "% of median brain intensity"

DRAWN = "Sample"
"""The map of a method that is itself an image, one that is possible; it is shown as one."""

OWN_NAMES = {"DrawsStd": "Spread of the draws"}
"""What a map of a method is called on the page."""

QUALITIES = (65, 50, 40)
"""Quality of the pictures on a page of up to two (some 13 MB), up to four (some 25 MB), and more contrasts."""

FEW_VOXELS = 50
"""Regions smaller than this have no mean worth naming."""


@dataclass(frozen=True)
class Layer:
    """A map over a result: ``kind``, ``name``, values (X, Y, Z), their scale, and their caption."""

    kind: str
    name: str
    values: np.ndarray
    scale: fig.Scale
    about: Mapping[str, Any]

    def painted(self, anatomy: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """(X, Y, Z, 3) uint8: in colour over a grey image, black outside the brain."""
        return fig.overlay_map(np.where(mask, anatomy, 0).astype(np.uint8), self.values, mask, self.scale)


@dataclass
class Viewer:
    """The data of the page's script for a session, and the pictures by the names it uses."""

    name: str
    frame: Frame
    quality: int
    contrasts: list[dict[str, Any]] = field(default_factory=list)
    pictures: dict[str, bytes] = field(default_factory=dict)

    def add(self, contrast: ContrastImages, names: Mapping[str, str], layers: Mapping[str, list[Layer]]) -> None:
        """Take in a contrast: its images, what is segmented on them, and the maps of every result."""
        home = f"{self.name}/{contrast.name}"
        entry: dict[str, Any] = {"name": contrast.name, "images": [], "maps": [], "tissue": {}, "regions": {}}
        for key, data in _images(contrast):
            grey = fig.grey(data, contrast.windows[key.removesuffix(DRAWN)])
            entry["images"].append({"key": key, "name": _name(key, names)})
            self.pictures[f"{home}/{key}"] = fig.encode_webp(grey, self.quality)
        for label, own in layers.items():
            anatomy = fig.grey(contrast.images[label], contrast.windows[label])
            entry["maps"].append({"key": label, "name": names.get(label, label)})
            for layer in own:
                entry["maps"].append({"key": f"{label}-{layer.kind}", "name": layer.name})
                painted = layer.painted(anatomy, self.frame.mask)
                self.pictures[f"{home}/{label}-{layer.kind}"] = fig.encode_webp(painted, self.quality)
        for key in contrast.images:
            inside = self.frame.mask.astype(np.uint8)
            labels = np.maximum(contrast.tissue[key], inside) if key in contrast.tissue else inside
            entry["tissue"][key] = f"{home}/{key}/tissue"
            self.pictures[f"{home}/{key}/tissue"] = fig.encode_png(labels)
            if key in contrast.regions:
                entry["regions"][key] = f"{home}/{key}/regions"
                self.pictures[f"{home}/{key}/regions"] = fig.encode_png(contrast.regions[key])
        self.contrasts.append(entry)

    def described(self) -> dict[str, Any] | None:
        """What the page's script wants to know; None where there is no image."""
        if not self.contrasts:
            return None
        from ..segmentation.regions import regions

        grid = self.frame.cut
        known = {region.index: [region.name, region.colour] for region in regions()}
        return {
            "id": self.name,
            "size": list(grid.shape),
            "origin": [round(float(value), 2) for value in grid.affine[:3, 3]],
            "zoom": [round(zoom, 3) for zoom in zooms_of(grid.affine)],
            "across": fig.columns_of(grid.shape[2]),
            "start": {plane: self.frame.start(plane) for plane in fig.AXES},
            "contrasts": self.contrasts,
            "regions": known if any(entry["regions"] for entry in self.contrasts) else {},
            "colours": {kind: "rgb({}, {}, {})".format(*rgb) for kind, rgb in fig.TISSUE_COLOURS.items()},
        }


def quality_for(contrasts: int) -> int:
    """Quality of the pictures of a page that shows so many contrasts, each session's counted.

    >>> [quality_for(n) for n in (1, 2, 4, 6)]
    [65, 65, 50, 40]
    """
    return QUALITIES[0 if contrasts <= 2 else 1 if contrasts <= 4 else 2]


def _images(contrast: ContrastImages) -> list[tuple[str, np.ndarray]]:
    """The images as they stand side by side, one possible image after the result that it is drawn around."""
    listed = []
    for key, data in contrast.images.items():
        listed.append((key, data))
        if DRAWN in contrast.maps.get(key, {}):
            listed.append((key + DRAWN, contrast.maps[key][DRAWN]))
    return listed


def _name(key: str, names: Mapping[str, str]) -> str:
    if key in names:
        return names[key]
    return f"One possible image ({key.removesuffix(DRAWN)})" if key.endswith(DRAWN) else key


def layers_of(contrast: ContrastImages, label: str, mask: np.ndarray) -> list[Layer]:
    """The maps of one result: what changed, the expected error, the risk, and the method's own."""
    layers = [_change(contrast, label, mask)] if "low" in contrast.images else []
    error, name = contrast.maps.get(label, {}).get("Error"), "Expected error"
    if error is None and label in contrast.std:
        error, name = contrast.std[label], "Standard deviation of the error"
    if error is not None:
        percent = 100 * error / contrast.level(label, mask)
        said = contrast.about_maps.get(label, {}).get("Error")
        about = _spread(percent[mask]) | ({"about": said} if said else {})
        layers.append(Layer("Error", name, percent, _sequential_scale("viridis", percent[mask], PERCENT), about))
    if label in contrast.risk:
        layers.append(_risk(contrast, label, mask))
    own = [kind for kind in contrast.maps.get(label, {}) if kind not in (DRAWN, *DERIVED_MAPS)]
    return layers + [_own(kind, contrast, label, mask) for kind in own]


def _change(contrast: ContrastImages, label: str, mask: np.ndarray) -> Layer:
    """Enhanced minus low field, the low field brought to the same brightness and contrast inside the brain first."""
    image, low = contrast.images[label], contrast.images["low"]
    before, after = low[mask].astype(np.float64), image[mask].astype(np.float64)
    spread = before.var()
    gain = ((before - before.mean()) * (after - after.mean())).mean() / spread if spread > 0 else 0.0
    change = image - np.float32(gain) * low - np.float32(after.mean() - gain * before.mean())
    percent = 100 * change / np.float32(contrast.level(label, mask))
    inside = np.abs(percent[mask])
    limit = fig.nice_limit(float(np.percentile(inside, 98)))
    scale = fig.Scale("berlin", (-limit, limit), PERCENT)
    return Layer("Change", "What changed", percent, scale, _spread(inside))


def _risk(contrast: ContrastImages, label: str, mask: np.ndarray) -> Layer:
    risk, about = np.abs(contrast.risk[label]), contrast.about_risk[label]
    threshold = about.get("Threshold")
    threshold = float(threshold) if isinstance(threshold, int | float) else RISK_THRESHOLD
    limit = max(3 * threshold, fig.nice_limit(float(np.percentile(np.nan_to_num(risk[mask]), 99.8))))
    scale = fig.Scale("magma", (0.0, limit), "noise units", threshold)
    return Layer("Risk", "Risk map", risk, scale, {"about": about, "band": band_limit(about)})


def _own(kind: str, contrast: ContrastImages, label: str, mask: np.ndarray) -> Layer:
    values, about = contrast.maps[label][kind], contrast.about_maps[label][kind]
    scale = _sequential_scale("magma", values[mask], str(about.get("Units", "arbitrary units")))
    return Layer(kind, OWN_NAMES.get(kind, f"{kind} map"), values, scale, {"about": about} | _spread(values[mask]))


def _sequential_scale(colours: str, inside: np.ndarray, unit: str) -> fig.Scale:
    return fig.Scale(colours, (0.0, fig.nice_limit(float(np.percentile(inside, 99)))), unit)


def _spread(inside: np.ndarray) -> dict[str, float]:
    return {"median": float(np.median(inside)), "high": float(np.percentile(inside, 95))}


def weakest_regions(
    contrast: ContrastImages, label: str, layers: list[Layer], count: int = 3
) -> list[tuple[str, float]]:
    """(name, mean) of the regions where the expected error is largest, the worst first; none without regions of it."""
    from ..segmentation.regions import regions

    error = next((layer.values for layer in layers if layer.kind == "Error"), None)
    if error is None or label not in contrast.regions:
        return []
    labels = contrast.regions[label]
    size = np.bincount(labels.ravel(), minlength=256)
    mean = np.bincount(labels.ravel(), error.ravel(), minlength=256) / np.maximum(size, 1)
    listed = [(region.name, float(mean[region.index])) for region in regions() if size[region.index] >= FEW_VOXELS]
    return sorted(listed, key=lambda item: -item[1])[:count]
