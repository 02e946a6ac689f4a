"""Tissue signals by field strength."""

import pytest

from bids_lfenhance.imaging.signal import HF_TESLA, LF_TESLA, bloch_signal, contrast_factor, tissue_signal


@pytest.mark.parametrize("tesla", [LF_TESLA, HF_TESLA])
def test_signal_equations_order_the_tissues_as_every_atlas_does(tesla):
    csf, gm, wm = bloch_signal("T1w", tesla)
    assert wm > gm > csf
    csf, gm, wm = bloch_signal("T2w", tesla)
    assert csf > gm > wm
    csf, gm, wm = bloch_signal("FLAIR", tesla)
    assert gm > wm > csf


def test_contrast_factor_carries_high_field_means_to_low_field_means():
    for contrast in ("T1w", "T2w", "FLAIR"):
        low = contrast_factor(contrast) * tissue_signal(contrast, HF_TESLA)
        assert low / low.max() == pytest.approx(tissue_signal(contrast, LF_TESLA))
