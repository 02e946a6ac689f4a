"""Many subjects in one run: CPU seconds a subject, memory of the main process as they go by, files left and in flight.

python benchmarks/load.py [--subjects 200] [--nprocs 2] [--place FOLDER]

One low-field T1w stack a subject, cut to 4 mm voxels, all the same image: what is measured is what the app costs, not
what the scan does. Runs ``participant --method interp --sloppy``. CPU seconds are those of every process the run
started, so that they mean the same on a machine with other work; wall seconds do not.
"""

import argparse
import ctypes
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import nibabel as nib
import numpy as np
import psutil

from bids_lfenhance.imaging.grid import Grid, resample
from bids_lfenhance.simulators.demo import scan_subject
from tests.dataset import write_scan

NAME = "acq-axi_T1w"
PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
FLAT_MIB = 50
INODES = 200


def write_subjects(root: Path, count: int) -> None:
    """A dataset of ``count`` subjects with the same 4 mm stack."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "Load (simulated)", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("Simulated.\n")
    scan = next(image for image in scan_subject(np.random.default_rng(3)) if image.name == NAME)
    zooms = np.linalg.norm(scan.affine[:3, :3], axis=0)
    i, j, k = (int(n * z / 4) for n, z in zip(scan.data.shape, zooms, strict=True))
    grid = Grid(scan.affine @ np.diag([*(4 / zooms), 1.0]), (i, j, k))
    small = resample(scan.data.astype(np.float32), scan.affine, grid)
    image = nib.Nifti1Image((small * 1000).astype(np.int16), grid.affine)
    for number in range(count):
        write_scan(root, f"{number:03d}", "HFC", NAME, image)


class Watch:
    """Samples of a run: (subjects done, resident MiB of the main process, inodes in the work folder) every 2 s."""

    def __init__(self, pid: int, out: Path, work: Path) -> None:
        self.rows: list[tuple[int, float, int]] = []
        self._process, self._out, self._work = psutil.Process(pid), out, work
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(2):
            try:
                rss = self._process.memory_info().rss / 2**20
            except psutil.Error:
                return
            self.rows.append((len(list(self._out.glob("sub-*.html"))), rss, inodes(self._work)))

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


def inodes(folder: Path) -> int:
    return sum(len(files) + len(folders) for _, folders, files in os.walk(folder))


def run(place: Path, nprocs: int) -> dict[str, float]:
    """What the run took: wall, CPU, samples of memory and files; every descendant's CPU is counted, orphans too."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    bids, out, work = (place / name for name in ("bids", "out", "work"))
    words = [sys.executable, "-m", "bids_lfenhance", str(bids), str(out), "participant", "-w", str(work)]
    words += ["--method", "interp", "--sloppy", "--nprocs", str(nprocs), "--mem-gb", "6", "--resource-monitor"]
    began = time.monotonic()
    with (place / "log.txt").open("w") as log:
        process = subprocess.Popen(words, stdout=log, stderr=log)
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        watch = Watch(process.pid, out, work)
        _, status, usage = os.wait4(process.pid, 0)
    wall = time.monotonic() - began
    watch.end()
    while True:  # the fork server and its workers, handed over to us
        try:
            os.wait()
        except ChildProcessError:
            break
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = len(list(out.glob("sub-*.html")))
    first = [row for row in watch.rows if row[0] >= max(2, done // 10)] or watch.rows
    tenth = max(1, len(first) // 10)
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "subjects": done,
        "wall_s": round(wall, 1),
        "cpu_s": round(spent.ru_utime + spent.ru_stime, 1),
        "cpu_s_per_subject": round((spent.ru_utime + spent.ru_stime) / max(done, 1), 2),
        "cpu_s_main_process": round(usage.ru_utime + usage.ru_stime, 1),
        "main_rss_mib_after_a_tenth": round(float(np.median([row[1] for row in first[:tenth]])), 1),
        "main_rss_mib_at_the_end": round(float(np.median([row[1] for row in first[-tenth:]])), 1),
        "main_rss_mib_peak": round(max(row[1] for row in watch.rows), 1),
        "inodes_out_per_subject": round(sum(inodes(p) + 1 for p in out.glob("sub-*") if p.is_dir()) / max(done, 1) + 1),
        "inodes_work_peak": max(row[2] for row in watch.rows),
        "inodes_work_at_the_end": inodes(work),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subjects", type=int, default=200)
    parser.add_argument("--nprocs", type=int, default=2)
    parser.add_argument("--place", type=Path, help="where to put dataset and results (default: a temporary folder)")
    given = parser.parse_args()
    place = given.place or Path(tempfile.mkdtemp(prefix="load-"))
    shutil.rmtree(place, ignore_errors=True)
    write_subjects(place / "bids", given.subjects)
    print(f"load before the run: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors", flush=True)
    found = run(place, given.nprocs)
    print(json.dumps(found, indent=1))
    grown = found["main_rss_mib_at_the_end"] - found["main_rss_mib_after_a_tenth"]
    print(f"memory of the main process: {grown:+.1f} MiB over the last nine tenths (flat: below {FLAT_MIB})")
    print(f"inodes a subject leaves: {found['inodes_out_per_subject']} (at most {INODES})")
    if not given.place:
        shutil.rmtree(place)
    good = found["exit_code"] == 0 and grown < FLAT_MIB and found["inodes_out_per_subject"] <= INODES
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
