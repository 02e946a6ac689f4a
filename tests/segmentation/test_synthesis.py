"""Painted images: what is seen, what is asked for and where it lies belong together; one generator, one image."""

import numpy as np
import pytest

from bids_lfenhance.segmentation.regions import channels_of_kinds, indices, mirrored_channels, regions
from bids_lfenhance.segmentation.synthesis import Appearance, paint_patch
from bids_lfenhance.simulators.source import COMMON_MM

from .heads import SIDE, as_kinds, grid_of, head_of_blocks, where_of

SHAPE = (SIDE, SIDE, SIDE)
PLAIN = Appearance("T1w", (), True, deformed=False)


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray]:
    return as_kinds(head_of_blocks()), where_of(grid_of())


def painted(head, seed: int = 0, look: Appearance | None = None, shape=SHAPE) -> dict[str, np.ndarray]:
    return paint_patch(*head, shape, np.random.default_rng(seed), look)


def test_what_is_painted_has_the_shape_and_type_of_a_batch(head):
    item = painted(head, shape=(32, 40, 24))
    assert item["input"].shape == item["target"].shape == (1, 32, 40, 24)
    assert (item["input"].dtype, item["target"].dtype, item["template_coordinates"].dtype) == (
        np.float32,
        np.uint8,
        np.float32,
    )
    assert item["template_coordinates"].shape == (3, 16, 20, 12)
    assert np.isfinite(item["input"]).all()
    assert item["target"].max() < len(indices())


def test_one_generator_one_image(head):
    first, again, other = painted(head, 3), painted(head, 3), painted(head, 4)
    for key in first:
        np.testing.assert_array_equal(first[key], again[key])
    assert not np.array_equal(first["input"], other["input"])


@pytest.mark.parametrize(
    "look", [PLAIN, Appearance("T2w", (2,), True, deformed=False), Appearance("FLAIR", (), False, False)]
)
def test_without_deformation_target_and_place_are_those_of_the_head(head, look):
    item = painted(head, look=look)
    found, truth = indices()[item["target"][0]], indices()[channels_of_kinds()[head[0]]]
    far_csf = (truth == 24) & (found == 0) if look.stripped else np.zeros(SHAPE, bool)
    np.testing.assert_array_equal(found[~far_csf], truth[~far_csf])
    np.testing.assert_allclose(item["template_coordinates"], head[1][0], atol=1e-6)


def test_the_brain_is_about_one_with_skull_or_without(head):
    for stripped in (True, False):
        item = painted(head, look=Appearance("T1w", (), stripped, deformed=False))
        assert item["input"][item["target"] > 0].mean() == pytest.approx(1, abs=0.1)


def test_a_t1w_has_dark_csf_and_bright_white_matter(head):
    item = painted(head, look=PLAIN)
    target, image = item["target"][0], item["input"][0]
    assert set(np.unique(target)) == set(range(1 + len(regions())))
    seen = {region.name: image[target == channel].mean() for channel, region in enumerate(regions(), start=1)}
    assert seen["left lateral ventricle"] < seen["left cerebral cortex"] < seen["left cerebral white matter"]


def test_sides_keep_their_names_whether_mirrored_or_not(head):
    """Left lies left of the middle in common space in every draw; both ways of seeing the head are drawn."""
    right = np.array([False, *(region.name.startswith("right") for region in regions())])
    left = np.array([False, *(region.name.startswith("left") for region in regions())])
    for seed in range(12):
        item = painted(head, seed)
        x = item["template_coordinates"][0] * COMMON_MM
        target = item["target"][0, ::2, ::2, ::2]
        side = x[right[target]].mean() - x[left[target]].mean()
        assert side > 8, f"the sides of draw {seed} changed places"
        assert np.diff(x, axis=0).mean() > 0, "a voxel grid is RAS, whatever the head does in it"


def test_what_lies_where_is_painted_there(head):
    """Each region of a deformed head lies where the warp says, but for the error that a registration makes."""
    kinds, where = head
    truth = channels_of_kinds()[kinds][::2, ::2, ::2]
    for seed in range(4):
        item = painted(head, seed)
        target = item["target"][0, ::2, ::2, ::2]
        for channel in np.unique(target)[1:]:
            if (target == channel).sum() < 100:
                continue
            middle = item["template_coordinates"][:, target == channel].mean(axis=1)
            expected = where[0][:, truth == channel].mean(axis=1)
            assert np.abs(middle - expected).max() * COMMON_MM < 8


def test_a_warp_is_chosen_or_drawn(head):
    kinds, where = head
    both = np.concatenate([where, where + 1])
    for number in (0, 1):
        item = paint_patch(
            kinds, both, SHAPE, np.random.default_rng(0), Appearance("T1w", (), True, False, warp=number)
        )
        np.testing.assert_allclose(item["template_coordinates"], both[number], atol=1e-6)
    drawn = {
        round(float(paint_patch(kinds, both, SHAPE, np.random.default_rng(n))["template_coordinates"].mean()))
        for n in range(8)
    }
    assert drawn == {0, 1}


def test_the_mirror_of_a_target_is_a_target():
    labels = head_of_blocks()
    mirrored = mirrored_channels()[channels_of_kinds()[as_kinds(labels)]][::-1]
    np.testing.assert_array_equal(mirrored, channels_of_kinds()[as_kinds(labels)], "the head of blocks is symmetric")
