"""Faults injected from outside the process, on one dataset and mostly in one run: docs/reliability.md tells which."""

import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.dataset import LOW, head_scan, write_scan

NAME = "acq-axi_T1w"
OPTIONS = ("--sloppy", "--method", "interp", "--nprocs", "2", "--mem-gb", "6")
GOOD = "01"
NAMED = {
    "02": "0 bytes",
    "03": "annex",
    "04": "cut short",
    "05": "ImagingFrequency",
    "06": "not one volume",
    "07": "ImagingFrequency",
    "08": "cut short",
    "09": "finite",
    "10": "JSON",
}
"""What is said of each broken subject; 06 is checked by its shape, see below."""

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>"
"""What a dataset could say wherever it may say something."""

TOLD = """
import os, sys
def tell(event, args):
    remote = event == "socket.connect" and not isinstance(args[1], (str, bytes))  # a name is a socket of this machine
    if remote or event in ("socket.getaddrinfo", "socket.gethostbyname", "urllib.Request", "ftplib.connect"):
        with open(os.environ["CALLS"], "a") as file:
            file.write(f"{event} {args}\\n")
sys.addaudithook(tell)
"""
"""A sitecustomize.py: Python tells of every attempt to reach the network, in every process of a run."""

NAMESPACES = """
set -e
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1"
mount -t tmpfs -o ro,size=1m tmpfs "$2"
shift 2
exec "$@"
"""
"""A read-only dataset and home, in a mount namespace of its own; ``unshare --net`` takes every interface away."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose name has spaces, quotes and letters of other alphabets; in it the dataset, and a home."""
    folder = tmp_path_factory.mktemp('Kopf \'n "Ünïcödé" 脑 $HOME') / "a b"
    root = folder / "bids"
    root.mkdir(parents=True)
    (folder / "home").mkdir()
    (root / "dataset_description.json").write_text('{"Name": "Schädel & <b>脑</b>", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("Simulated.\n")
    image = head_scan(NAME)
    paths = {subject: write_scan(root, subject, "HFC", NAME, image) for subject in (GOOD, *NAMED)}
    _break(paths, folder)
    side = paths[GOOD].with_name(paths[GOOD].name.replace(".nii.gz", ".json"))
    side.write_text(json.dumps(LOW | dict.fromkeys(("SeriesDescription", "ManufacturersModelName", "Note"), HOSTILE)))
    (root / "participants.tsv").write_text(f"participant_id\tgroup\nsub-{GOOD}\t{HOSTILE}\n")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(TOLD)
    return folder


def _break(paths: dict[str, Path], folder: Path) -> None:
    good = paths[GOOD].read_bytes()
    elsewhere = folder / "store" / "MD5E-s1--ab.nii.gz"  # fetched content of an annex: a link to a read-only file
    elsewhere.parent.mkdir()
    paths[GOOD].rename(elsewhere)
    paths[GOOD].symlink_to(elsewhere)
    paths["02"].write_bytes(b"")
    paths["03"].write_text("/annex/objects/MD5E-s1234--0123456789abcdef.nii.gz\n")
    lie = nib.Nifti1Image.from_bytes(gzip.decompress(good))
    content = bytearray(lie.to_bytes())
    content[42:48] = np.array([900, 900, 900], "<i2").tobytes()
    paths["04"].write_bytes(gzip.compress(bytes(content)))
    side = {subject: path.with_name(path.name.replace(".nii.gz", ".json")) for subject, path in paths.items()}
    side["05"].unlink()
    nib.save(nib.Nifti1Image(np.zeros((40, 40, 40, 3), np.int16), np.diag([4, 4, 4, 1.0])), paths["06"])
    paths["08"].write_bytes(good[: len(good) // 2])
    holes = lie.get_fdata(dtype=np.float32)
    holes[::2] = np.nan
    nib.save(nib.Nifti1Image(holes, lie.affine), paths["09"])
    side["10"].write_text("{broken")
    side["07"].write_text(json.dumps({key: [value, 2 * value] for key, value in LOW.items()} | {"Manufacturer": None}))


def command(place: Path, *words: str, out: str = "out") -> list[str]:
    return [
        *(sys.executable, "-m", "bids_lfenhance", str(place / "bids"), str(place / out), "participant"),
        *("-w", str(place / f"work {out}"), *OPTIONS, *words),
    ]


def app(place: Path, *words: str, out: str = "out", before: tuple[str, ...] = ()) -> subprocess.CompletedProcess:
    call = [*before, *command(place, *words, out=out)]
    return subprocess.run(call, capture_output=True, text=True, check=False, timeout=600)


def isolated(place: Path) -> tuple[str, ...]:
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return ()
    there = ("unshare", "--mount", "--net", "sh", "-c", NAMESPACES, "sh", str(place / "bids"), str(place / "home"))
    return there if subprocess.run([*there, "true"], check=False, capture_output=True).returncode == 0 else ()


@pytest.fixture(scope="module")
def run(place: Path) -> subprocess.CompletedProcess:
    """One run under all faults that a run can bear at once: see each test."""
    return app(place, before=("env", f"HOME={place / 'home'}", *telling(place, "calls"), *isolated(place)))


def telling(place: Path, calls: str) -> tuple[str, str]:
    """Environment in which every attempt to reach the network is written to a file."""
    there = os.pathsep.join([str(place / "site"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return f"PYTHONPATH={there}", f"CALLS={place / calls}"


def files(folder: Path) -> dict[str, str]:
    """Hash of every image by its path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*.nii.gz"))
    }


def test_a_sound_subject_is_done_beside_broken_ones(run, place) -> None:
    assert run.returncode == 1, run.stdout + run.stderr
    assert f"1 subject(s) done: sub-{GOOD}" in run.stdout
    assert "Traceback" not in run.stdout + run.stderr
    assert any("desc-interp_T1w" in name for name in files(place / "out")), "its image is a link into an annex"


@pytest.mark.parametrize(("subject", "words"), NAMED.items())
def test_a_broken_file_is_named(run, subject: str, words: str) -> None:
    (line,) = [line for line in run.stdout.splitlines() if line.startswith(f"FAILED sub-{subject}")]
    assert f"sub-{subject}_ses-HFC_{NAME}" in line
    assert ("should be one 3D volume" if subject == "06" else words) in line


@pytest.mark.parametrize("fault", ["no network", "read-only input", "read-only home"])
def test_a_run_needs_neither_network_nor_a_place_to_write_but_its_own(run, place, fault: str) -> None:
    if not (before := isolated(place)):
        pytest.skip("mount and network namespaces need root")
    probe = {
        "no network": "cat /proc/net/dev | grep -qv -e lo: -e '|'",
        "read-only input": f": > '{place}/bids/x'".replace("'n", "'\\''n"),
        "read-only home": ': > "$HOME/x"',
    }[fault]
    env = os.environ | {"HOME": str(place / "home")}
    done = subprocess.run([*before, "sh", "-c", probe], env=env, check=False, capture_output=True)
    assert done.returncode != 0, "the fault is really there"
    assert f"done: sub-{GOOD}" in run.stdout


def test_nothing_is_told_to_anyone(run, place) -> None:
    assert f"done: sub-{GOOD}" in run.stdout
    probe = "import socket; socket.create_connection(('127.0.0.1', 9), 0.1)"
    subprocess.run(["env", *telling(place, "probe"), sys.executable, "-c", probe], check=False, capture_output=True)
    assert "socket.connect" in (place / "probe").read_text(), "an attempt would be seen"
    assert not (place / "calls").exists()


def test_what_the_dataset_is_called_comes_through(run, place) -> None:
    assert json.loads((place / "out/dataset_description.json").read_text())["Name"].startswith("Schädel & <b>脑</b>")
    assert "<b>脑</b>" not in (place / f"out/sub-{GOOD}.html").read_text()


def test_a_read_only_output_is_refused_before_anything_is_computed(place) -> None:
    if not isolated(place):
        pytest.skip("mount namespaces need root")
    (place / "sealed").mkdir(exist_ok=True)
    before = ("unshare", "--mount", "sh", "-c", NAMESPACES, "sh", str(place / "sealed"), str(place / "home"))
    started = time.monotonic()
    done = app(place, out="sealed", before=before)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Read-only file system" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 30


@pytest.fixture(scope="module")
def ended(place: Path) -> tuple[subprocess.CompletedProcess, float, int, str]:
    """A second run of a subject while a first is at it; then SIGTERM to the first, and the seconds it took to leave."""
    words = ("--participant-label", GOOD)
    with subprocess.Popen(
        command(place, *words, out="late"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as first:
        deadline = time.monotonic() + 120
        while not list(place.glob("work late/*/lfenhance/*/*/prepare/*")) and time.monotonic() < deadline:
            time.sleep(0.1)
        second = app(place, *words, out="late")
        assert first.poll() is None, "the first is still at work"
        sent = time.monotonic()
        first.send_signal(signal.SIGTERM)
        _, errors = first.communicate(timeout=60)
    assert first.returncode == 130
    return second, time.monotonic() - sent, first.pid, errors


def test_a_second_run_of_a_subject_is_refused(ended) -> None:
    second, _, pid, _ = ended
    assert second.returncode == 1, second.stdout + second.stderr
    assert f"found process {pid} on host" in second.stdout


def test_sigterm_is_obeyed_within_ten_seconds(ended, place) -> None:
    _, seconds, _, errors = ended
    assert seconds < 10
    assert "run the same command again" in errors
    assert not list((place / "late").rglob(".tmp-*"))
    assert not list((place / "late" / "logs").glob(".sub-*")), "no lock is left"


def test_a_limit_of_memory_is_a_named_failure_and_never_a_hang(place) -> None:
    limit = ("sh", "-c", f'ulimit -v {2**20}; exec "$@"', "sh")
    done = app(place, "--participant-label", GOOD, out="little", before=limit)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    said = done.stdout + done.stderr
    assert "memory" in said.lower()
    assert "Traceback" not in said


@pytest.mark.slow
def test_what_the_kernel_kills_for_want_of_memory_is_named(place) -> None:
    """A control group of 400 MiB: its out-of-memory killer ends a worker, the run goes on to say so."""
    group = Path("/sys/fs/cgroup/memory") / f"test-{os.getpid()}"
    if os.geteuid() != 0 or not (group.parent / "cgroup.procs").exists():
        pytest.skip("needs root, and the memory control group of version 1")
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(400 * 2**20))
        enter = ("sh", "-c", f'echo $$ > {group}/cgroup.procs && exec "$@"', "sh")
        done = app(place, "--participant-label", GOOD, out="few", before=enter)
        assert "oom_kill 0" not in (group / "memory.oom_control").read_text(), "the fault was really there"
    finally:
        for _ in range(50):
            try:
                group.rmdir()
                break
            except OSError:
                time.sleep(0.2)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "found its process killed from outside (most often by the kernel, for want of memory)" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.slow
def test_sixteen_tasks_of_an_array_at_once(run, place) -> None:
    """Each subject by two or three tasks: one does it, the others are refused or find it done; all files stay whole."""
    subjects = [*(GOOD, *NAMED) * 3][:16]
    started = [
        subprocess.Popen(
            command(place, "--participant-label", subject, out="array"),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for subject in subjects
    ]  # fmt: skip
    said = [process.communicate(timeout=900)[0] for process in started]
    assert "Traceback" not in "".join(said)
    ours = [text for subject, text in zip(subjects, said, strict=True) if subject == GOOD]
    assert sum("Everything asked for is on disk" in text for text in ours) >= 1
    assert all("on disk" in text or "at work on it" in text for text in ours)
    assert files(place / "array") == files(place / "out")
    assert json.loads((place / "array/dataset_description.json").read_text())["DatasetType"] == "derivative"
    assert (place / "array/logs/CITATION.md").read_text().startswith("# Methods")
    assert not list((place / "array").rglob(".tmp-*"))
