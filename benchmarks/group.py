"""What the group level takes for a large study: 200 made-up subjects, two sessions, two contrasts, two methods.

    python benchmarks/group.py [OUT] [--subjects 200]

Each image has tables of tissue and of 32 regions (tests/reports/fake_cohort.py; the images are a few voxels, the tables
are whole: 12 000 files). Prints CPU-seconds, seconds and the peak of memory of the whole command, import included.
"""

import argparse
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.reports.fake_cohort import Cohort, build  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--subjects", type=int, default=200)
    given = parser.parse_args()
    root = given.out or Path(tempfile.mkdtemp())
    if not (root / "derivative").is_dir():
        build(root, Cohort(given.subjects, methods=("inr", "interp"), segmentations=("tissue", "regions")))
    words = [sys.executable, "-m", "bids_lfenhance", str(root / "raw"), str(root / "derivative"), "group"]
    started = time.perf_counter()
    code = subprocess.run(words, cwd=ROOT, check=False).returncode
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    files = sum(1 for path in (root / "derivative").rglob("*") if path.is_file())
    page = (root / "derivative" / "group.html").stat().st_size / 2**20
    print(
        f"{given.subjects} subjects, {files} files: exit code {code}, {used.ru_utime + used.ru_stime:.1f} CPU-seconds, "
        f"{seconds:.1f} s, {used.ru_maxrss / 1024:.0f} MiB, page {page:.1f} MiB"
    )
    if given.out is None:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
