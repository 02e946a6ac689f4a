"""What simulators start from: brains are accepted, everything else is refused in a sentence."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.anatomy import Anatomy
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.warp import Warp
from bids_lfenhance.simulators import source as module
from bids_lfenhance.simulators.source import HighField, check_brain, check_contrast, common_place, high_field_source
from tests.simulators.sources import phantom_source

GOOD = {"MaskVolumeMl": 1400.0, "TemplateCorrelation": 0.8, "SkullStripped": False, "Warnings": []}


def found(source: HighField, quality: dict, affine: np.ndarray | None = None) -> Anatomy:
    warp = Warp(np.eye(4) if affine is None else affine, np.zeros((3, 2, 2, 2), np.float32), source.grid)
    return Anatomy(source.mask, source.tissue, quality, warp, np.zeros((0, 3)))


def test_common_space_is_the_templates_in_units_of_120_mm():
    """A template twice as small and 10 mm to the left of the subject: subject mm 70 lies at template mm 30 + 10."""
    to_subject = np.diag([2.0, 2.0, 2.0, 1.0])
    to_subject[0, 3] = -10
    grid = Grid(np.diag([1.0, 1.0, 1.0, 1.0]), (8, 8, 8))
    place = common_place(to_subject, grid)
    np.testing.assert_allclose(120 * apply_affine(place, np.array([[70.0, 4, 6]])), [[40, 2, 3]])


def test_anatomy_is_found_once_and_shared_by_the_other_contrasts(monkeypatch):
    t1w, t2w = phantom_source("T1w"), phantom_source("T2w")
    calls = []

    def find(image, grid, contrast, *, effort):
        calls.append(contrast)
        return found(t1w, GOOD)

    monkeypatch.setattr(module, "find_anatomy", find)
    first = high_field_source(t1w.image, t1w.grid, "T1w")
    second = high_field_source(t2w.image, t1w.grid, "T2w", like=first)
    assert calls == ["T1w"]
    assert second.tissue is first.tissue
    np.testing.assert_allclose(first.to_template, common_place(np.eye(4), t1w.grid))
    other = Grid(np.array(t1w.grid.affine) + np.eye(4)[:, [3]] @ [[0, 0, 0, 1]], t1w.grid.shape)
    with pytest.raises(InputError, match="resample it"):
        high_field_source(t2w.image, Grid(np.diag([2.0, 2, 2, 1]), other.shape), "T2w", like=first)


@pytest.mark.parametrize("quality", [GOOD | {"MaskVolumeMl": 120.0}, GOOD | {"TemplateCorrelation": 0.2}])
def test_what_is_no_brain_is_refused(quality):
    check_brain(found(phantom_source(), GOOD), "this")
    with pytest.raises(InputError, match="Expected a brain"):
        check_brain(found(phantom_source(), quality), "this")


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan])
def test_an_image_without_content_is_refused(value):
    with pytest.raises(InputError, match="one value everywhere"):
        high_field_source(np.full((16, 16, 16), value), Grid(np.eye(4), (16, 16, 16)), "T1w")


def test_tissues_in_the_order_of_another_contrast_are_refused():
    for contrast in ("T1w", "T2w", "FLAIR"):
        source = phantom_source(contrast)
        check_contrast(source, "scan")
        for said in {"T1w", "T2w", "FLAIR"} - {contrast}:
            with pytest.raises(InputError, match=f"in a {said}, found .* in scan"):
                check_contrast(dataclasses.replace(source, contrast=said), "scan")


@pytest.mark.real
@pytest.mark.slow
def test_a_real_brain_is_accepted_and_a_ball_of_noise_is_not(shared_data: Path):
    """A minute: two searches for a brain."""
    from bids_lfenhance.imaging.headers import open_scan
    from bids_lfenhance.imaging.preprocess import prepare_reference

    image = open_scan(shared_data / "heads" / "otsu_T1_head.nii.gz")[0]
    volume, _, _ = prepare_reference([("head", "T1w", image)])
    source = high_field_source(volume.channel("T1w"), volume.grid, "T1w")
    assert 900 < source.mask.sum() / 1000 < 1900
    with pytest.raises(InputError, match="in a T2w"):
        high_field_source(volume.channel("T1w"), volume.grid, "T2w", like=source)
    noise = np.random.default_rng(0).random(volume.grid.shape, np.float32)
    distance = np.linalg.norm(
        np.indices(noise.shape, np.float32) - np.array(noise.shape)[:, None, None, None] / 2, axis=0
    )
    with pytest.raises(InputError, match="Expected"):
        high_field_source(noise * (distance < 60), volume.grid, "T1w", sloppy=True)
