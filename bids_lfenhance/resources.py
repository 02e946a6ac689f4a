"""What this process may use, and what it used."""

import ctypes
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from .errors import InputError, Interrupted

MIB, GIB = 2**20, 2**30

MINIMUM_DISK_GB = 2.0
"""Free space asked of a disk before a run begins."""


def available_cpus() -> int:
    """The number of processors this process may use: affinity, cgroup quota and SLURM, whichever is least."""
    counts = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1]
    for quota in _cgroup("cpu", "cpu.max"):  # version 2: "200000 100000" or "max 100000"
        limit, period = quota.split()
        if limit != "max":
            counts.append(max(1, int(limit) // int(period)))
    for limit, period in zip(_cgroup("cpu", "cpu.cfs_quota_us"), _cgroup("cpu", "cpu.cfs_period_us"), strict=False):
        if int(limit) > 0:
            counts.append(max(1, int(limit) // int(period)))
    if given := _slurm_cpus():
        counts.append(given)
    return max(1, min(counts))


def _slurm_cpus() -> int | None:
    """Processors that SLURM gave to this job; None outside of one."""
    names = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
    return next((int(os.environ[name]) for name in names if os.environ.get(name, "").isdigit()), None)


def has_gpu_driver() -> bool:
    """Whether this machine or container shows an NVIDIA driver."""
    return Path("/dev/nvidiactl").exists() or Path("/dev/nvidia0").exists()


def available_memory_gb() -> float:
    """The memory this process may use, GiB: free memory, cgroup limit and SLURM, whichever is least."""
    import psutil

    amounts = [float(psutil.virtual_memory().available)]
    for name in ("memory.max", "memory.limit_in_bytes"):
        amounts += [float(limit) for limit in _cgroup("memory", name) if limit.isdigit()]
    for name, times in (("SLURM_MEM_PER_NODE", 1), ("SLURM_MEM_PER_CPU", _slurm_cpus() or 1)):
        if os.environ.get(name, "").isdigit() and int(os.environ[name]):  # 0: all there is
            amounts.append(float(os.environ[name]) * times * 2**20)
    return min(amounts) / GIB


def limit_threads(threads: int) -> None:
    """Let the networks of processes started from here on use this many threads each, everything else one."""
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"  # N4 gives the same bytes only with the same threads
    # numpy's products are small: a second thread waits for them, spinning, and made the affine fit four times as slow
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve the other steps


def keep_freed_memory() -> None:
    """Let this process use again what arrays up to 128 MiB have freed; where the C library is not glibc, do nothing.

    By default every array above 32 MiB is asked of the kernel page by page, and given back: a fifth of the processor
    time of the regions. Were larger ones kept too, the peak of memory would rise by a third (``fusionnet``).
    """
    if _glibc("mallopt", _M_MMAP_THRESHOLD, 128 * MIB) or _glibc("mallopt", _M_MMAP_THRESHOLD, 32 * MIB):
        _glibc("mallopt", _M_TRIM_THRESHOLD, 512 * MIB)  # an older glibc allows 32, and refuses what is more


def return_freed_memory() -> None:
    """Give back to the kernel what ``keep_freed_memory`` kept."""
    _glibc("malloc_trim", 0)


_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def _glibc(name: str, *values: int) -> int:
    """What a function of glibc returns; 0 where there is none."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # musl has no such function
            return int(getattr(ctypes.CDLL(None), name)(*values))
    return 0


def allow_open_files() -> None:
    """Raise the limit of open files to the hard limit: 1024, the usual soft limit, are too few for a cohort."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # an unlimited hard limit may be more than the kernel accepts
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


@contextmanager
def interruptible() -> Iterator[None]:
    """A block in which SIGTERM and Ctrl-C raise ``Interrupted``; in a thread beside the main one it changes nothing."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other handle signals
        yield
        return
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("interrupted from the keyboard") from error
    finally:
        signal.signal(signal.SIGTERM, previous)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted("ended by a SIGTERM, as a scheduler sends it")


def give_home() -> None:
    """Set HOME where nothing tells it (a container, a user without an entry): pybids and others ask at import."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = "/"  # as docker does: always there, and nobody else can leave settings in it


def check_where_started() -> None:
    """Raise ``InputError`` where the folder that the run is started from is gone: no relative path means anything."""
    try:
        Path.cwd()
    except OSError as error:
        message = f"Expected to be started in a folder, found that it is gone ({error.strerror}); cd to another."
        raise InputError(message, code="no-folder") from error


def temporary_folder() -> Path:
    """The folder of temporary files; InputError where there is none, which no process of a run can do without."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        message = (
            "Expected a folder for temporary files that can be written, found none (not TMPDIR, nor /tmp, nor "
            "/var/tmp); set TMPDIR to one."
        )
        raise InputError(message, code="not-writable") from error


def check_room(folder: Path, name: str) -> None:
    """Raise ``InputError`` if a folder (created if missing) cannot be written to or its disk is full."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if folder.exists() and not folder.is_dir():
            message = f"Expected a folder for {name}, found the file {folder}; choose another."
            raise InputError(message, code="not-writable", path=folder) from error
        message = (
            f"Expected to be able to write in {name} {folder}, found: {error.strerror}; "
            "change its permissions or choose another folder."
        )
        raise InputError(message, code="not-writable", path=folder) from error
    free = shutil.disk_usage(folder).free / GIB
    if free < MINIMUM_DISK_GB:
        message = f"Expected {MINIMUM_DISK_GB:g} GiB free for {name} {folder}, found {free:.1f}; make room there."
        raise InputError(message, code="no-room", path=folder)


def _cgroup(controller: str, name: str) -> list[str]:
    """What the control groups this process is in say, from its own to the root: of both versions, each may limit it.

    A scheduler may set its limit on the job, and start each task in a group of its own below that.
    """
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    values = []
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / (controllers and controller)
        for folder in [root / own.strip("/"), *(root / own.strip("/")).parents]:
            with suppress(OSError):  # in a namespace the upper ones cannot be seen
                values.append((folder / name).read_text().strip())
            if folder == root:
                break
    return values


@dataclass
class Usage:
    """Wall seconds, CPU seconds of all threads, and peak resident memory in MiB of a piece of work."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mib: float = 0.0

    def sidecar(self) -> dict[str, float]:
        """The ``Runtime`` object of a sidecar."""
        return {
            "Seconds": round(self.seconds, 2),
            "CpuSeconds": round(self.cpu_seconds, 2),
            "PeakMemoryMiB": round(self.peak_memory_mib, 1),
        }


@contextmanager
def track_usage(interval: float = 0.2) -> Iterator[Usage]:
    """A ``Usage`` that is filled in when the block ends; memory is sampled every ``interval`` seconds.

    The kernel's own high-water mark is not used: it never falls, and a worker serves many steps.
    """
    import psutil

    usage, process, stop = Usage(), psutil.Process(), threading.Event()

    def sample() -> None:
        while True:
            usage.peak_memory_mib = max(usage.peak_memory_mib, process.memory_info().rss / 2**20)
            if stop.wait(interval):
                return

    watcher = threading.Thread(target=sample, daemon=True)
    wall, cpu = time.perf_counter(), time.process_time()
    watcher.start()
    try:
        yield usage
    finally:
        stop.set()
        watcher.join()
        usage.seconds, usage.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
