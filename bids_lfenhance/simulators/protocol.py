"""What the sidecars of ds006557 say, scan by scan.

Keys, values and quirks follow the published sidecars (a field strength of 0.006 T beside a frequency of 2.70 MHz, no
spacing between slices); names of people, sites and devices do not. Geometry comes from ``presets``.
"""

from dataclasses import dataclass
from typing import Any

from ..bids.field_strength import PROTON_MHZ_PER_TESLA
from .presets import Preset


@dataclass(frozen=True)
class Protocol:
    """One scan of a 64 mT session, as its sidecar has it: times in s, frequency in MHz, bandwidth in Hz per pixel."""

    contrast: str
    plane: str
    number: int
    time: str
    duration: float
    echo_time: float
    frequency: float
    bandwidth: float

    @property
    def name(self) -> str:
        """``acq-axi_T1w``: the end of the file's name."""
        return f"acq-{self.plane}_{self.contrast}"


LOW_FIELD = (
    Protocol("T1w", "axi", 6, "14:23:49", 375.683, 0.007, 2.702839, 463.768),
    Protocol("T1w", "cor", 8, "14:30:25", 330.656, 0.00694, 2.702847, 516.129),
    Protocol("T1w", "sag", 10, "14:36:15", 372.682, 0.00707, 2.702853, 463.768),
    Protocol("T1w", "iso", 13, "14:43:06", 555.6, 0.00559, 2.702858, 680.851),
    Protocol("T2w", "axi", 16, "14:52:54", 384.633, 0.16096, 2.702860, 533.333),
    Protocol("T2w", "cor", 18, "14:59:39", 320.66, 0.19424, 2.702825, 477.612),
    Protocol("T2w", "sag", 20, "15:05:20", 348.683, 0.19904, 2.702790, 438.356),
    Protocol("T2w", "iso", 23, "15:12:17", 588.559, 0.14816, 2.702751, 800.0),
)
"""The eight scans of a 64 mT session, in the order of acquisition."""

FLAIR = (
    Protocol("FLAIR", "axi", 26, "15:22:30", 562.4, 0.166, 2.702733, 463.768),
    Protocol("FLAIR", "cor", 28, "15:32:21", 495.2, 0.166, 2.702727, 516.129),
    Protocol("FLAIR", "sag", 30, "15:41:05", 558.2, 0.166, 2.702721, 463.768),
    Protocol("FLAIR", "iso", 33, "15:50:52", 832.7, 0.166, 2.702716, 680.851),
)
"""What a FLAIR of that scanner would say: ds006557 has none, so times are ``protocols.json``'s, the rest as T1w's."""

_SEQUENCES: dict[str, tuple[str, dict[str, float]]] = {
    "T1w": ("T1_graywhite", {"RepetitionTime": 1.5, "InversionTime": 0.3}),
    "T2w": ("T2", {"RepetitionTime": 2}),
    "FLAIR": ("FLAIR", {"RepetitionTime": 4, "InversionTime": 1.4}),
}
"""Name of the sequence in the protocol, and its times in s."""

_ORIENTATION = {
    "axi": [1, 0, 0, 0, 1, 0],
    "iso": [1, 0, 0, 0, 1, 0],
    "cor": [1, 0, 0, 0, 0, -1],
    "sag": [0, 1, 0, 0, 0, -1],
}

_SITE = {"InstitutionName": "None (simulated)", "DeviceSerialNumber": "SIMULATED", "PatientPosition": "HFS"}

_CONVERSION = {"ConversionSoftware": "bids_lfenhance.simulators.demo"}


def low_field_sidecar(scan: Protocol, preset: Preset) -> dict[str, Any]:
    """What the sidecar of a 64 mT scan says, quirks included."""
    word, timing = _SEQUENCES[scan.contrast]
    stem = f"sim_{word}_{scan.plane}"
    return {
        "Modality": "MR",
        "MagneticFieldStrength": 0.006,
        "ImagingFrequency": scan.frequency,
        "Manufacturer": "Hyperfine",
        "ManufacturersModelName": "swoop",
        **_SITE,
        "SoftwareVersions": "simulated",
        "MRAcquisitionType": "3D",
        "SeriesDescription": f"{stem}-NOT FOR DIAGNOSTIC USE",
        "ProtocolName": stem,
        "PulseSequenceName": stem[:16],
        "ImageType": ["DERIVED", "PRIMARY", word.partition("_")[0], "SIMULATED"],
        "SeriesNumber": scan.number,
        "AcquisitionTime": f"{scan.time}.000000",
        "SliceThickness": preset.zooms[2],
        "NumberOfAverages": 2,
        "EchoTime": scan.echo_time,
        **timing,
        "MTState": False,
        "FlipAngle": 90,
        "PercentPhaseFOV": 80 if scan.contrast == "T2w" else 100,
        "PercentSampling": 100,
        "PhaseEncodingSteps": preset.shape[0],
        "FrequencyEncodingSteps": preset.shape[1],
        "ReconMatrixPE": preset.shape[0],
        "AcquisitionDuration": scan.duration,
        "PixelBandwidth": scan.bandwidth,
        "ImageOrientationPatientDICOM": _ORIENTATION[scan.plane],
        "InPlanePhaseEncodingDirectionDICOM": "ROW",
        **_CONVERSION,
    }


def simulated_sidecar(word: str, preset: Preset) -> dict[str, Any]:
    """What the sidecar of a simulated scan says of its acquisition: complete, and true where ds006557 is not.

    ``word`` names the preset on the command line. A preset of the scanner of ds006557 gets every key of the published
    sidecars, with the field strength it has; any other what is known of it.
    """
    about = {"MagneticFieldStrength": preset.field_strength, "ConversionSoftware": "bids_lfenhance"}
    scans = [s for s in (*LOW_FIELD, *FLAIR) if (s.contrast, s.plane) == (preset.contrast, preset.plane)]
    if preset.name == "hyperfine":
        return low_field_sidecar(scans[0], preset) | about
    return {
        "Modality": "MR",
        "ImagingFrequency": round(PROTON_MHZ_PER_TESLA * preset.field_strength, 6),
        "Manufacturer": "None (simulated)",
        "ManufacturersModelName": preset.name,
        **_SITE,
        "SoftwareVersions": "simulated",
        "MRAcquisitionType": "3D",
        "SeriesDescription": f"sim_{_SEQUENCES[preset.contrast][0]}_{word}",
        "ProtocolName": f"sim_{_SEQUENCES[preset.contrast][0]}_{word}",
        "ImageType": ["DERIVED", "PRIMARY", preset.contrast.removesuffix("w"), "SIMULATED"],
        "SliceThickness": preset.fwhm[2],
        "SpacingBetweenSlices": preset.zooms[2],
        "ImageOrientationPatientDICOM": _ORIENTATION[preset.plane],
        **about,
    }


def high_field_sidecar(contrast: str) -> dict[str, Any]:
    """What the sidecar of a 3 T scan says."""
    timing: dict[str, Any] = {
        "T1w": {"EchoTime": 0.002828, "RepetitionTime": 2.49986, "InversionTime": 1.06, "FlipAngle": 8},
        "T2w": {"EchoTime": 0.060173, "RepetitionTime": 3.2, "FlipAngle": 90, "EchoTrainLength": 140},
    }[contrast]
    return {
        "Modality": "MR",
        "MagneticFieldStrength": 3,
        "ImagingFrequency": 127.765039 if contrast == "T1w" else 127.765046,
        "Manufacturer": "GE",
        "ManufacturersModelName": "SIGNA Premier",
        **_SITE,
        "BodyPartExamined": "BRAIN",
        "SoftwareVersions": "simulated",
        "MRAcquisitionType": "3D",
        "SeriesDescription": {"T1w": "Sag_MPRAGE_T1", "T2w": "Sag_CUBE_T2"}[contrast],
        "ScanningSequence": {"T1w": "RM\\IR", "T2w": "RM"}[contrast],
        "SequenceVariant": "NONE",
        "ImageType": ["DERIVED", "PRIMARY", "OTHER", "SIMULATED"],
        "SeriesNumber": {"T1w": 2, "T2w": 3}[contrast],
        "AcquisitionTime": {"T1w": "10:14:51.000000", "T2w": "10:21:00.000000"}[contrast],
        "SliceThickness": 1,
        "SpacingBetweenSlices": 1,
        **timing,
        "PercentPhaseFOV": 100,
        "PercentSampling": 100,
        "ParallelReductionFactorInPlane": 2,
        "PixelBandwidth": 244.141,
        "ImageOrientationPatientDICOM": _ORIENTATION["sag"],
        "InPlanePhaseEncodingDirectionDICOM": "ROW",
        **_CONVERSION,
    }
