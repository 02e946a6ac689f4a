"""The app as a process on a dataset of one small scan: started, watched and disturbed from outside."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.dataset import head_scan, write_scan

NAME = "acq-axi_T1w"
OPTIONS = ("--sloppy", "--method", "interp", "--nprocs", "2", "--mem-gb", "6")


def write_small(root: Path, *subjects: str) -> Path:
    """The dataset: these subjects, each with the same scan."""
    root.mkdir(parents=True)
    (root / "dataset_description.json").write_text('{"Name": "Faults (simulated)", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("Simulated.\n")
    image = head_scan()
    for subject in subjects:
        write_scan(root, subject, "HFC", NAME, image)
    return root


class App:
    """One dataset, one OUT_DIR, one work folder; ``before`` comes in front of every command."""

    def __init__(self, bids: Path, out: Path, work: Path, before: tuple[str, ...] = ()) -> None:
        self.bids, self.out, self.work, self.before = bids, out, work, before

    def command(self, *words: str) -> list[str]:
        call = [sys.executable, "-m", "bids_lfenhance", str(self.bids), str(self.out), "participant"]
        return [*self.before, *call, "-w", str(self.work), *OPTIONS, *words]

    def run(self, *words: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words), capture_output=True, text=True, check=False, timeout=600, env=os.environ | environment
        )

    @contextmanager
    def started(self, *words: str, **environment: str) -> Iterator[subprocess.Popen]:
        """The process; its words are read by ``communicate``."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ | environment}
        with subprocess.Popen(self.command(*words), **pipes) as process:
            try:
                yield process
            finally:
                process.kill()

    def at(self, step: str) -> int | None:
        """The worker that is at this step (``enhance``, or ``session_HFC_wf/enhance`` of that session alone) of this
        work folder now: known by the folder that it stands in.
        """
        return next((pid for pid, where in self.workers().items() if where.as_posix().endswith(f"/{step}")), None)

    def workers(self) -> dict[int, Path]:
        """Every process that stands in a folder of this work, and which."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                where = (entry / "cwd").readlink()
                if self.work in where.parents:
                    found[int(entry.name)] = where
        return found

    def wait_for(self, step: str, process: subprocess.Popen, seconds: float = 300) -> int | None:
        """The worker that is at this step; None where the run ended before."""
        return wait(lambda: self.at(step), process, seconds)

    def clear(self) -> None:
        for folder in (self.out, self.work):
            shutil.rmtree(folder, ignore_errors=True)


def wait(found: Callable[[], Any], process: subprocess.Popen, seconds: float = 300) -> Any:
    """What ``found`` finds; None where the process ended before, an error after so many seconds."""
    ends = time.monotonic() + seconds
    while process.poll() is None:
        if time.monotonic() > ends:
            raise TimeoutError(f"found nothing in {seconds} s")
        if answer := found():
            return answer
        time.sleep(0.05)
    return None


def images(out: Path) -> dict[str, str]:
    """Hash of every image by its path."""
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in out.rglob("*.nii.gz")}


def written(folder: Path) -> dict[str, tuple[int, int]]:
    """When every file was last written (ns), and which it is on its disk, by its path: other than before if written
    anew, be it with the same bytes.
    """
    files = {p.relative_to(folder).as_posix(): p.stat() for p in folder.rglob("*") if p.is_file()}
    return {name: (state.st_mtime_ns, state.st_ino) for name, state in files.items()}


def measured_steps(out: Path) -> set[str]:
    """The steps that the last run did itself, by their full names; ``--resource-monitor`` makes a run tell them."""
    table = max(out.glob("logs/*/resources.tsv"), key=lambda path: path.stat().st_mtime_ns)
    return {line.partition("\t")[0] for line in table.read_text().splitlines()[1:]}


def tables(out: Path) -> dict[str, Any]:
    """Every JSON of the subjects without ``Runtime``, and every table, by its path."""
    found: dict[str, Any] = {}
    for path in out.glob("sub-*/**/*"):
        if path.suffix == ".json":
            found[path.relative_to(out).as_posix()] = _timeless(json.loads(path.read_text()))
        elif path.suffix in (".tsv", ".txt"):
            found[path.relative_to(out).as_posix()] = path.read_text()
    return found


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in value.items() if key != "Runtime"}
    return [_timeless(inner) for inner in value] if isinstance(value, list) else value


def leftovers(out: Path) -> list[Path]:
    """Half-written files and locks: what no run may leave behind, however it ended, once another has ended well."""
    return [*out.rglob(".tmp-*"), *out.rglob(".sub-*.lock")]
