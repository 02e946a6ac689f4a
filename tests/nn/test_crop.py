import numpy as np
import pytest

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.nn.crop import MARGIN, BrainCrop


@pytest.fixture
def session() -> Volume:
    image = np.zeros((3, 40, 42, 44), np.float32)
    image[:2] = np.random.default_rng(0).uniform(50, 100, (2, 40, 42, 44))
    mask = np.zeros(image.shape[1:], bool)
    mask[3:30, 12:31, 14:30] = True
    return Volume(Grid(np.diag([1.0, 1, 1, 1]), mask.shape), image, np.array([True, True, False]), (), mask)


def test_the_brain_with_its_margin_on_the_same_voxels_of_the_world(session: Volume) -> None:
    cut = BrainCrop.of(session, ("T1w",))
    assert cut.box == (slice(0, 30 + MARGIN), slice(12 - MARGIN, 31 + MARGIN), slice(14 - MARGIN, 30 + MARGIN))
    np.testing.assert_array_equal(cut.grid.affine[:3, 3], [0, 4, 6])
    assert cut.known.tolist() == [True, False, False]
    scaled = cut.scale.apply(cut.image, cut.mask)
    assert not scaled[:, ~cut.mask].any()
    assert np.percentile(scaled[0][cut.mask], 99.9) == pytest.approx(1)


def test_what_is_pasted_is_the_known_contrast_inside_the_mask(session: Volume) -> None:
    cut = BrainCrop.of(session, ("T1w",))
    np.testing.assert_allclose(cut.paste(cut.scale.apply(cut.image, cut.mask)), session.image, rtol=1e-6)
    out = cut.paste(np.zeros_like(cut.image))
    assert not out[0][session.brain].any()
    np.testing.assert_array_equal(out[0][~session.brain], session.image[0][~session.brain])
    np.testing.assert_array_equal(out[1:], session.image[1:])


def test_what_is_not_as_in_training_is_said(session: Volume) -> None:
    assert BrainCrop.of(session, ("T1w", "T2w")).warnings(("T1w", "T2w")) == []
    coarse = Volume(Grid(np.diag([2.0, 2, 2, 1]), session.grid.shape), session.image, session.present)
    first, second, third = BrainCrop.of(coarse, ("T1w",)).warnings(("T1w",))
    assert first.startswith("T2w was not enhanced")
    assert "1 mm" in second
    assert "without a brain mask" in third
