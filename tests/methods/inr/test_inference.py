from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.inr.settings import BUDGETS, InrSettings
from bids_lfenhance.nn.method import Enhanced

from ..phantoms import psnr, small_session, thick_session

TINY = InrSettings(**{**BUDGETS["sloppy"], "steps": 8})
SCRATCH = InrSettings(
    base="none", contrast="none", seg=0.0, tv=0.2, width=96, steps=300, batch=192, psf_points=8, rate=5e-3
)


def fit(volume: Volume, settings: InrSettings, draws: int = 1, seed: int = 0) -> Enhanced:
    return enhance(volume, get_method("inr"), settings, np.random.default_rng(seed), draws)


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(11))


def test_from_scratch_beats_cubic_and_needs_the_slice_profile(rng: np.random.Generator) -> None:
    """One thick noisy stack; ≥ 1 dB over cubic, ≥ 0.5 dB of it from the profile."""
    volume, truth = thick_session(rng)
    assert volume.mask is not None
    cubic = psnr(volume.channel("T1w"), truth, volume.mask)
    with_profile = psnr(fit(volume, SCRATCH).image[0], truth, volume.mask)
    without = psnr(fit(volume, replace(SCRATCH, psf=False)).image[0], truth, volume.mask)
    assert with_profile >= cubic + 1.0
    assert with_profile >= without + 0.5


def test_a_correction_of_the_mean_beats_the_mean(rng: np.random.Generator) -> None:
    volume, truth = thick_session(rng)
    assert volume.mask is not None
    settings = replace(SCRATCH, base="mean", steps=250)
    gain = psnr(fit(volume, settings).image[0], truth, volume.mask) - psnr(volume.image[0], truth, volume.mask)
    assert gain >= 0.3


def test_far_outside_the_mask_the_fused_image_stands(session: Volume) -> None:
    assert session.mask is not None
    far = ~ndimage.binary_dilation(session.mask, iterations=4)
    image = fit(session, TINY).image
    np.testing.assert_array_equal(image[:, far], session.image[:, far])
    assert not np.array_equal(image[:, session.mask], session.image[:, session.mask])


@pytest.mark.parametrize("activation", ["gabor", "wire", "siren", "ff"])
def test_every_activation_fits(session: Volume, activation: str) -> None:
    record = fit(session, replace(TINY, activation=activation, base="none", steps=150, rate=1e-2)).provenance[
        "records"
    ][0]
    assert record["mae_end"] < 0.8 * record["mae_start"]


@pytest.mark.parametrize(
    "change",
    [
        {"psf": False}, {"seg": 0.0}, {"tv": 0.0}, {"contrast": "none"}, {"contrast": "1,0.5,0.4"}, {"omega": 3.0},
        {"restore": 0.0}, {"base": "sr"}, {"spread": 1.0},
    ],
    ids=lambda change: str(*change),
)  # fmt: skip
def test_every_option_changes_the_result(session: Volume, change: dict) -> None:
    assert not np.array_equal(fit(session, replace(TINY, **change)).image, fit(session, TINY).image)


def test_no_change_of_contrast_where_none_is_asked_for(session: Volume) -> None:
    kept, flat = (fit(session, replace(TINY, **change)) for change in ({"contrast": "none"}, {"restore": 0.0}))
    np.testing.assert_allclose(kept.image, flat.image, rtol=1e-5)
    assert kept.provenance["records"][0]["contrast_vector"] == {"T1w": [1.0, 1.0, 1.0], "T2w": [1.0, 1.0, 1.0]}


def test_grey_white_contrast_grows_towards_the_protocol(session: Volume) -> None:
    tissue = session.tissue
    assert tissue is not None

    def ratio(image: np.ndarray) -> float:
        return float(image[0][tissue[1] > 0.95].mean() / image[0][tissue[2] > 0.95].mean())

    before, after = (ratio(fit(session, replace(TINY, contrast=kind)).image) for kind in ("none", "auto"))
    # Low field 0.80, protocol 0.625.
    assert 0.625 - 0.05 < after < before - 0.05


def test_without_tissue_the_contrast_is_kept_and_said(session: Volume) -> None:
    result = fit(replace(session, tissue=None, mask=None), TINY)
    assert any("contrast was kept" in text for text in result.provenance["warnings"])


def test_a_fit_that_diverges_is_begun_again_lower_then_given_up(session: Volume) -> None:
    with pytest.raises(MethodError, match="inr diverged 3 times, last at omega 2"):
        fit(session, replace(TINY, rate=1e3, omega=8.0))


def test_an_image_without_its_stacks_is_refused(session: Volume) -> None:
    with pytest.raises(InputError, match="found none for T2w"):
        fit(replace(session, stacks=session.stacks_of("T1w")), TINY)


def test_a_contrast_that_does_not_reach_the_brain_is_refused(session: Volume) -> None:
    away = np.eye(4)
    away[:3, 3] = 1000
    stacks = tuple(
        replace(stack, affine=away @ stack.affine) if stack.contrast == "T2w" else stack for stack in session.stacks
    )
    with pytest.raises(InputError, match="none of T2w"):
        fit(replace(session, stacks=stacks), TINY)


def test_a_wrong_noise_level_is_flagged(session: Volume) -> None:
    loud = tuple(replace(stack, sigma=stack.sigma / 5) for stack in session.stacks)
    warnings = fit(replace(session, stacks=loud), TINY).provenance["warnings"]
    assert any("acq-axi_T1w: reduced χ²" in text and "more than noise" in text for text in warnings)
