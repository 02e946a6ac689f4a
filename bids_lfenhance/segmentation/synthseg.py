"""Outputs of FreeSurfer's ``mri_synthseg`` as a segmentation of this package."""

import csv
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from ..errors import InputError, MethodError
from ..imaging.grid import Grid, resample
from .regions import indices, regions
from .volumes import TOTAL, Rows, region_rows

PROGRAM = "mri_synthseg"


def check_installed() -> None:
    """Raise InputError if there is no ``mri_synthseg`` to run."""
    if shutil.which(PROGRAM) is None:
        raise InputError(
            f"Expected FreeSurfer's {PROGRAM} for --segmentation synthseg, found no such program on the PATH; "
            "source FreeSurfer's SetUpFreeSurfer.sh (7.3 or later), or choose --segmentation builtin or none."
        )


def read_synthseg(labels: Path, volumes: Path, grid: Grid) -> tuple[np.ndarray, Rows]:
    """Labels (X, Y, Z) uint8 on a grid and their rows (``region_rows``); SynthSeg tells no confidence per region.

    ``labels`` is the image of ``--o``, on whichever grid, and ``volumes`` the table of ``--vol``, mm³ by posteriors.
    """
    image: Any = nib.load(labels)
    found = resample(np.asarray(image.dataobj), image.affine, grid, order=0)
    kept = np.where(np.isin(found, indices()), found, 0).astype(np.uint8)
    soft = _soft(volumes)
    names = [TOTAL, *(region.name for region in regions())]
    unknown = [float("nan")] * len(names)
    return kept, region_rows(kept, grid, [soft.get(_key(name), float("nan")) for name in names], unknown)


def _soft(path: Path) -> dict[str, float]:
    """{name: mm³} of the table's last row."""
    with path.open(encoding="utf-8", newline="") as file:
        head, *rows = [row for row in csv.reader(file) if row]
    if not rows:
        raise MethodError(f"Expected the volumes of one image in {path}, found none; run {PROGRAM} by hand to see why.")
    return {_key(name): float(value) for name, value in zip(head[1:], rows[-1][1:], strict=False)}


def _key(name: str) -> str:
    """A name as it is compared: ours and FreeSurfer's differ in hyphens.

    >>> _key("Brain-Stem") == _key("brain stem")
    True
    """
    return name.lower().replace("-", " ").strip()
