"""From an image to its regions: a round trip with a network that knows the answer, mirrors, islands, holes, scales."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import volume_from_channels
from bids_lfenhance.nn.weights import save_weights
from bids_lfenhance.segmentation import segment as module
from bids_lfenhance.segmentation.method import TRAINABLE
from bids_lfenhance.segmentation.regions import indices, mirrored_channels, regions
from bids_lfenhance.segmentation.segment import (
    BRIGHTEST,
    _seen,
    keep_largest_components,
    predictor,
    segment,
    segment_volume,
    volume_rows,
)
from bids_lfenhance.segmentation.volumes import TOTAL

from .heads import STRAIGHT, as_channels, grid_of, head_of_blocks, seer, where_of

LABELS = head_of_blocks()
GRID = grid_of()
IMAGE = np.where(LABELS > 0, 3.0, 0.0).astype(np.float32)
MASK = LABELS > 0


def found(image=IMAGE, grid=GRID, mask=MASK, **changes):
    return segment([image], grid, mask, STRAIGHT, changes.pop("predict", seer(LABELS, GRID)), **changes)


@pytest.mark.parametrize("flip", [True, False])
def test_the_answer_comes_back_where_it_belongs(flip):
    result = found(flip=flip)
    np.testing.assert_array_equal(result.labels, LABELS)
    np.testing.assert_allclose(result.posteriors.sum(axis=0, dtype=np.float64), 1, atol=2e-3)
    np.testing.assert_allclose(result.confidence[1:], 0.9, atol=1e-3)
    assert result.confidence[0] == pytest.approx(1 - 0.1 / 32, abs=1e-3), "that a region is of any"
    assert result.posteriors.dtype == np.float16


def test_a_head_at_the_edge_of_a_small_image_is_seen_whole():
    box = tuple(slice(n.start, n.stop) for n in ndimage.find_objects(MASK.astype(int))[0])
    shift = np.eye(4)
    shift[:3, 3] = [one.start for one in box]
    labels = LABELS[box]
    grid = Grid(GRID.affine @ shift, labels.shape)
    result = found(IMAGE[box], grid, MASK[box])
    np.testing.assert_array_equal(result.labels, labels)


def test_left_and_right_never_change_places():
    """The image of a head in a mirror has the mirror image of its regions, their sides renamed, to the last bit."""
    rng = np.random.default_rng(0)
    image = (IMAGE * rng.uniform(0.5, 1.5, IMAGE.shape)).astype(np.float32)
    labels = LABELS.copy()
    labels[2:9, 20:30, 20:30] = 3  # one side has more
    predict = seer(labels, GRID)
    mirror = mirrored_channels()
    there = found(image, mask=labels > 0, predict=predict)

    here = found(image[::-1], mask=(labels > 0)[::-1], predict=predict)  # the grid is its own mirror image
    renamed = dict(zip(indices().tolist(), indices()[mirror].tolist(), strict=True))
    expected = np.vectorize(renamed.get)(there.labels[::-1])
    np.testing.assert_array_equal(here.labels, expected)


def test_the_mirror_is_averaged_in():
    """A network that always says left says left and right alike once it has looked in the mirror."""

    def always_left(image, where):
        posteriors = np.zeros((33, *image.shape), np.float32)
        posteriors[indices().tolist().index(3)] = 1
        return posteriors

    result = found(predict=always_left)
    left, right = (result.posteriors[indices().tolist().index(n)] for n in (3, 42))
    assert (left == 0.5).all()
    assert (right == 0.5).all()


def test_the_network_sees_the_brain_at_one_whatever_the_units():
    seen = []

    def watch(image, where):
        seen.append(image)
        return seer(LABELS, GRID)(image, where)

    skull = IMAGE.copy()
    skull[2:4] = 5000.0
    skull[0, 0] = -3.0
    skull[1, 1, 1] = np.nan
    for image in (skull, 100 * skull):
        found(image, predict=watch, flip=False)
    inside = seen[0] > 0
    assert seen[0][inside].min() == pytest.approx(1)
    assert seen[0].max() == BRIGHTEST
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-6)
    assert all(side % 2 == 0 for side in seen[0].shape)


def test_coarse_grids_are_seen_at_one_millimetre():
    coarse = Grid(GRID.affine @ np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]]), (24, 24, 24))
    image = IMAGE.reshape(24, 2, 24, 2, 24, 2).mean(axis=(1, 3, 5))
    result = found(image, coarse, image > 0)
    assert result.labels.shape == (24, 24, 24)
    inner = ndimage.minimum_filter(LABELS, 3) == ndimage.maximum_filter(LABELS, 3)
    sure = inner.reshape(24, 2, 24, 2, 24, 2).all(axis=(1, 3, 5)) & (image > 0)
    np.testing.assert_array_equal(result.labels[sure], LABELS[::2, ::2, ::2][sure])


def posteriors_of(labels: np.ndarray, second: np.ndarray) -> np.ndarray:
    """0.7 for the labels, 0.2 for the second choice, the rest for everything else."""
    scores = np.full((33, *labels.shape), 0.1 / 31, np.float32)
    np.put_along_axis(scores, as_channels(second)[None].astype(np.intp), 0.2, axis=0)
    np.put_along_axis(scores, as_channels(labels)[None].astype(np.intp), 0.7, axis=0)
    return (scores / scores.sum(axis=0)).astype(np.float16)


def test_islands_go_to_the_next_likely_region_and_holes_are_filled():
    wrong = LABELS.copy()
    wrong[30:32, 8:10, 8:10] = 17  # left hippocampus deep in a region of the right side
    wrong[10, 20, 20] = 0  # a hole
    wrong[0, 0, 0] = 53  # and a speck of the right one in the air
    scores = posteriors_of(wrong, LABELS)
    np.testing.assert_array_equal(indices()[keep_largest_components(scores)], LABELS)
    np.testing.assert_allclose(scores.sum(axis=0, dtype=np.float64), 1, atol=5e-3)


def test_noise_becomes_one_piece_of_each_but_the_csf():
    rng = np.random.default_rng(1)
    scores = rng.dirichlet(np.ones(33), (20, 20, 20)).transpose(3, 0, 1, 2).astype(np.float16)
    channels = keep_largest_components(scores)
    for channel in np.unique(channels):
        if indices()[channel] not in (0, 24):
            assert ndimage.label(channels == channel, np.ones((3, 3, 3)))[1] == 1


def test_pieces_of_csf_stay():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:4], labels[10:12] = 24, 24
    np.testing.assert_array_equal(
        indices()[keep_largest_components(posteriors_of(labels, np.zeros_like(labels)))], labels
    )


def test_the_table_counts_voxels_and_sums_posteriors():
    result = found()
    rows = {row["name"]: row for row in volume_rows(result)}
    assert len(rows) == 33
    for channel, region in enumerate(regions(), start=1):
        row = rows[region.name]
        assert row["volume_mm3"] == (region.index == LABELS).sum()
        assert row["volume_soft_mm3"] == pytest.approx(float(result.posteriors[channel].sum(dtype=np.float64)))
        spread = result.posteriors[channel].astype(np.float64)
        assert row["uncertain_mm3"] == pytest.approx(float((spread * (1 - spread)).sum()), rel=1e-3, abs=1e-3)
    assert rows[TOTAL]["index"] is None
    assert rows[TOTAL]["volume_mm3"] == (LABELS > 0).sum()
    assert rows[TOTAL]["volume_soft_mm3"] == pytest.approx(sum(rows[r.name]["volume_soft_mm3"] for r in regions()))


def test_nothing_found_is_a_table_without_confidence():
    def nothing(image, where):
        return np.concatenate([np.ones((1, *image.shape)), np.zeros((32, *image.shape))]).astype(np.float32)

    result = found(predict=nothing)
    assert not result.labels.any()
    rows = volume_rows(result)
    assert sum(row["volume_mm3"] for row in rows) == 0
    assert all(np.isnan(row["confidence"]) for row in rows)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """A network as small as it can be, that nobody trained."""
    settings = replace(TRAINABLE.about.settings(), width=2, levels=2)
    torch.manual_seed(0)
    assert TRAINABLE is not None
    about = {"method": "regions", "contrasts": ["T1w"], "settings": asdict(settings)}
    return save_weights(tmp_path_factory.mktemp("weights"), TRAINABLE.build(settings), about, "drawn")


def test_weights_from_disk_segment_every_contrast_alike(weights):
    torch.set_num_threads(1)
    volume = volume_from_channels(GRID, {"T1w": IMAGE, "FLAIR": 2 * IMAGE})
    labels, rows = segment_volume(volume, MASK, np.eye(4), predictor(str(weights)))
    assert set(labels) == set(rows) == {"T1w", "FLAIR"}
    np.testing.assert_array_equal(labels["T1w"], labels["FLAIR"])
    assert labels["T1w"].dtype == np.uint8
    assert set(np.unique(labels["T1w"])) <= set(indices().tolist())


def test_images_are_segmented_together_by_the_mean_of_their_posteriors():
    """One shows the labels two voxels further on; where both differ, the surer one decides."""
    sure, unsure = seer(LABELS, GRID, 0.9), seer(np.roll(LABELS, 2, axis=2), GRID, 0.6)

    def together(*predictors):
        answers = iter(predictors)

        def predict(image, where):
            return next(answers)(image, where)

        return segment([IMAGE] * len(predictors), GRID, MASK, STRAIGHT, predict, flip=False).labels

    np.testing.assert_array_equal(together(unsure, sure), LABELS)
    np.testing.assert_array_equal(together(unsure, sure), together(sure, unsure))
    assert (together(unsure) != LABELS).any()


def test_a_real_network_treats_both_sides_alike(weights):
    predict = predictor(str(weights))
    image = (IMAGE * np.random.default_rng(3).uniform(0.5, 1.5, IMAGE.shape)).astype(np.float32)
    there = _seen(image, where_of(GRID)[0], predict, flip=True)
    here = _seen(image[::-1], where_of(GRID)[0], predict, flip=True)
    swapped = here[mirrored_channels()][:, ::-1].astype(np.float32)
    np.testing.assert_allclose(swapped, there.astype(np.float32), atol=2e-3)


def test_weights_of_another_method_are_refused(tmp_path):
    save_weights(tmp_path, {}, {"method": "pfsr", "contrasts": ["T1w"], "settings": {}}, "")
    with pytest.raises(InputError, match="Expected weights of regions"):
        predictor(str(tmp_path))


LABELS, GRID = head_of_blocks(), grid_of()


IMAGE = np.where(LABELS > 0, 3.0, 0.0).astype(np.float32)


def test_the_grid_of_1_mm_shows_what_the_coarse_one_does():
    """Face to face: half a coarse voxel to the side, every border of a --sloppy run would be."""
    coarse = Grid(np.array([[-2.0, 0, 0, 9], [0, 0, 2, -5], [0, 2, 0, 3], [0, 0, 0, 1]]), (20, 24, 18))
    fine = module._at_one_mm(coarse)
    assert fine.zooms == pytest.approx((1, 1, 1))
    np.testing.assert_allclose(fine.corners(), coarse.corners())


def test_the_warp_is_fitted_to_the_contrast_that_the_brain_was_found_in(monkeypatch):
    volume, seen = volume_from_channels(GRID, {"T1w": IMAGE, "T2w": 2 * IMAGE}), []
    monkeypatch.setattr(module, "warp_to_template", lambda image, *_, **__: seen.append(image.max()) or STRAIGHT)
    for by in ("T2w", "FLAIR", None):
        module.segment_volume(volume, LABELS > 0, np.eye(4), seer(LABELS, GRID), by=by, sloppy=True)
    assert seen == [6, 3, 3]  # the first where it was found in high field's
