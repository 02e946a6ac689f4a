"""A stack whose header exchanges left and right is told from a sound one, a symmetric head from neither."""

import numpy as np
import pytest

from bids_lfenhance.imaging.bias import head_mask
from bids_lfenhance.imaging.left_right import align_and_mirror
from bids_lfenhance.imaging.registration import RegistrationImage, make_registration_image
from tests import oracle

FLIP = np.diag([-1.0, 1, 1, 1])


@pytest.fixture(scope="module")
def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return oracle.phantom_head(110, np.random.default_rng(3))


def prepared(head, plane: str, mirror: bool = False) -> RegistrationImage:
    image, affine, tissue = head
    rng = np.random.default_rng(ord(plane[0]))
    motion = oracle.random_rigid(rng, 2, 3, np.zeros(3))
    stack = oracle.acquire_stack(image, affine, tissue, "T1w", plane=plane, rng=rng, motion=motion, snr=10, order=1)
    placed = FLIP @ stack.native_affine if mirror else stack.native_affine
    return make_registration_image(stack.data, placed, head_mask(stack.data, placed))


@pytest.mark.parametrize("plane", ["cor", "sag"])
@pytest.mark.parametrize("mirror", [False, True])
def test_the_mirrored_stack_is_told(head, plane, mirror):
    assert align_and_mirror(prepared(head, plane, mirror), prepared(head, "axi")).mirrored is mirror


def test_of_a_symmetric_head_nothing_is_said(head):
    image, affine, tissue = head
    twice = image + image[::-1], affine, tissue + tissue[:, ::-1]
    assert not align_and_mirror(prepared(twice, "sag", mirror=True), prepared(twice, "axi")).mirrored
