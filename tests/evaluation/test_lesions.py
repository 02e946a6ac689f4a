"""The contrast of lesions, on a phantom with one planted."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.evaluation.lesions import (
    AROUND_MM,
    lesions_session,
    mask_on_grid,
    measure_lesions,
    white_around,
)
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels

from ..refusals import refused

SHAPE = (40, 44, 36)
GRID = Grid(np.eye(4), SHAPE)
CENTRE, RADIUS = np.array((20.0, 22.0, 18.0)), 4.0
PLACE = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
LESION = np.linalg.norm(PLACE - CENTRE, axis=-1) <= RADIUS
WHITE = np.linalg.norm(PLACE - CENTRE, axis=-1) <= 15


def image(lesion: float, white: float = 100.0) -> np.ndarray:
    """White matter with a lesion of this intensity, in grey matter of twice as much."""
    return np.where(LESION, lesion, np.where(WHITE, white, 2 * white)).astype(np.float32)


def volume(stacks: tuple[Stack, ...] = (), **channels: np.ndarray) -> Volume:
    return volume_from_channels(GRID, channels, stacks)


def test_the_contrast_of_a_planted_lesion_is_found_in_every_image() -> None:
    images = {
        "preproc": volume(T1w=image(80), T2w=image(140)),
        "fusionnet": volume(T1w=image(90)),
        "high": volume(T1w=7 * image(60)),
    }
    found = measure_lesions(LESION, WHITE, images, GRID)
    assert found["Contrast"]["T1w"] == pytest.approx({"preproc": -0.2, "fusionnet": -0.1, "high": -0.4}, abs=1e-6)
    assert found["Contrast"]["T2w"] == pytest.approx({"preproc": 0.4}, abs=1e-6)
    assert found["Count"] == 1
    assert found["VolumeMl"] == pytest.approx(4 / 3 * np.pi * RADIUS**3 / 1000, rel=0.1)


def test_only_white_matter_near_but_not_at_the_lesion_is_compared_with() -> None:
    around = white_around(LESION, WHITE, GRID)
    distance = np.linalg.norm(PLACE - CENTRE, axis=-1) - RADIUS
    assert around.any()
    assert not around[~WHITE].any()
    assert distance[around].min() > AROUND_MM[0] - 1
    assert distance[around].max() < AROUND_MM[1] + 1
    grey = measure_lesions(LESION, np.zeros(SHAPE, bool), {"preproc": volume(T1w=image(80))}, GRID)
    assert grey["Contrast"] == {"T1w": {"preproc": None}}, "no white matter, no contrast"


def test_no_lesion_has_no_contrast() -> None:
    found = measure_lesions(np.zeros(SHAPE, bool), WHITE, {"preproc": volume(T1w=image(80))}, GRID)
    assert found == {"VolumeMl": 0, "Count": 0, "Contrast": {"T1w": {"preproc": None}}}


def test_a_mask_drawn_on_a_scan_is_moved_as_that_scan_was(tmp_path: Path) -> None:
    """The scanner's frame lies 6 mm beside the canonical one; a mask in the frame of high field is not moved."""
    path, moved = tmp_path / "sub-01_label-lesion_mask.nii.gz", np.eye(4)
    moved[0, 3] = 6
    nib.Nifti1Image(LESION.astype(np.uint8), np.linalg.inv(moved)).to_filename(path)
    stack = Stack("sub-01_acq-axi_T1w", "T1w", image(80), moved, np.eye(4), (1, 1, 1), 1.0)
    acquired = volume((stack,), T1w=image(80))
    tissue = {"T1w": np.where(WHITE, 3, 2).astype(np.uint8)}
    contrasts = [
        lesions_session({path: name}, acquired, {"preproc": acquired}, tissue)["Contrast"]["T1w"]["preproc"]
        for name in (stack.name, None)
    ]
    assert contrasts[0] == pytest.approx(-0.2, abs=1e-3)
    assert contrasts[1] > -0.1, "it lies beside the lesion"


@pytest.mark.parametrize("radius", [1.5, 3.0])
def test_small_lesions_on_thick_voxels_keep_their_volume(tmp_path: Path, radius: float) -> None:
    affine, path = np.diag([1.6, 1.6, 5.0, 1.0]), tmp_path / "sub-01_label-lesion_mask.nii.gz"
    rng, ratios = np.random.default_rng(0), []
    points = np.stack(np.meshgrid(*(np.arange(n) for n in (25, 25, 8)), indexing="ij"), axis=-1) * [1.6, 1.6, 5.0]
    for _ in range(12):
        ball = np.linalg.norm(points - rng.uniform(12, 28, 3), axis=-1) < radius + 0.8
        nib.Nifti1Image(ball.astype(np.uint8), affine).to_filename(path)
        found = mask_on_grid(path, np.eye(4), Grid(np.eye(4), (40, 40, 40)))
        ratios.append((found.sum(), ball.sum() * 1.6 * 1.6 * 5))
    found, drawn = np.sum(ratios, axis=0)
    assert found == pytest.approx(drawn, rel=0.12)


def test_lesions_beside_the_head_or_the_brain_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_label-lesion_mask.nii.gz"
    acquired = volume(T1w=image(80))
    tissue, away = {"T1w": np.where(WHITE, 3, 2).astype(np.uint8)}, np.eye(4)
    away[0, 3] = 500
    nib.Nifti1Image(LESION.astype(np.uint8), away).to_filename(path)
    with refused("elsewhere"):
        lesions_session({path: None}, acquired, {}, tissue)
    nib.Nifti1Image(LESION.astype(np.uint8), np.eye(4)).to_filename(path)
    lesions_session({path: None}, acquired, {}, tissue)
    with refused("elsewhere"):
        lesions_session({path: None}, replace(acquired, mask=~ndimage.binary_dilation(LESION)), {}, tissue)


def test_a_file_that_is_no_mask_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sub-01_label-lesion_mask.nii.gz"
    path.write_bytes(b"no image")
    with refused("damaged-file"):
        lesions_session({path: None}, volume(T1w=image(80)), {}, {"T1w": WHITE.astype(np.uint8)})
