"""Our sidecars against those that were published."""

import json
from pathlib import Path

import pytest

from bids_lfenhance.bids.field_strength import read_field_strength
from bids_lfenhance.simulators.presets import get_preset, named_preset, preset_names
from bids_lfenhance.simulators.protocol import (
    LOW_FIELD,
    Protocol,
    high_field_sidecar,
    low_field_sidecar,
    simulated_sidecar,
)

OURS_ALONE = {"InstitutionName", "DeviceSerialNumber", "SoftwareVersions", "SeriesDescription", "ProtocolName"}
OURS_ALONE |= {"PulseSequenceName", "ImageType", "ConversionSoftware", "ReconMatrixPE", "PhaseEncodingSteps"}
OURS_ALONE |= {"FrequencyEncodingSteps", "AcquisitionTime"}


def differences(ours: dict, published: Path) -> dict:
    """Key → (ours, published) of all that should agree and does not."""
    theirs = json.loads(published.read_text(encoding="utf-8"))
    compared = ours.keys() - OURS_ALONE
    return {key: (ours[key], theirs.get(key)) for key in compared if ours[key] != theirs.get(key)}


@pytest.mark.real
@pytest.mark.parametrize("scan", LOW_FIELD, ids=lambda scan: scan.name)
def test_low_field_sidecar_agrees_with_the_published_one(scan: Protocol, shared_data: Path) -> None:
    anat = shared_data / "ds006557-skeleton" / "sub-HYPE00" / "ses-HFC" / "anat"
    ours = low_field_sidecar(scan, get_preset(scan.contrast, scan.plane))
    assert differences(ours, anat / f"sub-HYPE00_ses-HFC_{scan.name}.json") == {}


@pytest.mark.real
@pytest.mark.parametrize(("contrast", "name"), [("T1w", "acq-MPRAGE_T1w"), ("T2w", "T2w")])
def test_high_field_sidecar_agrees_with_the_published_one(contrast: str, name: str, shared_data: Path) -> None:
    anat = shared_data / "ds006557-skeleton" / "sub-HYPE00" / "ses-GE" / "anat"
    assert differences(high_field_sidecar(contrast), anat / f"sub-HYPE00_ses-GE_{name}.json") == {}


@pytest.mark.parametrize("scan", LOW_FIELD, ids=lambda scan: scan.name)
def test_quirks_are_kept(scan: Protocol) -> None:
    sidecar = low_field_sidecar(scan, get_preset(scan.contrast, scan.plane))
    assert sidecar["MagneticFieldStrength"] == 0.006
    assert 2.70 <= sidecar["ImagingFrequency"] <= 2.71
    assert "SpacingBetweenSlices" not in sidecar


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR"])
@pytest.mark.parametrize("word", preset_names())
def test_a_simulated_sidecar_tells_one_field_strength_and_the_contrast(word: str, contrast: str) -> None:
    preset = named_preset(word, contrast)
    sidecar = simulated_sidecar(word, preset)
    reading = read_field_strength(sidecar)
    assert reading.tesla == pytest.approx(preset.field_strength, rel=0.02)
    assert reading.contradicted_by is None, "true where ds006557 is not"
    assert contrast.removesuffix("w") in sidecar["ProtocolName"]
    assert sidecar["SliceThickness"] == preset.fwhm[2], "of what is excited, however far apart"
    assert sidecar.get("SpacingBetweenSlices", preset.zooms[2]) == preset.zooms[2]


def test_a_simulated_flair_says_what_the_others_say() -> None:
    flair, t1w = (simulated_sidecar("hyperfine-axi", get_preset(contrast, "axi")) for contrast in ("FLAIR", "T1w"))
    assert flair.keys() == t1w.keys()
    assert (flair["RepetitionTime"], flair["InversionTime"]) == (4, 1.4)
