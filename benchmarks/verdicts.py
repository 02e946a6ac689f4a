"""Whether what an image is said to be usable for is right, on SIMULATED low field made bad in twelve ways, and good.

python benchmarks/verdicts.py run --work FOLDER [--side choose|show] [--minutes 9]   # as often as needed: it goes on
python benchmarks/verdicts.py table --work FOLDER                                   # benchmarks/results/verdicts.tsv

Scans: benchmarks/bad_scans.py, of two sides that share nobody: on *choose* thresholds may be chosen, *show* is for the
table. Every scan is a dataset, goes through the plan and the steps of the participant level (its image is the plain
mean; grid and registrations are those of --sloppy, but it is judged as if it were not), and has no high field.
What was found is kept in FOLDER; ``table`` judges it by the thresholds as they are now.
"""

import argparse
import csv
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from benchmarks.bad_scans import THREE, WAYS, good, load
from benchmarks.fidelity import SHARED
from bids_lfenhance.bids.plan import make_plan, why_nothing
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.config import RunSpec, Settings
from bids_lfenhance.errors import InputError
from bids_lfenhance.evaluation.evidence import evidence
from bids_lfenhance.evaluation.usable import judge
from bids_lfenhance.imaging.volume import load_volume, save_volume
from bids_lfenhance.interfaces.assess import MapRisk, SegmentTissue
from bids_lfenhance.interfaces.prepare import FindAnatomy, PrepareSession
from bids_lfenhance.interfaces.write import WriteSession
from bids_lfenhance.workflows.inputs import scan_input
from bids_lfenhance.workflows.run import make_run_spec

OUT = Path(__file__).resolve().parent / "results" / "verdicts.tsv"

GOOD = "good"

STACKS = (("axi",), THREE, ("axi", "cor"), ("iso",), (*THREE, "iso"), ("axi", "sag"))


@dataclass(frozen=True)
class Trial:
    """One scan to be judged: a person, and a way with its form, or a good session with its SNR."""

    side: str
    way: str
    person: str
    number: int
    contrast: str = "T1w"
    planes: tuple[str, ...] = ()
    snr: float = 14.0

    @property
    def name(self) -> str:
        return f"{self.side}_{self.way}_{self.number}_{self.person}".replace(" ", "-").replace("×", "x")


def trials() -> Iterator[Trial]:
    """24 bad and 12 good to choose by, 24 and 24 others to show."""
    people = {
        "choose": ([f"sub-{n}" for n in range(13, 25)], ["norm", "map01", "map02", "map03", "map04", "map05"]),
        "show": ([f"sub-{n}" for n in (*range(33, 41), *range(44, 48))], ["head", "patient19"]),
    }
    whole = {
        "choose": ["sub-25", "sub-26", "sub-27", "sub-28", "sub-29", "sub-30", "norm", *(f"map0{n}" for n in "12345")],
        "show": [
            *(f"sub-{n}" for n in (48, 49, 50, 51, 56, 57, 58, 59, 60, 61, 65, 66)),
            *("head", "head", "patient19", "patient19", "patient19"),
            *(f"map{n:02d}" for n in range(6, 13)),
        ],
    }
    for side, (ones, others) in people.items():
        for number, way in enumerate(WAYS):
            yield Trial(side, way, ones[number], 0)
            yield Trial(side, way, others[number % len(others)], 1)
        for number, person in enumerate(whole[side]):
            snr = float(np.linspace(6, 20, len(whole[side]))[number * 5 % len(whole[side])])
            contrast = ("T1w", "T2w")[number // 2 % 2 if person.startswith("sub") else number % 2]
            yield Trial(side, GOOD, person, number, contrast, STACKS[number % len(STACKS)], round(snr, 1))


def write(trial: Trial, data: Path, dataset: Path) -> None:
    """The dataset of one trial."""
    head, rng = load(data, trial.person), np.random.default_rng([ord(letter) for letter in trial.name])
    if trial.way == GOOD:
        motion = (rng.uniform(0, 3), rng.uniform(0, 3))
        files = good(head, trial.contrast, trial.planes, rng, motion=motion, snr=trial.snr)
    else:
        files = WAYS[trial.way](head, rng, trial.number)
    folder = dataset / "sub-01" / "ses-LF" / "anat"
    folder.mkdir(parents=True)
    about = {"Name": "simulated", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (dataset / "dataset_description.json").write_text(json.dumps(about))
    for file in files:
        file.write(folder)


def found(dataset: Path, folder: Path) -> list[dict[str, Any]]:
    """The record of each image that the app makes of the dataset, or of why it makes none."""
    try:
        plan = make_plan(dataset)
        if not plan.sessions:
            return [{"Failure": "; ".join(text for _, text in plan.failed) or why_nothing(plan)}]
        settings = Settings(dataset, folder / "out", method="interp", sloppy=True)
        return process(plan.sessions[0], make_run_spec(settings, {}, "cpu"), folder)
    except InputError as error:
        return [{"Failure": str(error)}]


def process(session: LowFieldSession, spec: RunSpec, folder: Path) -> list[dict[str, Any]]:
    """The records of a session that the steps of the participant level leave, run one after the other."""

    def run(step: type, name: str, **given: Any) -> dict[str, Any]:
        (folder / name).mkdir(parents=True)
        return step(**given).run_step(folder / name)

    prepared = run(PrepareSession, "prepare", scans=[scan_input(scan) for scan in session.stacks], sloppy=True)
    anatomy = run(FindAnatomy, "anatomy", volume=prepared["volume"], sloppy=True)
    tissue = run(SegmentTissue, "tissue", volume=prepared["volume"], anatomy=anatomy["anatomy"])
    image = load_volume(tissue["volume"])
    made = str(save_volume(replace(image, stacks=(), tissue=None), folder / "image.npz"))
    risk = run(MapRisk, "risk", enhanced=made, acquired=tissue["volume"])
    files = run(
        WriteSession,
        "write",
        session=session,
        spec=replace(spec.without_resources, sloppy=False),
        qc=prepared["qc"],
        quality=anatomy["quality"],
        anatomy=anatomy["anatomy"],
        acquired=tissue["volume"],
        labels=tissue["labels"],
        volumes=tissue["volumes"],
        enhanced=made,
        std=None,
        provenance={"Runtime": {}, "settings": {}},
        enhanced_labels=tissue["labels"],
        enhanced_volumes=tissue["volumes"],
        risk=risk["volume"],
        risk_record=risk["record"],
    )["files"]
    quality = json.loads(next(Path(file) for file in files if file.endswith("preproc_qc.json")).read_text())
    sidecars = {
        contrast: json.loads(next(folder.glob(f"out/**/*desc-{spec.label}_{contrast}.json")).read_text())
        for contrast in session.contrasts
    }
    return [evidence(quality, contrast, spec.label, (), about) for contrast, about in sidecars.items()]


def run(work: Path, data: Path, side: str, only: str, minutes: float) -> None:
    """Find what is not found yet, until the time is up."""
    start = time.monotonic()
    bad_and_good_in_turn = sorted(trials(), key=lambda trial: trial.number / (12 if trial.way == GOOD else 1))
    for trial in bad_and_good_in_turn:
        record, dataset, scratch = (work / kind / trial.name for kind in ("records", "bids", "scratch"))
        if trial.side != side or only not in trial.name or record.is_file():
            continue
        if time.monotonic() - start > 60 * minutes:
            print("more to do")
            return
        before = time.process_time()
        if not (dataset / "done").is_file():
            shutil.rmtree(dataset, ignore_errors=True)
            write(trial, data, dataset)
            (dataset / "done").touch()
        made = time.process_time()
        shutil.rmtree(scratch, ignore_errors=True)
        records = found(dataset, scratch)
        shutil.rmtree(scratch, ignore_errors=True)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text(json.dumps(records, default=float))
        print(trial.name, f"{made - before:.0f} + {time.process_time() - made:.0f} CPU-s")
        for one in map(judge, records):
            print("   ", " ".join(one.words.values()), *one.reasons, sep="; ", flush=True)


def table(work: Path) -> None:
    """The table of all that was found, and the confusion table of both sides printed."""
    rows = []
    for trial in trials():
        record = work / "records" / trial.name
        if not record.is_file():
            continue
        judged = [judge(one) for one in json.loads(record.read_text())]
        one = max(judged, key=lambda usable: [("yes", "check", "no").index(word) for word in usable.words.values()])
        about = {"side": trial.side, "way": trial.way, "person": trial.person}
        about |= {"contrast": trial.contrast, "planes": "+".join(trial.planes), "snr": f"{trial.snr:g}"}
        rows.append(about | one.words | {"reasons": " | ".join(one.reasons)})
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "table"))
    parser.add_argument("--work", type=Path, required=True, help="folder of datasets and of what was found")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--side", choices=("choose", "show"), default="choose")
    parser.add_argument("--only", default="", help="scans whose name holds this: half-a-head_0")
    parser.add_argument("--minutes", type=float, default=9.0, help="begin no further scan after so long")
    given = parser.parse_args()
    if given.what == "run":
        run(given.work, given.data, given.side, given.only, given.minutes)
    else:
        table(given.work)


if __name__ == "__main__":
    main()
