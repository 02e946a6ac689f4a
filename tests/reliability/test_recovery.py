"""Killed, ended, starved of disk, its clock turned: run again, a run ends as one that was never disturbed.

Moments are chosen by the step a worker is at, seen from outside by the folder it stands in, then a random delay. All
faults of a test strike one OUT_DIR, one after the other: harder than one fault each, for the ruins add up.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.dataset import head_scan, write_scan
from tests.reliability.app import NAME, App, images, leftovers, measured_steps, tables, write_small, written

STEPS = ("prepare", "prepare", "anatomy", "anatomy", "tissue", "enhance", "risk", "write", "write", "report")
"""Where ten kills strike, in the order of the graph."""

LEAVES_S = 10

CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>

static int64_t shift(void) {
    static volatile int64_t *shared;
    if (!shared) {
        int file = open(getenv("CLOCK"), O_RDONLY | O_CLOEXEC);
        shared = mmap(0, 8, PROT_READ, MAP_SHARED, file, 0);
    }
    return *shared;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int code = real(which, now);
    if (which == CLOCK_REALTIME) now->tv_sec += shift();
    return code;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec t;
    int code = clock_gettime(CLOCK_REALTIME, &t);
    now->tv_sec = t.tv_sec, now->tv_usec = t.tv_nsec / 1000;
    return code;
}

time_t time(time_t *now) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    if (now) *now = t.tv_sec;
    return t.tv_sec;
}
"""
"""Turns the wall clock of a process, and no other, by what a file says at the moment. (libfaketime breaks sleeping.)"""

ROOT_NEEDED = "mounting a small disk needs root"


@pytest.fixture(scope="module")
def bids(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_small(tmp_path_factory.mktemp("faults") / "bids", "01")


@pytest.fixture(scope="module")
def undisturbed(bids: Path) -> Path:
    """What a run leaves that nothing happened to."""
    app = App(bids, bids.parent / "calm", bids.parent / "calm work")
    done = app.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return app.out


@pytest.fixture
def app(bids: Path, tmp_path: Path) -> App:
    return App(bids, tmp_path / "out", tmp_path / "work")


@contextmanager
def small_disk(folder: Path) -> Iterator[Callable[[int | None], None]]:
    """A disk of its own at ``folder``; what is yielded leaves so many KiB free, or (None) makes it large again."""
    if os.geteuid() != 0:
        pytest.skip(ROOT_NEEDED)
    folder.mkdir(parents=True)
    call = ["mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", str(folder)]
    if subprocess.run(call, check=False, capture_output=True).returncode:
        pytest.skip("this machine does not let us mount a tmpfs")

    def full(free: int | None) -> None:
        size = "3g" if free is None else f"{shutil.disk_usage(folder).used // 1024 + free}k"
        subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)

    try:
        yield full
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def assert_as_undisturbed(app: App, undisturbed: Path) -> None:
    """Run once more, all is there, and nothing tells the two apart but ``Runtime``."""
    done = app.run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything asked for is on disk" in done.stdout
    assert images(app.out) == images(undisturbed)
    assert tables(app.out) == tables(undisturbed)
    assert leftovers(app.out) == []
    assert not list(app.work.rglob("*.npz")), "intermediate files of a finished subject"


def kill_main(app: App, step: str, delay: float, *words: str) -> str:
    """What a run said that was killed, workers and all, a while after it came to a step."""
    with app.started(*words) as process:
        app.wait_for(step, process)
        time.sleep(delay)
        process.kill()
        said = "".join(process.communicate())
    ends = time.monotonic() + LEAVES_S
    while app.workers() and time.monotonic() < ends:
        time.sleep(0.1)
    assert not app.workers(), "no worker outlives its run"
    return said


def kill_worker(app: App, step: str, delay: float) -> str:
    """What a run said whose worker was killed a while after it came to a step: named, on the page too, exit code 1."""
    with app.started() as process:
        worker = app.wait_for(step, process)
        time.sleep(delay)
        at = app.at(step)
        if worker is not None and at == worker:
            os.kill(worker, signal.SIGKILL)
        out, errors = process.communicate(timeout=300)
    assert "Traceback" not in out + errors
    if "process killed" not in out:  # it had finished that step before the signal came
        return ""
    assert process.returncode == 1, out + errors
    assert f"FAILED sub-01: session HFC, {step}: " in out or f"FAILED sub-01: {step}: " in out, out
    page = app.out / "sub-01.html"
    assert "found its process killed from outside" in page.read_text(), "the report tells of the crash"
    return out


def end_by_sigterm(app: App, step: str) -> None:
    with app.started() as process:
        app.wait_for(step, process)
        sent = time.monotonic()
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert time.monotonic() - sent < LEAVES_S
    assert process.returncode == 130
    assert "run the same command again to go on where it stopped" in errors


def fill(app: App, step: str, full: Callable[[int | None], None], free: int = 24) -> bool:
    """The disk is full when a run comes to a step: said in words, exit code 1, no image without its sidecar.

    Whether it was full in time: a step may have written its last before.
    """
    with app.started() as process:
        app.wait_for(step, process)
        full(free)
        out, errors = process.communicate(timeout=300)
    if process.returncode == 0:
        full(None)
        return False
    assert process.returncode == 1, out + errors
    assert "no space left on the device" in (out + errors).lower(), out + errors
    assert "Traceback" not in out + errors
    assert "Not everything asked for is on disk" in out
    for image in app.out.rglob("*.nii.gz"):
        assert image.with_name(image.name.replace(".nii.gz", ".json")).is_file()
    full(None)
    return True


def damage_intermediate_files(app: App) -> None:
    """One is gone, one is cut short, and so is what a step left of its results: they are made again."""
    steps = {path.parent.name: path for path in app.work.rglob("result_*.pklz")}
    next(steps["enhance"].parent.glob("*.npz")).unlink()
    steps["anatomy"].write_bytes(steps["anatomy"].read_bytes()[:100])
    image = next(steps["tissue"].parent.glob("*.npz"))
    image.write_bytes(image.read_bytes()[:-100])


def test_a_run_goes_on_when_nobody_reads_what_it_says(app: App, undisturbed: Path) -> None:
    """``2>&1 | head``, or a terminal that was closed: the log has all."""
    with app.started("--segmentation", "none") as process:
        process.stderr.close()
        process.stdout.close()
        process.wait(timeout=300)
    assert images(app.out)
    assert images(app.out).items() <= images(undisturbed).items()
    assert "sub-01 report" in next(app.out.glob("logs/*/run.log")).read_text()


def test_a_kill_a_signal_a_full_disk_and_a_half_written_file_one_after_the_other(app: App, undisturbed: Path) -> None:
    """The short form of the tests below."""
    with small_disk(app.out) as full:
        kill_main(app, "anatomy", 0.3)
        assert fill(app, "risk", full)
        end_by_sigterm(app, "write")
        damage_intermediate_files(app)
        assert kill_worker(app, "report", 0.0)
        half_written = next(app.out.rglob("*_desc-interpRisk_T1w.nii.gz"))
        half_written.rename(half_written.with_name(f".tmp-0123456789ab-{half_written.name}"))
        assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_main_process_killed_at_ten_moments(app: App, undisturbed: Path) -> None:
    chance = random.Random(1)
    for step in STEPS:
        kill_main(app, step, chance.uniform(0, 1.5))
    assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_what_one_session_has_is_not_made_again_when_the_next_is_killed(tmp_path: Path) -> None:
    """Two sessions, a learned method, one step at a time: one is finished when the kill strikes in the other."""
    bids = write_small(tmp_path / "bids", "01")
    write_scan(bids, "01", "HFE", NAME, head_scan(seed=4))
    calm, app = (App(bids, tmp_path / name, tmp_path / f"{name} work") for name in ("calm", "out"))
    words = ("--method", "cfm", "--nprocs", "1", "--resource-monitor")
    first, second = (f"lfenhance.sub_01_wf.session_{session}_wf." for session in ("HFC", "HFE"))
    done = calm.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {f"{first}enhance", f"{second}enhance"} <= measured_steps(calm.out), "the table tells what was done"

    kill_main(app, "session_HFE_wf/enhance", 0.0, *words)
    before = written(app.out / "sub-01" / "ses-HFC")
    assert any(name.endswith("desc-cfm_T1w.nii.gz") for name in before), "the first was finished"
    assert not list(app.out.rglob("*_ses-HFE_*desc-cfm_*")), "the second was not"
    done = app.run(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Everything asked for is on disk" in done.stdout
    steps = measured_steps(app.out)
    assert f"{second}enhance" in steps
    assert not [step for step in steps if step.startswith(first)]
    assert written(app.out / "sub-01" / "ses-HFC") == before
    assert images(app.out) == images(calm.out)
    assert tables(app.out) == tables(calm.out)
    assert leftovers(app.out) == []


@pytest.mark.slow
def test_worker_killed_at_ten_moments(app: App, undisturbed: Path) -> None:
    chance = random.Random(2)
    named = []
    for step in STEPS:
        named.append(bool(kill_worker(app, step, chance.uniform(0, 0.1))))
        if not named[-1]:  # the run was finished before the signal came: the next needs one to strike
            shutil.rmtree(app.out)
            shutil.rmtree(app.work, ignore_errors=True)
    assert sum(named) >= 5, f"too few of the kills came in time: {named}"
    assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_the_step_that_a_gpu_would_do_killed_ten_times(app: App, undisturbed: Path) -> None:
    chance = random.Random(3)
    named = [bool(kill_worker(app, "enhance", chance.uniform(0, 0.8))) for _ in range(10)]
    assert sum(named) >= 5, f"too few of the kills came in time: {named}"
    assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_disk_of_the_output_full_at_five_moments(app: App, undisturbed: Path) -> None:
    with small_disk(app.out) as full:
        full(24)
        done = app.run()
        assert done.returncode == 2
        assert "make room there" in done.stderr
        full(None)
        # all of a subject takes 8 MiB; until "write" nothing of it is in OUT_DIR
        moments = (("anatomy", 24), ("write", 1024), ("write", 4096), ("report", 24))
        assert sum(fill(app, step, full, free) for step, free in moments) >= 3
        assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_disk_of_the_work_folder_full_at_four_moments(app: App, undisturbed: Path) -> None:
    with small_disk(app.work) as full:
        steps = ("prepare", "anatomy", "enhance", "risk")
        assert sum(fill(app, step, full) for step in steps) >= 3
        assert_as_undisturbed(app, undisturbed)


@pytest.mark.slow
def test_the_clock_is_turned_while_it_runs(app: App, undisturbed: Path, tmp_path: Path) -> None:
    """By ten years on, ten back, an hour on, while steps are at work; in between the run is killed as well."""
    if not (compiler := shutil.which("cc")):
        pytest.skip("needs a C compiler (apt install gcc)")
    (tmp_path / "clock.c").write_text(CLOCK)
    library, clock = tmp_path / "clock.so", tmp_path / "clock"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, tmp_path / "clock.c", "-ldl"], check=True)
    clock.write_bytes(bytes(8))
    turned = {"LD_PRELOAD": str(library), "CLOCK": str(clock)}

    def now() -> str:
        return subprocess.run(
            ["date", "+%Y"], env=os.environ | turned, check=True, capture_output=True, text=True
        ).stdout.strip()

    years, year = [now()], 365 * 86400
    for step, shift in {"prepare": 10 * year, "anatomy": -10 * year, "tissue": -3600, "enhance": 3600}.items():
        with app.started(**turned) as process:
            app.wait_for(step, process)
            with clock.open("r+b") as file:  # in place: a file cut short under a process that reads it is a bus error
                file.write(shift.to_bytes(8, "little", signed=True))
            years.append(now())
            time.sleep(1)
            if step != "enhance":
                process.kill()
            out, errors = process.communicate(timeout=300)
    assert len(set(years)) == 3, "the fault was really there"
    assert process.returncode == 0, out + errors
    assert_as_undisturbed(app, undisturbed)
