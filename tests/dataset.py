"""A small BIDS dataset with one subject for each fate: made once for all end-to-end tests."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_lfenhance.simulators.demo import scan_subject

LOW = {"ImagingFrequency": 2.7, "MagneticFieldStrength": 0.006, "Manufacturer": "Hyperfine"}
HIGH = {"ImagingFrequency": 127.77, "MagneticFieldStrength": 3}
KEPT = ("acq-MPRAGE_T1w", "acq-axi_T1w", "acq-cor_T1w")


def write_dataset(root: Path) -> Path:
    """The dataset: sub-01 paired (two stacks), sub-02 one low-field stack alone, sub-03 high field alone,
    sub-04 a truncated scan, sub-05 a broken sidecar, sub-06 no-number voxels, sub-07 an annexed file that is not here.
    """
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "End to end (simulated)", "BIDSVersion": "1.10.0"}')
    (root / "participants.tsv").write_text("participant_id\n" + "".join(f"sub-0{n}\n" for n in range(1, 8)))
    (root / "README").write_text("Simulated.\n")
    images = {}
    for image in scan_subject(("GE", "HFC"), np.random.default_rng(3)):
        if image.name in KEPT:
            images[image.name] = nib.Nifti1Image((image.data * 1000).astype(np.int16), image.affine)
        if len(images) == len(KEPT):
            break
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

    settings = replace(TRAINABLE.about.settings(), width=2, levels=2)
    torch.manual_seed(0)
    assert TRAINABLE is not None
    nets = TRAINABLE.build(settings)
    x, y, z = (place // 8 for place in np.indices(NODES))
    patch = torch.from_numpy((x + 4 * y + 36 * z) % 33)
    nets["regions"].atlas.copy_(torch.nn.functional.one_hot(patch, 33).movedim(-1, 0))
    about = {"method": "regions", "contrasts": ["T1w"], "settings": asdict(settings)}
    return save_weights(folder, nets, about, "drawn")
