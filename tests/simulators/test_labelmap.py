"""Heads from label maps: one anatomy in every contrast, tissues as bright as asked, replayable from the record."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.grid import Grid, apply_affine
from bids_lfenhance.imaging.signal import HF_TESLA, tissue_signal
from bids_lfenhance.simulators import get_simulator, labelmap
from bids_lfenhance.simulators.labelmap import (
    LabelMap,
    label_classes,
    load_labels,
    read_labels,
    synthesise,
)
from bids_lfenhance.simulators.presets import get_preset
from bids_lfenhance.simulators.session import simulate_session
from tests.oracle import phantom_head

TURNED = np.array([[-1.0, 0, 0, 36], [0, 0, 1, -36], [0, -1, 0, 36], [0, 0, 0, 1]])
"""Voxels of the map run left, down, forwards, as FreeSurfer stores them."""


@pytest.fixture(scope="module")
def numbers() -> np.ndarray:
    """FreeSurfer's numbers on the oracle's shells, with a thalamus and a scalp, in FreeSurfer's orientation."""
    _, _, tissue = phantom_head(72, np.random.default_rng(3))
    numbers = np.array([24, 3, 2])[tissue.argmax(axis=0)] * (tissue.sum(axis=0) > 0.5)
    distance = np.linalg.norm(np.indices(numbers.shape) - 35.5, axis=0)
    numbers[(distance < 12) & (numbers == 2)] = 10
    numbers[(numbers == 0) & (distance < 35)] = 511
    return numbers[::-1, :, :].transpose(0, 2, 1)[:, ::-1, :].astype(np.float32)


@pytest.fixture(scope="module")
def labels(numbers: np.ndarray) -> LabelMap:
    """The map made ready; its place in the template, which takes a registration, is put at the origin."""
    patch = pytest.MonkeyPatch()
    patch.setattr(labelmap, "load_head_template", lambda: None)
    patch.setattr(labelmap, "fit_affine", lambda image, grid, template: (np.eye(4), 1.0))
    ready = read_labels(numbers, Grid(TURNED, numbers.shape))
    patch.undo()
    return ready


def test_every_contrast_shows_the_same_anatomy_in_the_protocols_intensities(labels):
    contrasts = ("T1w", "T2w", "FLAIR")
    heads = synthesise(labels, contrasts, 5)
    for head, contrast in zip(heads, contrasts, strict=True):
        assert head.image.shape == labels.grid.shape == head.mask.shape
        assert head.image.dtype == np.float32
        assert head.image.min() >= 0
        np.testing.assert_allclose(head.tissue_means(), tissue_signal(contrast, HF_TESLA), rtol=0.25)
        assert head.tissue is heads[0].tissue
    total = heads[0].tissue.sum(axis=0)
    assert total.max() < 1 + 1e-5
    assert (total > 0.5)[heads[0].mask].mean() > 0.99
    assert min((heads[0].tissue > 0.9).sum(axis=(1, 2, 3))) > 500


def test_deep_grey_lies_between_grey_and_white(labels):
    head = synthesise(labels, ("T1w",), 5)[0]
    deep = (np.abs(head.tissue[1] - 0.5) < 0.01) & (np.abs(head.tissue[2] - 0.5) < 0.01)
    _, grey, white = head.tissue_means()
    assert grey * 1.05 < np.median(head.image[deep]) < white * 0.95


def test_the_same_seed_gives_the_same_bytes_and_another_another_head(labels):
    first, again = (synthesise(labels, ("T1w", "T2w"), 5)[1] for _ in range(2))
    assert first.image.tobytes() == again.image.tobytes()
    alone = synthesise(labels, ("T2w",), 5)[0]
    assert alone.image.tobytes() == first.image.tobytes(), "a contrast does not depend on the others"
    other = synthesise(labels, ("T2w",), 6)[0]
    overlap = 2 * (other.mask & first.mask).sum() / (other.mask.sum() + first.mask.sum())
    assert 0.6 < overlap < 0.99, "another shape of the same brain"


def test_place_follows_the_affine_part_of_the_deformation(labels, monkeypatch):
    """The label map lies at the template's origin here; without the smooth steps the head's centre must come back."""
    monkeypatch.setattr(labelmap, "WARP", ())
    middle = []
    for seed in (1, 2):
        head = synthesise(labels, ("T1w",), seed)[0]
        voxel = np.argwhere(head.tissue[2] > 0.9).mean(axis=0)
        middle.append(120 * apply_affine(head.to_template, voxel[None])[0])
    index = np.argwhere(labels.classes == 3).mean(axis=0)
    for found in middle:
        np.testing.assert_allclose(found, apply_affine(labels.affine, index[None])[0], atol=0.7)


def test_labels_that_are_no_brain_are_refused_by_name():
    with pytest.raises(InputError, match=r"Expected labels of CSF .*found 0, 1, 7"):
        read_labels(np.array([0, 1, 7, 7]).repeat(16).reshape(4, 4, 4), Grid(np.eye(4), (4, 4, 4)))
    with pytest.raises(InputError, match="Expected labels"):
        read_labels(np.zeros((4, 4, 4)), Grid(np.eye(4), (4, 4, 4)))


def test_a_file_that_is_no_label_map_is_refused(tmp_path: Path):
    (tmp_path / "bad.nii.gz").write_text("no image")
    with pytest.raises(InputError, match="Expected a label map"):
        load_labels(str(tmp_path / "bad.nii.gz"))
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3, 2), np.float32), np.eye(4)), tmp_path / "series.nii.gz")
    with pytest.raises(InputError, match="three dimensions"):
        load_labels(str(tmp_path / "series.nii.gz"))


def test_parcellations_count_as_cortex_and_no_label_is_in_two_classes():
    every = [label for kind in label_classes() for label in kind.labels]
    assert len(every) == len(set(every))
    cortex = next(kind for kind in label_classes() if kind.name == "cortex")
    assert {3, 42, 1035, 2001, 11175, 12101} <= cortex.labels


@pytest.mark.real
@pytest.mark.slow
def test_real_label_maps_become_heads_that_can_be_scanned(shared_data: Path):
    """About a minute: the map is registered, a head is drawn, its low field shows three tissues in order."""
    path = shared_data / "synthseg_label_maps" / "training_seg_01.nii.gz"
    heads = synthesise(load_labels(str(path)), ("T1w", "T2w"), int(np.random.default_rng(0).integers(2**63)))
    assert 1000 < heads[0].mask.sum() / 1000 < 2000
    centre = 120 * apply_affine(heads[0].to_template, np.argwhere(heads[0].mask).mean(axis=0)[None])[0]
    np.testing.assert_allclose(centre, [0, -20, 8], atol=12)
    physics = get_simulator("physics")
    presets = [get_preset(head.contrast, "axi") for head in heads]
    session = simulate_session(physics, heads, presets, physics.settings(), np.random.default_rng(1))
    assert all(stack.data.max() > 10 * stack.sigma for stack, _ in session)


def test_contrasts_have_noise_of_their_own(labels):
    """A network that is shown two contrasts with one noise learns to read it off the other."""
    one, other = synthesise(labels, ("T1w", "T2w"), 5)
    inside = ndimage.binary_erosion(one.tissue[2] > 0.99, iterations=2)
    fine = [(head.image - ndimage.uniform_filter(head.image, 3))[inside] for head in (one, other)]
    assert abs(np.corrcoef(*fine)[0, 1]) < 0.1
