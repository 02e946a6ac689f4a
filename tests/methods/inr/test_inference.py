from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.field_of_view import seen_in
from bids_lfenhance.imaging.fusion import fuse_session
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.methods.inr.settings import BUDGETS, InrSettings
from bids_lfenhance.nn.method import Enhanced

from ...refusals import refused
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


def test_from_scratch_beats_cubic_and_needs_the_slice_profile() -> None:
    """One thick noisy stack of the independent scanner; .6 dB over cubic, .3 dB of it from the profile."""
    volume, truth = thick_session(np.random.default_rng(0))
    assert volume.mask is not None
    cubic = psnr(volume.channel("T1w"), truth, volume.mask)
    with_profile = psnr(fit(volume, SCRATCH).image[0], truth, volume.mask)
    without = psnr(fit(volume, replace(SCRATCH, psf=False)).image[0], truth, volume.mask)
    assert with_profile >= cubic + 0.4
    assert with_profile >= without + 0.15


@pytest.mark.parametrize(("base", "gain"), [("mean", 0.1), ("sr", 0.2)])
def test_a_correction_of_the_fused_image_beats_it(base: Any, gain: float) -> None:
    """With a profile of another width than the scanner's, both lose."""
    volume, truth = thick_session(np.random.default_rng(0), ("axi", "cor", "sag"))
    assert volume.mask is not None
    settings = InrSettings(base=base, contrast="none", steps=150, batch=1024, width=32)
    fused = psnr(fuse_session(volume, base)[0], truth, volume.mask)
    assert psnr(fit(volume, settings).image[0], truth, volume.mask) >= fused + gain


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
    ids="-".join,
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


def test_the_width_of_the_wavelets_is_recorded_and_one_that_would_overflow_is_refused(session: Volume) -> None:
    wire = replace(TINY, activation="wire", omega=20.0)
    found = [fit(session, settings) for settings in (TINY, wire, replace(wire, spread=9.0))]
    assert [one.provenance["records"][0]["spread"] for one in found] == pytest.approx([3.0, 20 / 3, 9.0])
    assert not np.array_equal(found[1].image, found[2].image)
    with refused("bad-setting", key="spread"):
        fit(session, replace(wire, spread=5.0))
    with refused("no-effect", key="spread"):
        InrSettings(activation="siren", spread=5.0)


def test_where_no_scan_of_a_contrast_saw_anything_nothing_is_made_up(session: Volume) -> None:
    """The mask is that of T1w, which saw all of it."""
    stacks = tuple(
        replace(stack, data=stack.data[:, : stack.data.shape[1] // 2] if "axi" in stack.name else stack.data[:, :, :4])
        if stack.contrast == "T2w" else stack
        for stack in session.stacks
    )  # fmt: skip
    half = replace(session, stacks=stacks)
    half = replace(half, image=fuse_session(half, "mean"))
    beyond = ~seen_in(half, "T2w")
    result = fit(half, replace(TINY, base="none", steps=60))
    assert not result.image[1][beyond].any()
    assert any("no T2w scan saw" in text for text in result.provenance["warnings"])
    assert not any("no T1w scan saw" in text for text in result.provenance["warnings"])


def test_a_quiet_stack_is_fitted_to_its_own_noise_beside_loud_ones(session: Volume) -> None:
    """The error is a mean over voxels: the loudest stack's noise would end the fit before the others are explained."""
    rng = np.random.default_rng(0)
    loud = [
        replace(stack, name=f"{stack.name}{copy}", data=_with_noise(stack.data, 0.3, rng), sigma=0.3)
        for stack in session.stacks_of("T2w")
        for copy in range(3)
    ]
    quiet = tuple(replace(stack, sigma=0.01) for stack in session.stacks_of("T1w"))
    small = tuple(replace(stack, data=stack.data[::3, ::3]) for stack in loud)
    settings = replace(TINY, base="none", steps=120)
    assert fit(replace(session, stacks=(*quiet, *small)), settings).provenance["records"][0]["steps"] == 120


def _with_noise(data: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    real, imaginary = sigma * rng.normal(size=(2, *data.shape))
    return np.hypot(data + real, imaginary).astype(np.float32)


@pytest.mark.parametrize("contrast", ["auto", "1,0.6,0.5"])
def test_a_contrast_that_cannot_be_restored_is_kept_and_said(session: Volume, contrast: str) -> None:
    assert session.tissue is not None
    csf, gm, wm = session.tissue
    without = replace(session, tissue=np.stack([csf, gm + wm, np.zeros_like(wm)]))
    kept = fit(without, replace(TINY, contrast="none"))
    found = fit(without, replace(TINY, contrast=contrast))
    np.testing.assert_array_equal(found.image, kept.image)
    assert "T1w keeps its low-field contrast: no WM was found" in found.provenance["warnings"]


def test_scans_without_signal_keep_their_contrast_and_a_brain_that_is_none_is_refused(session: Volume) -> None:
    dark = replace(
        session,
        image=np.zeros_like(session.image),
        stacks=tuple(replace(stack, data=np.zeros_like(stack.data)) for stack in session.stacks),
    )
    warnings = fit(dark, TINY).provenance["warnings"]
    assert "T1w keeps its low-field contrast: its white matter has no signal" in warnings
    assert session.mask is not None
    with pytest.raises(InputError, match="Expected a brain"):
        fit(replace(session, mask=np.zeros_like(session.mask)), TINY)
