"""Which processor the networks run on."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import InputError
from ..resources import has_gpu_driver


def choose_device(name: str) -> str:
    """The torch device for ``--device``: ``cpu`` or ``cuda:N``; ``auto`` takes a GPU where torch can use one.

    Raises ``InputError`` where a GPU was asked for and cannot be had, with the likeliest reason. Torch is imported
    only where the machine has an NVIDIA driver or a GPU was asked for by name.
    """
    driver = has_gpu_driver()
    if name == "cpu" or (name == "auto" and not driver):
        return "cpu"
    if not re.fullmatch(r"auto|cuda(:\d+)?", name):
        raise InputError(f"Expected a --device out of auto, cpu, cuda, cuda:N, found '{name}'; choose one of these.")
    import torch

    if not torch.cuda.is_available():
        if name == "auto":
            return "cpu"
        if not driver:
            why = "this machine or container shows no GPU (is Apptainer's --nv or Docker's --gpus missing?)"
        elif torch.version.cuda is None:
            why = f"torch {torch.__version__} was built without CUDA (install the build named in the README)"
        else:
            why = "the driver is here, but no GPU is given to this process (CUDA_VISIBLE_DEVICES, SLURM's --gres?)"
        raise InputError(f"Expected a GPU for --device {name}, found none: {why}; or use --device cpu.")
    index = int(name.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise InputError(f"Expected GPU {index}, found {torch.cuda.device_count()} GPU(s); choose a lower cuda:N.")
    return f"cuda:{index}"


def use_threads(count: int | None) -> None:
    """Let torch use ``count`` threads in this process; where not given, its share of the processors.

    Processes that ``torchrun`` started on this machine (``LOCAL_WORLD_SIZE``) share them.
    """
    import torch

    from ..resources import available_cpus

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(count or max(1, available_cpus() // processes))


@contextmanager
def torch_threads(count: int | None) -> Iterator[None]:
    """A block in which torch uses ``count`` threads, as ``use_threads``; after it as many as before."""
    import torch

    before = torch.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
