import numpy as np
import pytest

from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.methods.interp.method import sample
from bids_lfenhance.methods.interp.settings import InterpSettings
from bids_lfenhance.nn.method import Prepared

from ..phantoms import psnr, small_session, thick_session


def test_mean_is_the_plain_mean(rng: np.random.Generator) -> None:
    session = small_session(rng)
    draw = sample(Prepared(session, InterpSettings("mean")), rng)
    np.testing.assert_array_equal(draw.image[1], fuse_mean(session.stacks_of("T2w"), session.grid))


def test_super_resolution_beats_the_plain_mean(rng: np.random.Generator) -> None:
    session, truth = thick_session(rng, ("axi", "cor", "sag"))
    mean, sharp = (sample(Prepared(session, InterpSettings(kind)), rng).image[0] for kind in ("mean", "sr"))
    assert session.mask is not None
    assert psnr(sharp, truth, session.mask) > psnr(mean, truth, session.mask) + 0.3


@pytest.mark.parametrize("fusion", ["mean", "sr"])
def test_an_image_without_stacks_passes_through(rng: np.random.Generator, fusion: str) -> None:
    session = small_session(rng)
    bare = type(session)(session.grid, session.image, session.present)
    np.testing.assert_array_equal(sample(Prepared(bare, InterpSettings(fusion)), rng).image, session.image)  # type: ignore[arg-type]
