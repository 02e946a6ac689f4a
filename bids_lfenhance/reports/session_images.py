"""The images of one session as arrays, on one grid and cut to the head: what its pictures are drawn from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..imaging.grid import Box, Grid, box_of, resample, zooms_of
from . import rendering as fig
from .collect import Channel, Output, SegmentationOutputs, Session, load

MARGIN_MM = 24
"""Around the brain, in every picture: the scalp, and air beside it."""

START = 0.55
"""Share of the way through the brain of the slice shown first: the ventricles and the deep nuclei are there."""

_CHOICE = (("axial", (0.38, 0.62)), ("coronal", (0.38, 0.62)), ("sagittal", (0.42,)))
"""Slices of a printed figure, as fractions of the way through the brain."""


@dataclass(frozen=True)
class Frame:
    """What all pictures of a session share: the ``grid`` of the images, the ``box`` they are cut to, the brain in it.

    ``slices``: by plane, the slices of the box in the middle 97 % of the brain.
    """

    grid: Grid
    box: Box
    mask: np.ndarray
    slices: Mapping[str, tuple[int, ...]]

    @property
    def cut(self) -> Grid:
        """The grid of the box."""
        return self.grid.cut(self.box)

    def position(self, plane: str, index: int) -> int:
        """Millimetres (RAS+) of a slice of the box along the normal of its plane."""
        axis = fig.AXES[plane]
        return round(self.cut.affine[axis, 3] + self.cut.affine[axis, axis] * index)

    def start(self, plane: str) -> int:
        """The slice that is shown first."""
        return self.slices[plane][round(START * (len(self.slices[plane]) - 1))]

    def choice(self) -> list[tuple[str, int]]:
        """(plane, slice) of the tiles of a printed row."""
        return [
            (plane, self.slices[plane][round(share * (len(self.slices[plane]) - 1))])
            for plane, shares in _CHOICE
            for share in shares
        ]

    def columns(self) -> list[str]:
        """What stands above the tiles of a printed row."""
        axis = {"axial": "z", "coronal": "y", "sagittal": "x"}
        return [f"{plane}, {axis[plane]} = {self.position(plane, index)} mm" for plane, index in self.choice()]


@dataclass(frozen=True)
class ContrastImages:
    """The images of one contrast, cut to the box: keys "low", the labels of the results, "high".

    ``stacks``: the scans on their own voxels, by the ``acq-`` of their names, each with the affine that the alignment
    gave it.
    """

    name: str
    images: Mapping[str, np.ndarray]
    windows: Mapping[str, fig.Window]
    std: Mapping[str, np.ndarray]
    risk: Mapping[str, np.ndarray]
    about_risk: Mapping[str, Mapping[str, Any]]
    tissue: Mapping[str, np.ndarray]
    regions: Mapping[str, np.ndarray]
    maps: Mapping[str, Mapping[str, np.ndarray]]
    about_maps: Mapping[str, Mapping[str, Mapping[str, Any]]]
    stacks: Mapping[str, tuple[np.ndarray, np.ndarray]]

    @property
    def labels(self) -> list[str]:
        """The results that are there."""
        return [key for key in self.images if key not in ("low", "high")]

    def level(self, label: str, mask: np.ndarray) -> float:
        """What maps of a result are a share of: its median inside the brain."""
        return abs(float(np.median(self.images[label][mask]))) or 1.0


def find_frame(session: Session) -> Frame | None:
    """Where the pictures of a session are, from the first image that can be read; None where none can."""
    candidates = [o for c in session.channels for o in (c.low, *c.enhanced.values()) if o is not None]
    first = next((image for o in candidates if (image := load_on_grid(o, None, [])) is not None), None)
    if first is None:
        return None
    data, grid = np.nan_to_num(first[0]), first[1]
    brain = load_on_grid(session.mask, grid, [], order=0)
    mask = brain[0] > 0.5 if brain is not None and (brain[0] > 0.5).any() else data > 0.2 * np.percentile(data, 99)
    mask = mask if mask.any() else np.ones_like(mask)
    box = box_of(mask, [round(MARGIN_MM / zoom) for zoom in zooms_of(grid.affine)])
    return Frame(grid, box, mask[box], {plane: fig.slice_range(mask[box], plane) for plane in fig.AXES})


def load_on_grid(
    output: Output | None, grid: Grid | None, problems: list[str], order: int = 1
) -> tuple[np.ndarray, Grid] | None:
    """An image on the grid (its own where none is given), or None and a sentence among the problems."""
    if output is None:
        return None
    try:
        data, own = load(output)
    except Exception as error:  # reading a damaged file may raise anything; the page must say so and go on
        problems.append(f"{output.path.name} cannot be read ({type(error).__name__}: {error}).")
        return None
    if grid is None or grid == own:
        return data, own
    return resample(data, own.affine, grid, order=order), grid


def load_channel(channel: Channel, frame: Frame, problems: list[str]) -> ContrastImages:
    """Everything of a contrast that can be read; what cannot is listed among the problems."""

    def cut(output: Output | None, order: int = 1) -> np.ndarray | None:
        loaded = load_on_grid(output, frame.grid, problems, order)
        return None if loaded is None else loaded[0][frame.box]

    def cut_all(outputs: Mapping[str, Output], order: int = 1) -> dict[str, np.ndarray]:
        return {key: np.nan_to_num(d) for key, output in outputs.items() if (d := cut(output, order)) is not None}

    def cut_labels(
        segmentations: Mapping[str, SegmentationOutputs], high: SegmentationOutputs | None
    ) -> dict[str, np.ndarray]:
        outputs = {("low" if key == "preproc" else key): one.output for key, one in segmentations.items()}
        outputs |= {"high": high.output} if high is not None else {}
        return {key: data.astype(np.uint8) for key, data in cut_all(outputs, 0).items()}

    wanted = {"low": channel.low, **channel.enhanced, "high": channel.high}
    images = cut_all({key: output for key, output in wanted.items() if output is not None})
    return ContrastImages(
        name=channel.contrast,
        images=images,
        windows=fig.shared_windows({key: data[frame.mask] for key, data in images.items()}),
        std=cut_all(channel.std),
        risk={label: data for label, output in channel.risk.items() if (data := cut(output)) is not None},
        about_risk={label: output.sidecar for label, output in channel.risk.items()},
        tissue=cut_labels(channel.tissue, channel.tissue_high),
        regions=cut_labels(channel.regions, channel.regions_high),
        maps={label: cut_all(maps) for label, maps in channel.maps.items()},
        about_maps={label: {kind: o.sidecar for kind, o in maps.items()} for label, maps in channel.maps.items()},
        stacks={name: found for name, one in channel.stacks.items() if (found := _moved(one, problems)) is not None},
    )


def _moved(output: Output, problems: list[str]) -> tuple[np.ndarray, np.ndarray] | None:
    """A scan on its own voxels and the affine (4, 4) by which its transform moved it; None without a transform."""
    from nitransforms.io.itk import ITKLinearTransform

    loaded, path = load_on_grid(output, None, problems), transform_of(output)
    if loaded is None or path is None:
        return None
    try:
        to_stack = ITKLinearTransform.from_filename(path).to_ras()  # carries points from the fixed to the moving image
    except Exception as error:  # nitransforms has as many kinds as there are ways for a file to be damaged
        problems.append(f"{path.name} cannot be read ({str(error).rstrip('.') or type(error).__name__}).")
        return None
    return np.nan_to_num(loaded[0]), np.linalg.inv(to_stack) @ loaded[1].affine


def slice_of_stack(stack: tuple[np.ndarray, np.ndarray], frame: Frame, plane: str, index: int) -> np.ndarray:
    """(rows, cols) of a moved scan as ``rendering.plane_slice`` draws it; zero where the scan saw nothing."""
    thin = [slice(0, n) for n in frame.cut.shape]
    thin[fig.AXES[plane]] = slice(index, index + 1)
    return fig.plane_slice(resample(*stack, frame.cut.cut((thin[0], thin[1], thin[2]))), plane, 0)


def transform_of(output: Output) -> Path | None:
    """The file that says how a scan was moved."""
    head = output.path.name.split("_desc-preproc")[0]
    return next(iter(sorted(output.path.parent.glob(f"{head}_from-{output.suffix}_to-*_mode-image_xfm.txt"))), None)
