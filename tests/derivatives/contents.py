"""Everything a session has to write: random images, made-up volumes and records."""

from dataclasses import replace

import numpy as np

from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.config import RunSpec
from bids_lfenhance.derivatives.reference import write_reference
from bids_lfenhance.derivatives.session import SessionContent, write_session
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, volume_from_channels

SHAPE = (8, 9, 10)


def content(record: LowFieldSession, rng: np.random.Generator) -> SessionContent:
    grid = Grid(np.eye(4), SHAPE)
    noise = lambda: rng.random(SHAPE, dtype=np.float32)  # noqa: E731
    stacks = tuple(
        Stack(s.stem, s.contrast, noise(), np.eye(4) + 0.0, np.diag([1.0, 1, 5, 1]), (1.6, 1.6, 5.0), 0.1)
        for s in record.stacks
    )
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:6, 2:6, 2:6] = True
    volume = volume_from_channels(grid, {"T1w": noise(), "T2w": noise()}, stacks)
    volume = volume.with_anatomy(mask, np.zeros((3, *SHAPE), np.float32))
    rows = [{"index": 1, "name": "CSF", "volume_mm3": 10.0, "volume_soft_mm3": 11.0}]
    labels = {"T1w": mask.astype(np.uint8), "T2w": mask.astype(np.uint8)}
    about = {"contrast": "T1w", "image": "inr", "region": "brain", "protocol": "brain-fit"}
    paired = record.paired
    return SessionContent(
        acquired=volume,
        expected=np.argwhere(mask) + 0.2,
        labels=labels,
        volumes={"T1w": rows, "T2w": rows},
        enhanced=replace(volume, image=volume.image * 2),
        enhanced_labels=labels,
        enhanced_volumes={"T1w": rows, "T2w": rows},
        std=replace(volume, image=volume.image / 10),
        error=replace(volume, image=volume.image / 12),
        risk=replace(volume, image=volume.image / 5),
        risk_record={c: {"chi2": np.float32(1.0), "band": float("nan")} for c in ("T1w", "T2w")},
        provenance={
            "settings": {"width": 8, "fusion": "sr"},
            "draws": 3,
            "records": [{"loss": 1.0}],
            "Runtime": {"Seconds": 1.0},
            "warnings": ["A draw was odd."],
        },
        qc={
            "Scans": [{"Name": s.stem, "SNR": 10.0, "Zooms": [1.6, 1.6, 5.0]} for s in record.stacks],
            "Warnings": ["It moved."],
        },
        quality={"SkullStripped": False, "MaskVolumeMl": 1400.0, "Warnings": []},
        metrics=[{**about, "metric": "psnr", "value": 1}] if paired else None,
        reference_qc={"Warnings": ["Its background is noise."]} if paired else None,
        maps={kind: replace(volume, image=volume.image / 3) for kind in ("Sample", "DrawsStd")},
        **{name: regions for name, regions in REGIONS.items() if paired or name.startswith("enhanced_")},
    )


REGION_LABELS = np.pad(np.full((4, 4, 4), 17, np.uint8), [(2, 2), (2, 3), (2, 4)])
REGION_ROWS = [
    {
        "index": 17,
        "name": "left hippocampus",
        "volume_mm3": 720.0,
        "volume_soft_mm3": 700.5,
        "confidence": 0.9,
        "uncertain_mm3": 100.0,
    },
    {"index": None, "name": "total intracranial", "volume_mm3": 1.5e6, "volume_soft_mm3": 1.4e6, "confidence": np.nan},
]
REGIONS = {
    "regions": {"T1w": REGION_LABELS, "T2w": REGION_LABELS},
    "region_volumes": {"T1w": REGION_ROWS, "T2w": REGION_ROWS},
    "enhanced_regions": {"T1w": REGION_LABELS, "T2w": REGION_LABELS},
    "enhanced_region_volumes": {"T1w": REGION_ROWS, "T2w": REGION_ROWS},
}


def write_all(record: LowFieldSession, spec: RunSpec, rng: np.random.Generator) -> SessionContent:
    given = content(record, rng)
    if record.paired:
        volume = replace(given.acquired, stacks=())
        regions = given.regions, given.region_volumes
        write_reference(record, spec, volume, given.labels, given.volumes, {}, given.quality, *regions)
    write_session(record, spec, given)
    return given
