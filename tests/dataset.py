"""A small BIDS dataset with one subject for each fate: made once for all end-to-end tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.imaging.template import affine_of, load_head_template

LOW = {"ImagingFrequency": 2.7, "MagneticFieldStrength": 0.006, "Manufacturer": "Hyperfine"}
HIGH = {"ImagingFrequency": 127.77, "MagneticFieldStrength": 3}
GAINS = (40, 90, 130, 20, 110, 0, 60)
"""T1w intensity of CSF, GM, WM, skull, scalp, air, and what lies below the brain."""

SCANS = {"acq-MPRAGE_T1w": (3.0, 3.0, 3.0), "acq-axi_T1w": (3.0, 3.0, 6.0), "acq-cor_T1w": (3.0, 6.0, 3.0)}
"""Voxel sizes in mm of the scans that ``head_scan`` makes."""

MIDDLE, SIDES = np.array([0.0, -12.0, 12.0]), np.array([156.0, 186.0, 174.0])
"""Of their field of view, RAS mm."""


def head_scan(name: str = "acq-axi_T1w", seed: int = 3) -> nib.Nifti1Image:
    """A scan of a tilted, small head of the template, int16, with Rician noise; a second to make."""
    head, rng = load_head_template(), np.random.default_rng(seed)
    motion = affine_of(np.array([0.8, -0.6, 0.4, 1.0, 0.3, -0.6, -2.6, -2.2, -2.4, 0, 0, 0]), np.zeros(3))
    affine = np.diag([*SCANS[name], 1.0])
    x, y, z = shape = tuple(int(side) for side in SIDES // SCANS[name])
    affine[:3, 3] = MIDDLE - (np.array(shape) - 1) / 2 * SCANS[name]
    signal = np.tensordot(GAINS, head.maps, 1)
    image = resample(signal, motion @ head.grid.affine, Grid(affine, (x, y, z)))
    noise = 3 * rng.standard_normal((2, *shape))
    return nib.Nifti1Image((10 * np.hypot(image + noise[0], noise[1])).astype(np.int16), affine)


def write_dataset(root: Path) -> Path:
    """The dataset: sub-01 paired (two stacks), sub-02 one low-field stack alone, sub-03 high field alone,
    sub-04 a truncated scan, sub-05 a broken sidecar, sub-06 no-number voxels, sub-07 an annexed file that is not here.
    """
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "End to end (simulated)", "BIDSVersion": "1.10.0"}')
    (root / "participants.tsv").write_text("participant_id\n" + "".join(f"sub-0{n}\n" for n in range(1, 8)))
    (root / "README").write_text("Simulated.\n")
    images = {name: head_scan(name) for name in SCANS}
    low = images["acq-axi_T1w"]
    for name, image in images.items():
        session = "GE" if "MPRAGE" in name else "HFC"
        write_scan(root, "01", session, name, image)
    write_scan(root, "02", "HFC", "acq-axi_T1w", low)
    write_scan(root, "03", "GE", "acq-MPRAGE_T1w", images["acq-MPRAGE_T1w"])
    path = write_scan(root, "04", "HFC", "acq-axi_T1w", low)
    path.write_bytes(path.read_bytes()[:20000])
    write_scan(root, "05", "HFC", "acq-axi_T1w", low).with_suffix("").with_suffix(".json").write_text("{broken")
    broken = low.get_fdata(dtype=np.float32)
    broken[::2] = np.nan
    write_scan(root, "06", "HFC", "acq-axi_T1w", nib.Nifti1Image(broken, low.affine))
    path = write_scan(root, "07", "HFC", "acq-axi_T1w", low)
    path.unlink()
    path.symlink_to("../../../.git/annex/objects/aa/bb/MD5E-s1--0.nii.gz")
    return root


def write_scan(
    root: Path, subject: str, session: str, name: str, image: Any, sidecar: Mapping[str, Any] | None = None
) -> Path:
    """The path of one scan, its sidecar beside it."""
    folder = root / f"sub-{subject}" / f"ses-{session}" / "anat"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"sub-{subject}_ses-{session}_{name}.nii.gz"
    nib.save(image, path)
    about = sidecar if sidecar is not None else (HIGH if session == "GE" else LOW)
    (folder / f"sub-{subject}_ses-{session}_{name}.json").write_text(json.dumps(about))
    return path


def tiny_regions(folder: Path) -> Path:
    """Weights of the smallest network of the regions, as drawn, over an atlas of patches: nonsense, but soon found."""
    from dataclasses import asdict, replace

    import numpy as np
    import torch

    from bids_lfenhance.nn.weights import save_weights
    from bids_lfenhance.segmentation.atlas import NODES
    from bids_lfenhance.segmentation.method import TRAINABLE
    from bids_lfenhance.segmentation.network import RegionNet

    settings = replace(TRAINABLE.about.settings(), width=2, levels=2)
    torch.manual_seed(0)
    nets = TRAINABLE.build(settings)
    x, y, z = (place // 8 for place in np.indices(NODES))
    patch = torch.from_numpy((x + 4 * y + 36 * z) % 33)
    network = nets["regions"]
    assert isinstance(network, RegionNet)
    network.atlas.copy_(torch.nn.functional.one_hot(patch, 33).movedim(-1, 0))
    about = {"method": "regions", "contrasts": ["T1w"], "settings": asdict(settings)}
    return save_weights(folder, nets, about, "drawn")
