"""``h2lo`` trained on pairs of a scanner it is told nothing of. SIMULATED low field: the independent oracle of tests/.

python benchmarks/hidden_scanner.py OUT --contrast T1w --train sub-01 sub-03 … --validation sub-11 --test sub-12
python benchmarks/simulators.py OUT                 # then: how near it comes, beside the other simulators

A pair: real high field at 1 mm, its brain and place in common space, and the plain mean of three thick stacks of the
oracle, each off by .3 mm and .3° (fidelity.py; "patient01" is the thick T2w of open_ms, which has a skull). A subject
is scanned once, patient19, of whom alone there is a fine T2w, ``--scans`` times. The same command goes on where it
stopped.
"""

import argparse
import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fidelity import SHARED, high_field
from bids_lfenhance.imaging.anatomy import find_anatomy
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.template import fit_affine, load_head_template
from bids_lfenhance.imaging.volume import volume_from_channels
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.simulators.source import common_place
from bids_lfenhance.training.examples import list_examples, write_example
from bids_lfenhance.training.loop import train
from bids_lfenhance.training.run import TrainOptions
from bids_lfenhance.training.split import Split
from tests import oracle

DS002748 = "Resting state with closed eyes for patients with depression and healthy participants"
"""Its name in dataset_description.json, by which weights name whom they have seen."""

LICENCES = {DS002748: "CC0 (OpenNeuro ds002748 v1.0.5)", "open_ms": "CC-BY 4.0 (Lesjak et al.)"}

PLANES = ("axi", "cor", "sag")


@dataclass(frozen=True)
class Head:
    """High field (X, Y, Z) of the brain, its mask and tissue, grid, and the file it was read from."""

    image: np.ndarray
    brain: np.ndarray
    tissue: np.ndarray
    grid: Grid
    file: Path


def head_of(data: Path, subject: str, contrast: str) -> Head:
    """A head in a contrast that was really acquired."""
    if subject == "patient01":
        file = data / "open_ms" / "longitudinal" / subject / f"study1_{contrast.upper()}.nii.gz"
        image, affine = oracle.load_head(file)
        grid = Grid(affine, image.shape)
        brain = find_anatomy(image, grid, contrast).mask
        image = image * brain
        return Head(image, brain, oracle.tissue_by_intensity(image, brain, t1_like=contrast == "T1w"), grid, file)
    real, grid, brain = high_field(data, subject)
    name = f"T{contrast[1]}.nii.gz" if subject.startswith("patient") else f"anat/{subject}_{contrast}.nii.gz"
    file = next(data.rglob(f"{subject}/{name}"))
    return Head(real[contrast] * brain, brain, oracle.tissue_by_intensity(real["T1w"], brain), grid, file)


def person_of(subject: str) -> tuple[str, str]:
    """(Dataset, label)."""
    return ("open_ms", subject) if subject.startswith("patient") else (DS002748, subject.removeprefix("sub-"))


def write_pairs(folder: Path, data: Path, subject: str, contrast: str, scans: int) -> None:
    """The examples of a subject, where they are not there yet."""
    missing = [number for number in range(scans) if not (folder / f"{subject}_{number}").exists()]
    if not missing:
        return
    head = head_of(data, subject, contrast)
    dataset, label = person_of(subject)
    place = common_place(fit_affine(head.image, head.grid, load_head_template())[0], head.grid)
    high = volume_from_channels(head.grid, {contrast: head.image})
    origin = {"simulator": "hidden scanner: tests/oracle.py", "licence": LICENCES[dataset], "planes": list(PLANES)}
    source = (str(head.file.relative_to(data)), hashlib.sha256(head.file.read_bytes()).hexdigest())
    for number in missing:
        rng = np.random.default_rng([number, *subject.encode()])
        session = oracle.acquire_session(
            head.image, head.grid.affine, head.tissue, rng, contrasts=[contrast], planes=PLANES
        )
        stacks = oracle.misaligned(session, rng, oracle.head_centre(head.image, head.grid.affine))
        low = volume_from_channels(head.grid, {contrast: fuse_mean(stacks, head.grid)})
        to = folder / f"{subject}_{number}"
        about = (label, str(number), origin)
        write_example(to, low, high, head.brain, place, "pairs", *about, dataset=dataset, sources=[source])
        print(f"{subject} {number} written", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--contrast", default="T1w", choices=["T1w", "T2w"])
    parser.add_argument("--train", nargs="+", required=True, metavar="SUBJECT")
    parser.add_argument("--validation", nargs="*", default=[], metavar="SUBJECT")
    parser.add_argument("--test", nargs="+", required=True, metavar="SUBJECT")
    parser.add_argument("--scans", type=int, default=1, help="of each person, each with noise and motion of its own")
    parser.add_argument("--preset", default="tiny", choices=["tiny", "paper"])
    parser.add_argument("--steps", type=int, help="of the training (default: those of the preset)")
    parser.add_argument("--max-minutes", type=float, default=0.0, help="of the training; 0: no limit")
    parser.add_argument("--data", type=Path, default=SHARED)
    given = parser.parse_args()
    parts = {name: getattr(given, name) for name in ("train", "validation", "test")}
    for subject in (one for part in parts.values() for one in part):
        write_pairs(given.out / "examples", given.data, subject, given.contrast, given.scans)
    people = [tuple("/".join(person_of(one)) for one in part) for part in parts.values()]
    split = Split(people[0], people[1], people[2])
    method = get_trainable("h2lo")
    changed = dict(method.about.presets[given.preset]) | ({"steps": given.steps} if given.steps else {})
    settings = method.about.settings(**changed, contrast=given.contrast)
    options = TrainOptions(validate_every=100, checkpoint_every=50, max_seconds=60 * given.max_minutes)
    trained = train(method, settings, list_examples(given.out / "examples"), split, given.out, options)
    print(f"{trained.steps} steps, {trained.seconds / 60:.1f} min, validation {trained.score} dB: {given.out}")


if __name__ == "__main__":
    main()
