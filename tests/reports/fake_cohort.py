"""A derivative of many subjects with planted differences; its images are tiny, its tables are whole.

``python -m tests.reports.fake_cohort OUT [SUBJECTS]`` writes OUT/raw and OUT/derivative, to look at or to time.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from bids_lfenhance.evaluation.label_overlap import structures
from bids_lfenhance.evaluation.metric_definitions import METRICS

from .verdicts import write_verdicts

TISSUES = {"CSF": 250e3, "GM": 700e3, "WM": 500e3}
"""Mean volume at high field, mm³."""

SIDED = {
    **{"cerebral white matter": 215e3, "cerebral cortex": 230e3, "lateral ventricle": 9e3},
    **{"inferior lateral ventricle": 400.0, "cerebellum white matter": 14e3, "cerebellum cortex": 52e3},
    **{"thalamus": 7.5e3, "caudate": 3.6e3, "putamen": 5e3, "pallidum": 1.9e3, "hippocampus": 4e3, "amygdala": 1.7e3},
    **{"accumbens area": 550.0, "ventral DC": 4e3},
}
REGIONS = {
    **{f"left {name}": volume for name, volume in SIDED.items()},
    **{"3rd ventricle": 1.2e3, "4th ventricle": 1.8e3, "brain stem": 21e3, "CSF": 240e3},
    **{f"right {name}": volume for name, volume in SIDED.items()},
}
SEGMENTED = {"tissue": TISSUES, "regions": REGIONS, "synthseg": REGIONS}

DICE = (0.66, 0.84, 0.66)
"""Of low field, of the first method, of others; but for a spread over subjects and structures."""

LOW_SHARE, BIAS_SHARE, PSNR_GAIN = 0.92, 0.008, 1.5
"""Low field sees this share of a volume; the first method this share too much, and is this much better, dB."""

REQUIRED = {"SkullStripped": False, "Resolution": "1 mm", "SpatialReference": "orig"}
"""What BIDS asks of every derived image on a grid."""

LOW, HIGH = {"MagneticFieldStrength": 0.0635, **REQUIRED}, {"MagneticFieldStrength": 3.0, **REQUIRED}


@dataclass(frozen=True)
class Cohort:
    """What the made-up cohort is like; the second method of several gains nothing."""

    subjects: int = 12
    sessions: tuple[str, ...] = ("HFC", "HFE")
    contrasts: tuple[str, ...] = ("T1w", "T2w")
    methods: tuple[str, ...] = ("inr",)
    reference: str | None = "GE"
    segmentations: tuple[str, ...] = ("tissue",)
    name: str = "Made-up cohort"


def build(root: Path, cohort: Cohort | None = None) -> tuple[Path, Path]:
    """The folders of the dataset and of its derivative."""
    cohort = cohort or Cohort()
    raw, out = root / "raw", root / "derivative"
    rng = np.random.default_rng(11)
    for folder in (raw, out):
        folder.mkdir(parents=True)
    (raw / "dataset_description.json").write_text(json.dumps({"Name": cohort.name, "BIDSVersion": "1.9.0"}))
    about = {"Name": cohort.name, "BIDSVersion": "1.9.0", "DatasetType": "derivative"}
    (out / "dataset_description.json").write_text(json.dumps(about | {"GeneratedBy": [{"Name": "bids_lfenhance"}]}))
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4))
    nib.save(image, root / "tiny.nii.gz")
    tiny = (root / "tiny.nii.gz").read_bytes()
    people = ["participant_id\tage\tsex"]
    for number in range(cohort.subjects):
        label = f"{number + 1:03d}"
        people.append(f"sub-{label}\t{20 + (7 * number) % 50}\t{'MF'[number % 2]}")
        write_subject(out, label, cohort, tiny, rng)
    for folder in (raw, out):
        (folder / "participants.tsv").write_text("\n".join(people) + "\n")
    write_verdicts(out)
    return raw, out


def write_subject(out: Path, label: str, cohort: Cohort, tiny: bytes, rng: np.random.Generator) -> None:
    """Leave everything of one subject."""
    names = [(seg, name, volume) for seg in cohort.segmentations for name, volume in SEGMENTED[seg].items()]
    truth = {(c, seg, n): (v, v * rng.normal(1, 0.08)) for c in cohort.contrasts for seg, n, v in names}
    for session in cohort.sessions:
        anat = out / f"sub-{label}" / f"ses-{session}" / "anat"
        anat.mkdir(parents=True)
        space = f"_space-{cohort.reference}" if cohort.reference else ""
        head = f"sub-{label}_ses-{session}"
        tables: dict[str, list[tuple]] = {method: [] for method in cohort.methods}
        put(anat / f"{head}{space}_res-1mm_desc-brain_mask", tiny, LOW)
        for contrast in cohort.contrasts:
            base, overlap = 20 + rng.normal(0, 0.6), {}
            for number, image in enumerate(("preproc", *cohort.methods)):
                put(anat / f"{head}{space}_res-1mm_desc-{image}_{contrast}", tiny, LOW | {"Synthetic": number > 0})
                for seg in cohort.segmentations:
                    volumes = {n: planted(number, *truth[contrast, seg, n], rng) for n in SEGMENTED[seg]}
                    name = f"{head}{space}_seg-{seg}_res-1mm_desc-{image}{contrast}_dseg"
                    write_volumes(anat / name, volumes, tiny, LOW, seg)
                overlap[image] = dice_rows(contrast, image, number, cohort, rng)
                if number:
                    risk = {"FractionAbove": 0.01 * rng.uniform(), "FractionSeen": 1.0}
                    put(anat / f"{head}{space}_res-1mm_desc-{image}Risk_{contrast}", tiny, LOW | risk)
                    gain = PSNR_GAIN + rng.normal(0, 0.2) if number == 1 else rng.normal(0, 0.2)
                    tables[image] += metric_rows(contrast, image, base, gain) + overlap["preproc"] + overlap[image]
        write_record(anat / f"{head}_desc-preproc_qc.json", cohort, rng)
        for method, rows in tables.items() if cohort.reference else ():
            lines = ["\t".join(str(cell) for cell in row) for row in rows]
            text = "\n".join(["contrast\timage\tregion\tprotocol\tmetric\tvalue", *lines])
            (anat / f"{head}_desc-{method}_qc.tsv").write_text(text + "\n")
    if cohort.reference:
        write_high_field(out, label, cohort, tiny, truth)


def write_high_field(out: Path, label: str, cohort: Cohort, tiny: bytes, truth: dict) -> None:
    """Leave the high-field session of one subject."""
    anat = out / f"sub-{label}" / f"ses-{cohort.reference}" / "anat"
    anat.mkdir(parents=True)
    head = f"sub-{label}_ses-{cohort.reference}"
    for contrast in cohort.contrasts:
        put(anat / f"{head}_res-1mm_desc-preproc_{contrast}", tiny, HIGH)
        for seg in cohort.segmentations:
            volumes = {name: truth[contrast, seg, name][1] for name in SEGMENTED[seg]}
            write_volumes(anat / f"{head}_seg-{seg}_res-1mm_desc-preproc{contrast}_dseg", volumes, tiny, HIGH, seg)


def planted(number: int, mean: float, truth: float, rng: np.random.Generator) -> float:
    """The volume that an image shows: low field, first method, others."""
    clean = (LOW_SHARE * truth, truth + BIAS_SHARE * mean, truth)[min(number, 2)]
    return float(clean + rng.normal(0, 0.01 * truth))


def dice_rows(contrast: str, image: str, number: int, cohort: Cohort, rng: np.random.Generator) -> list[tuple]:
    """Rows of the metrics table: Dice of every structure, each side and both together."""
    rows = []
    for seg in cohort.segmentations:
        for place, name in enumerate(structures(dict(enumerate(SEGMENTED[seg], start=1)))):
            value = DICE[min(number, 2)] + 0.1 * np.sin(place) + rng.normal(0, 0.03)
            rows.append((contrast, image, name, f"seg-{seg}", "dice", f"{np.clip(value, 0, 1):.6g}"))
    return rows


def put(path: Path, content: bytes, sidecar: dict) -> None:
    """Leave an image and its sidecar."""
    path.with_name(path.name + ".nii.gz").write_bytes(content)
    path.with_name(path.name + ".json").write_text(json.dumps(sidecar))


def write_volumes(path: Path, volumes: dict[str, float], tiny: bytes, sidecar: dict, seg: str = "tissue") -> None:
    """Leave a dseg and its table."""
    put(path, tiny, sidecar)
    lines = ["index\tname\tvolume_mm3\tvolume_soft_mm3"]
    lines += [f"{i}\t{name}\t{v:.6g}\t{1.01 * v:.6g}" for i, (name, v) in enumerate(volumes.items(), start=1)]
    if seg != "tissue":
        total = sum(volumes.values())
        lines.append(f"n/a\ttotal intracranial\t{total:.6g}\t{1.01 * total:.6g}")
        sure = ["confidence", *(f"{0.7 + 0.2 * np.cos(i):.4f}" for i in range(len(lines) - 1))]
        lines = [f"{line}\t{value}" for line, value in zip(lines, sure, strict=True)]
    path.with_name(path.name + ".tsv").write_text("\n".join(lines) + "\n")


def metric_rows(contrast: str, method: str, base: float, gain: float) -> list[tuple]:
    """Rows of the metrics table: every metric under every protocol, as the real one has them."""
    rows = []
    for protocol in ("brain-fit", "max", "h2lo", "ulfenc-val", "ulfenc-final", "slice2d"):
        for metric in (name for name in METRICS if name not in ("dice", "volume_difference")):
            for image, shift in (("preproc", 0.0), (method, gain)):
                psnr = base + shift + (0 if protocol == "brain-fit" else 3)
                value = psnr if metric.startswith("psnr") else 0.05 - psnr / 1e3 if metric == "nmse" else psnr / 30
                rows.append((contrast, image, "brain", protocol, metric, f"{value:.6g}"))
    return rows


def write_record(path: Path, cohort: Cohort, rng: np.random.Generator) -> None:
    """Leave the record of a session."""
    scans = [
        {
            "File": f"acq-{plane}_{contrast}.nii.gz",
            "Contrast": contrast,
            "Plane": plane,
            "Zooms": [1.6, 1.6, 5.0],
            "SNR": 14 + rng.normal(),
            "RotationDeg": float(rng.uniform(0, 4)),
            "TranslationMm": float(rng.uniform(0, 3)),
            "Coverage": 0.97,
            "Similarity": 0.5,
        }
        for contrast in cohort.contrasts
        for plane in ("axi", "cor", "sag")
    ]
    risk = {contrast: {"FractionAbove": 0.004, "FractionSeen": 1.0} for contrast in cohort.contrasts}
    reference = {"Session": cohort.reference, "Files": []} if cohort.reference else None
    anatomy = {"MaskVolumeMl": 1450 + rng.normal(0, 80), "TemplateCorrelation": 0.9}
    seen = {"Coverage": {contrast: {"Brain": 1.0, "OnFaceCm2": 0.0, "Cut": []} for contrast in cohort.contrasts}}
    path.write_text(json.dumps({"Scans": scans, "Reference": reference, "Anatomy": anatomy, "Risk": risk} | seen))


if __name__ == "__main__":
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 12
    print(
        *build(
            Path(sys.argv[1]), Cohort(subjects=count, methods=("inr", "interp"), segmentations=("tissue", "regions"))
        )
    )
