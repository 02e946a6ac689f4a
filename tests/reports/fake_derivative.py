"""A derivative as the write node leaves it, made up from a label map: what the report is tested on.

``python -m tests.reports.fake_derivative OUT [LABEL_MAP]`` writes one to look at.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from .verdicts import write_verdicts

INTENSITY = {"T1w": (0, 35, 92, 138, 70), "T2w": (0, 230, 120, 84, 60), "FLAIR": (0, 30, 120, 95, 60)}
"""Of background, CSF, GM, WM, scalp."""

NAMES = ("CSF", "GM", "WM")

RUN = "20261122-093000_abc123"
"""Name of the run that made the images."""

RISK = {
    "Units": "noise SD",
    "BandLimit": {"x": 0.276, "y": 0.276, "z": 0.196},
    "BandLimitUnit": "1/mm",
    "Threshold": 2.0,
    "Median": 0.71,
    "Percentile95": 1.63,
    "FractionAbove": 0.0137,
    "FractionSeen": 1.0,
    "Warnings": [],
}
"""What ``evaluation.risk`` records."""
GROUPS = {1: (4, 5, 14, 15, 24, 43, 44), 3: (2, 7, 16, 28, 41, 46, 60, 85), 4: tuple(range(500, 540))}


@dataclass(frozen=True)
class Recipe:
    """What the made-up run is like."""

    subject: str = "01"
    sessions: tuple[str, ...] = ("HFC",)
    reference: str | None = "GE"
    contrasts: tuple[str, ...] = ("T1w", "T2w")
    methods: tuple[str, ...] = ("inr",)
    draws: int = 3
    skull: bool = True
    worse: bool = False
    sloppy: bool = False
    maps: tuple[str, ...] = ()
    text: str = "MagneticFieldStrength says 0.006 T, ImagingFrequency says 0.0635 T; the frequency was used (6 scans)."


def phantom(shape: tuple[int, int, int] = (64, 80, 64)) -> np.ndarray:
    """(X, Y, Z) uint8 labels 0..4 of nested ellipsoids: scalp, CSF, GM, WM and ventricles."""
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    radius = np.sqrt(sum((axis / size) ** 2 for axis, size in zip(axes, (0.8, 0.85, 0.8), strict=True)))
    fold = 0.05 * np.sin(9 * axes[0]) * np.sin(8 * axes[1]) * np.sin(9 * axes[2])
    labels = np.zeros(shape, np.uint8)
    for limit, label in ((1.05, 4), (0.92, 1), (0.86, 2), (0.72, 3)):
        labels[radius + fold < limit] = label
    ventricle = np.sqrt((np.abs(axes[0]) - 0.15) ** 2 * 30 + (axes[1] / 0.4) ** 2 + (axes[2] / 0.25) ** 2)
    labels[ventricle < 1] = 1
    return labels


def real_labels(path: Path) -> np.ndarray:
    """(X, Y, Z) uint8 labels 0..4 of a SynthSeg label map, cropped to the head."""
    image = nib.as_closest_canonical(nib.load(path))
    full = np.asarray(image.dataobj).astype(int)
    labels = np.where(full > 0, 2, 0).astype(np.uint8)
    for label, members in GROUPS.items():
        labels[np.isin(full, members)] = label
    box = ndimage.find_objects(np.isin(labels, (1, 2, 3)).astype(int))[0]
    return labels[tuple(slice(max(0, s.start - 18), s.stop + 18) for s in box)]


def build(out: Path, labels: np.ndarray, recipe: Recipe | None = None) -> Path:
    """The derivative's folder, filled for one subject; the run's folder is ``logs/20261122-093000_abc123``."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng(7)
    labels = labels if recipe.skull else np.where(labels == 4, 0, labels)
    write_dataset(out, recipe)
    for number, session in enumerate(recipe.sessions):
        write_session(out, labels, recipe, session, rng, motion=number)
    if recipe.reference:
        write_reference(out, labels, recipe, rng)
    write_verdicts(out)
    return out


def write_dataset(out: Path, recipe: Recipe) -> None:
    """Leave the files of the dataset and of the run."""
    run = out / "logs" / RUN
    run.mkdir(parents=True, exist_ok=True)
    (out / "dataset_description.json").write_text(
        json.dumps(
            {
                "Name": "bids_lfenhance derivatives",
                "BIDSVersion": "1.11.1",
                "DatasetType": "derivative",
                "License": "CC0",
                "GeneratedBy": [{"Name": "bids_lfenhance", "Version": "0.1.0"}],
                "SourceDatasets": [{"DOI": "doi:10.18112/openneuro.ds006557.v1.0.2", "Version": "1.0.2"}],
            }
        )
    )
    (run / "config.toml").write_text(
        f'[run]\nlevel = "participant"\nmethod = "{recipe.methods[0]}"\nbudget = "cpu"\nrandom_seed = 20261122\n'
        f"output_spaces = []\n\n[{recipe.methods[0]}]\nwidth = 96\nomega = 12.0\nsteps = 600\n"
    )


def folder(out: Path, recipe: Recipe, session: str) -> tuple[Path, str]:
    """The anat folder of a session and the beginning of every name in it."""
    path = out / f"sub-{recipe.subject}" / f"ses-{session}" / "anat"
    path.mkdir(parents=True, exist_ok=True)
    return path, f"sub-{recipe.subject}_ses-{session}"


def save(path: Path, data: np.ndarray, sidecar: dict) -> None:
    """Leave an image in RAS, 1 mm, and its sidecar."""
    affine = np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = -np.array(data.shape) / 2
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path.with_name(path.name + ".nii.gz"))
    path.with_name(path.name + ".json").write_text(json.dumps(sidecar))


def sharp(labels: np.ndarray, contrast: str, rng: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) float32: what a 3 T scanner would show."""
    texture = ndimage.gaussian_filter(rng.standard_normal(labels.shape), 1.5)
    image = np.take(np.array(INTENSITY[contrast], np.float32), labels)
    image = ndimage.gaussian_filter(image, 0.5) * (1 + 0.12 * texture)
    return (image + rng.normal(0, 1.5, labels.shape)).clip(0).astype(np.float32)


def fused(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(X, Y, Z) float32: the plain mean of three orthogonal thick stacks."""
    widths = np.array([(0.7, 0.7, 2.1), (0.7, 2.1, 0.7), (2.1, 0.7, 0.7)])
    stacks = [ndimage.gaussian_filter(image, width) for width in widths]
    noise = ndimage.gaussian_filter(rng.normal(0, 14, image.shape), 0.9)
    return (np.mean(stacks, axis=0) * 0.9 + 8 + noise).clip(0).astype(np.float32)


def write_session(
    out: Path, labels: np.ndarray, recipe: Recipe, session: str, rng: np.random.Generator, motion: int
) -> None:
    """Leave every file of one low-field session."""
    anat, head = folder(out, recipe, session)
    grid = f"{head}_space-{recipe.reference}" if recipe.reference else head
    brain = np.isin(labels, (1, 2, 3))
    base = {"SkullStripped": not recipe.skull, "Resolution": "1 mm isotropic", "MagneticFieldStrength": 0.0635}
    if recipe.reference:
        base["SpatialReference"] = f"bids::sub-{recipe.subject}/ses-{recipe.reference}/anat/reference.nii.gz"
    save(anat / f"{grid}_res-1mm_desc-brain_mask", brain.astype(np.uint8), {**base, "Type": "Brain"})
    rows: list[tuple] = []
    for contrast in recipe.contrasts:
        truth = sharp(labels, contrast, rng)
        low = fused(truth, rng)
        save(anat / f"{grid}_res-1mm_desc-preproc_{contrast}", low, base)
        write_tissue(anat / f"{grid}_seg-tissue_res-1mm_desc-preproc{contrast}_dseg", blurred_labels(labels, 2.0), base)
        for method in recipe.methods:
            write_method(anat, grid, contrast, method, truth, low, labels, recipe, base, rng)
            rows += metric_rows(contrast, method, recipe.worse)
    write_qc(anat, head, recipe, session, motion)
    if recipe.reference:
        write_metrics(anat / f"{head}_desc-{recipe.methods[0]}_qc.tsv", rows)


def write_method(
    anat: Path,
    grid: str,
    contrast: str,
    method: str,
    truth: np.ndarray,
    low: np.ndarray,
    labels: np.ndarray,
    recipe: Recipe,
    base: dict,
    rng: np.random.Generator,
) -> None:
    """Leave the enhanced image of one method and contrast, its maps and its tissue."""
    sidecar = base | {
        "Synthetic": True,
        "TargetMagneticFieldStrength": 3,
        "Method": method,
        "MethodSettings": {"width": 96, "steps": 600},
        "SettingsHash": "9f2c51d07a",
        "Seed": 20261122,
        "Draws": recipe.draws,
        "Sloppy": recipe.sloppy,
        "GeneratedWith": "bids_lfenhance 0.1.0",
        "Sources": [f"bids::sub-{recipe.subject}/low_{contrast}.nii.gz"],
        "Warnings": [],
        "PackageVersions": {"bids_lfenhance": "0.1.0", "torch": "2.13.0", "SimpleITK": "2.5.7"},
        "Runtime": {"Seconds": 118.4, "CpuSeconds": 221.7, "PeakMemoryMiB": 2210, "Device": "cpu", "Run": RUN},
    }
    sidecar |= {"ErrorStdPercent": 3.2} if recipe.draws > 1 else {}
    image = (ndimage.gaussian_filter(truth, 0.8) * 0.93 + 5).astype(np.float32)
    save(anat / f"{grid}_res-1mm_desc-{method}_{contrast}", image, sidecar)
    edges = ndimage.gaussian_gradient_magnitude(image, 1.2)
    if recipe.draws > 1:
        spread = (1 + 0.22 * edges + rng.gamma(2, 0.3, image.shape)).astype(np.float32)
        save(anat / f"{grid}_res-1mm_desc-{method}Std_{contrast}", spread, sidecar | {"Units": "arbitrary"})
    risk = np.abs(ndimage.gaussian_filter(rng.standard_normal(image.shape), 1.3) * 5)
    place = zip(np.indices(image.shape), np.multiply(image.shape, (0.32, 0.6, 0.6)), strict=True)
    risk += 7 * np.exp(-sum((index - centre) ** 2 for index, centre in place) / 40)
    save(anat / f"{grid}_res-1mm_desc-{method}Risk_{contrast}", risk.astype(np.float32), base | RISK)
    for kind in recipe.maps:
        told = base | {"Description": f"What {kind} is & means.", "Units": "made-up units"}
        save(anat / f"{grid}_res-1mm_desc-{method}{kind}_{contrast}", (edges / 9).astype(np.float32), told)
    write_tissue(anat / f"{grid}_seg-tissue_res-1mm_desc-{method}{contrast}_dseg", blurred_labels(labels, 0.8), base)


def blurred_labels(labels: np.ndarray, width: float) -> np.ndarray:
    """(X, Y, Z) uint8 0..3: labels as a segmentation of a blurred image would give them."""
    inside = np.isin(labels, (1, 2, 3))
    scores = [ndimage.gaussian_filter((labels == label).astype(np.float32), width) for label in (1, 2, 3)]
    return np.where(inside, np.argmax(scores, axis=0) + 1, 0).astype(np.uint8)


def write_tissue(path: Path, labels: np.ndarray, sidecar: dict) -> None:
    """Leave a dseg and its table of volumes."""
    save(path, labels, sidecar)
    lines = ["index\tname\tvolume_mm3"]
    lines += [f"{i + 1}\t{name}\t{float((labels == i + 1).sum()):.1f}" for i, name in enumerate(NAMES)]
    path.with_name(path.name + ".tsv").write_text("\n".join(lines) + "\n")


def metric_rows(contrast: str, method: str, worse: bool) -> list[tuple]:
    """Rows of the metrics table; enhanced is worse than the plain mean on T2w where asked."""
    table = {"psnr": (20.98, 22.53), "ssim": (0.736, 0.781), "mae": (0.061, 0.047), "nmse": (0.0712, 0.0501)}
    rows = []
    for protocol in ("brain-fit", "h2lo", "ulfenc-val", "ulfenc-final", "slice2d"):
        for region in ("brain", "field") if protocol == "brain-fit" else ("brain",):
            for metric, (low, high) in table.items():
                shift = 0.4 * (protocol != "brain-fit") + 0.1 * (region == "field")
                first, second = (high, low) if worse and contrast == "T2w" else (low, high)
                rows.append((contrast, "preproc", region, protocol, metric, first + shift))
                rows.append((contrast, method, region, protocol, metric, second + shift))
    return rows


def write_metrics(path: Path, rows: Sequence[tuple]) -> None:
    """Leave the metrics table of a session and its sidecar."""
    lines = ["contrast\timage\tregion\tprotocol\tmetric\tvalue"]
    lines += ["\t".join(str(cell) for cell in row) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    path.with_suffix(".json").write_text(json.dumps({"value": {"Description": "value of the metric"}}))


def write_qc(anat: Path, head: str, recipe: Recipe, session: str, motion: int) -> None:
    """Leave the record of what was found and how it moved."""
    scans = [
        {
            "File": f"sub-{recipe.subject}/ses-{session}/anat/{head}_acq-{plane}_{contrast}.nii.gz",
            "Contrast": contrast,
            "Plane": plane,
            "Zooms": [1.6, 1.6, 5.0] if plane != "iso" else [2.3, 2.3, 2.3],
            "FieldStrength": 0.0635,
            "SNR": 14.2 + index,
            "RotationDeg": 0.4 + index + motion,
            "TranslationMm": 0.9 + index / 2,
            "Coverage": 0.97,
            "Sigma": 6.1,
        }
        for contrast in recipe.contrasts
        for index, plane in enumerate(("axi", "cor", "sag"))
    ]
    files = [f"sub-{recipe.subject}_ses-{recipe.reference}_{contrast}.nii.gz" for contrast in recipe.contrasts]
    ref = {"Session": recipe.reference, "Files": files} if recipe.reference else None
    qc = {
        "Scans": scans,
        "Missing": ["acq-iso_T2w"],
        "Reference": ref,
        "Anatomy": {"MaskVolumeMl": 1502.3, "Similarity": 0.91},
        "Coverage": {contrast: {"Brain": 1.0, "OnFaceCm2": 0.0, "Cut": []} for contrast in recipe.contrasts},
        "Risk": dict.fromkeys(recipe.contrasts, RISK),
        "Warnings": [recipe.text],
    }
    (anat / f"{head}_desc-preproc_qc.json").write_text(json.dumps(qc))


def write_reference(out: Path, labels: np.ndarray, recipe: Recipe, rng: np.random.Generator) -> None:
    """Leave the high-field session."""
    anat, head = folder(out, recipe, str(recipe.reference))
    base = {"SkullStripped": not recipe.skull, "Resolution": "1 mm isotropic", "MagneticFieldStrength": 3.0}
    brain = np.isin(labels, (1, 2, 3))
    save(anat / f"{head}_res-1mm_desc-brain_mask", brain.astype(np.uint8), base)
    for contrast in recipe.contrasts:
        acq = "_acq-MPRAGE" if contrast == "T1w" else ""
        save(anat / f"{head}{acq}_res-1mm_desc-preproc_{contrast}", sharp(labels, contrast, rng) * 8, base)
        tissue = np.where(brain, labels, 0).astype(np.uint8)
        write_tissue(anat / f"{head}_seg-tissue_res-1mm_desc-preproc{contrast}_dseg", tissue, base)


if __name__ == "__main__":
    source = real_labels(Path(sys.argv[2])) if len(sys.argv) > 2 else phantom()
    print(build(Path(sys.argv[1]), source, Recipe(sessions=("HFC", "HFE"))))
