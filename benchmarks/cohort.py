"""A simulated cohort through every level: simulate, participant, group. SIMULATED low field.

    python benchmarks/cohort.py OUT --weights REGIONS [--people 01 02 ...] [--data ../shared/data/ds002748]
    python benchmarks/cohort.py OUT --weights none            # tissue alone
    python benchmarks/cohort.py OUT --costs                   # what the participant level took, step by step

Twelve people of ds002748 (T1w, taken as 3 T), each scanned twice over by the physics simulator (ses-SIM1 and ses-SIM2:
contrast, bias field and noise drawn anew, as two visits) in three thick stacks of the 64 mT protocol; ``--method
interp`` (super-resolution fusion, nothing learnt) beside the plain mean. Started again, it goes on where it stopped:
so do the levels. Pages: OUT/derivative/group.html and sub-<label>.html.
"""

import argparse
import csv
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data" / "ds002748"
PEOPLE = tuple(f"{number:02d}" for number in range(1, 13))
STACKS = ("hyperfine-axi", "hyperfine-cor", "hyperfine-sag")


def commands(given: argparse.Namespace) -> list[list[str]]:
    """The words of the three levels."""
    raw, out = str(given.out / "raw"), str(given.out / "derivative")
    people = ["--participant-label", *given.people]
    enough = ["--nprocs", str(given.nprocs)]
    regions = ["--segmentation-weights", str(Path(given.weights).resolve())]
    regions = {"none": ["--segmentation", "none"], "auto": ["--segmentation", "builtin"]}.get(given.weights, regions)
    simulated = ["--presets", *STACKS, "--draws", "2", "--high-field", "link", "--assume-field-strength", "3"]
    watched = ["--omp-nthreads", "1", "-w", str(given.out / "work"), "--resource-monitor"]
    return [
        [str(given.data), raw, "simulate", *people, *simulated, *enough],
        [raw, out, "participant", *people, "--method", "interp", *regions, *enough, *watched],
        [raw, out, "group"],
    ]


def costs(out: Path) -> str:
    """CPU-seconds, seconds and MiB of each step, the dearest first, then their sum by subject."""
    tables = sorted((out / "derivative" / "logs").glob("*/resources.tsv"), key=lambda path: path.stat().st_mtime)
    nodes: dict[str, tuple[float, float, float]] = {}
    for table in tables:
        with table.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                cpu, wall, peak = (float(row[key]) for key in ("cpu_seconds", "seconds", "peak_memory_mib"))
                nodes[row["node"]] = cpu, wall, peak
    people = {node.split(".")[1] for node in nodes}
    steps: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for node, usage in nodes.items():
        steps[" ".join(word.split("_")[0] for word in node.split(".")[2:-1]) + " " + node.split(".")[-1]].append(usage)
    lines = [f"{'step':<28}{'runs':>6}{'CPU-s each':>12}{'s each':>9}{'peak MiB':>10}"]
    for step, runs in sorted(steps.items(), key=lambda item: -sum(run[0] for run in item[1])):
        cpu, wall = (sum(run[place] for run in runs) / len(runs) for place in (0, 1))
        lines.append(f"{step:<28}{len(runs):>6}{cpu:>12.1f}{wall:>9.1f}{max(run[2] for run in runs):>10.0f}")
    whole = sum(usage[0] for usage in nodes.values()) / max(len(people), 1)
    return "\n".join(
        [*lines, f"{whole:.0f} CPU-seconds per subject at the participant level, {len(people)} subject(s)"]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", default="auto", help="of the regions: a folder, auto (bundled), or none")
    parser.add_argument("--people", nargs="+", default=PEOPLE)
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--costs", action="store_true")
    given = parser.parse_args()
    if not given.costs:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
        for words in commands(given):
            done = subprocess.run([sys.executable, "-m", "bids_lfenhance", *words], env=environment, check=False)
            code = done.returncode
            if code == 2 or (code and words[2] != "group"):
                sys.exit(code)
    print(costs(given.out))


if __name__ == "__main__":
    main()
