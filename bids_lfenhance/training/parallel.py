"""One training in several processes (torchrun): what is added up between them, and who writes."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a training: this one is number ``rank`` of ``size``, and computes on ``device``."""

    rank: int
    size: int
    device: torch.device

    @property
    def writes(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.rank == 0

    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Replace the tensors by their sums over the processes, in one message."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        torch.distributed.all_reduce(flat)
        for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(part.view_as(tensor))

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        if self.size == 1:
            return flag
        count = torch.tensor([float(flag)], device=self.device)
        self.all_reduce([count])
        return bool(count.item())

    def barrier(self) -> None:
        """Go on when all processes have come this far."""
        if self.size > 1:
            torch.distributed.barrier()

    def chunks(self, batch: int, chunk: int) -> list[range]:
        """The items of a batch that this process computes, in groups of ``chunk``; 0: an equal share in one group."""
        size = chunk or -(-batch // self.size)
        groups = [range(start, min(batch, start + size)) for start in range(0, batch, size)]
        if len(groups) < self.size:
            raise InputError(
                f"Expected a batch of at least {self.size} groups of patches for {self.size} processes, found "
                f"{len(groups)}; start fewer processes, or make the batch larger or its groups smaller."
            )
        return groups[self.rank :: self.size]


@contextmanager
def process_group(device: str) -> Iterator[ProcessGroup]:
    """The group of this process: alone, or as ``torchrun`` set it up; left when the block ends."""
    size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if size == 1:
        yield ProcessGroup(0, 1, torch.device(device))
        return
    cuda = device.startswith("cuda")
    where = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if cuda else "cpu")
    if cuda:
        torch.cuda.set_device(where)
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield ProcessGroup(rank, size, where)
    finally:
        torch.distributed.destroy_process_group()
