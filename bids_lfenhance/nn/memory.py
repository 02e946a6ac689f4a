"""How much memory a network will need, found before it runs; and how much of it may run at once.

A network is built once more without storage (torch's meta device) and called: shapes are computed, numbers are not, and
what is alive at each moment is added up, in float32: in half precision it is less. Libraries need room of their own for
convolutions, hence ``MARGIN``.
"""

import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..errors import InputError
from ..resources import GIB, available_memory_gb

MARGIN, FLOOR = 1.5, 64 * 2**20
"""What is asked for beside what tensors hold: a share of that, and bytes (measured: docs/architecture.md)."""

FLOAT = 4
"""Bytes of a float32."""


class _Alive(TorchDispatchMode):
    """Adds up the bytes of all results that are still referred to; ``peak`` is the most there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._holders: Counter[int] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: that would import torch's compiler, which takes longer than all the counting."""
        return False

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self._count(tensor)
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        self._holders[key] += 1
        if self._holders[key] == 1:
            self.now += size
            self.peak = max(self.peak, self.now)
        weakref.finalize(tensor, self._release, key, size)

    def _release(self, key: int, size: int) -> None:
        self._holders[key] -= 1
        if not self._holders[key]:
            self.now -= size


def peak_bytes(work: Callable[[], object]) -> int:
    """Peak memory in bytes of the tensors that ``work`` allocates, without gradients; of meta tensors none is taken."""
    with torch.no_grad(), _Alive() as alive:
        work()
    return alive.peak


def limit_of(device: str, memory_gb: float | None = None) -> int:
    """Bytes that networks may use on a device: what is free there, on the processor ``memory_gb`` at most."""
    if torch.device(device).type == "cuda":
        where = torch.device(device)
        held = torch.cuda.memory_reserved(where) - torch.cuda.memory_allocated(where)  # free for tensors of ours alone
        return int(torch.cuda.mem_get_info(where)[0]) + held
    free = available_memory_gb()
    return int(GIB * min(free, memory_gb or free))


def choose_size(
    sizes: Sequence[int], needed: Callable[[int], int], limit: int, shape: Sequence[int], advice: str
) -> int:
    """The first of ``sizes``, from the best to the leanest, for which the bytes ``needed`` stay within ``limit``.

    Raises InputError where even the last one's do not, with ``shape`` (3,) voxels and ``advice``, what to do.
    """
    need = 0
    for size in sizes:
        need = int(MARGIN * needed(size)) + FLOOR
        if need <= limit:
            return size
    raise InputError(
        f"Expected {need / GIB:.1f} GiB of memory for the network on {' x '.join(map(str, shape))} voxels, found "
        f"{limit / GIB:.1f}; {advice}, fewer --nprocs, or a machine with more."
    )


def halves(most: int) -> list[int]:
    """How many at once to try: ``most``, half of that, and so on to one.

    >>> halves(12)
    [12, 6, 3, 1]
    """
    return [most] if most <= 1 else [most, *halves(most // 2)]
