"""What the networks cost on a device, with random weights, beside one pass of SynthSR's network; no image is judged.

python benchmarks/device.py [--device cuda] [--preset paper] [--methods pfsr cfm …] [--repeats 3] [--side 152 184 144]

A box of noise as large as a brain at 1 mm, all of it brain; weights are drawn, not learned, and written to disk as a
training writes them, so that what is timed is what the participant level runs: ``prepare`` (loading, seconds), ``fit``,
and ``sample`` (the median draw, the device waited for; the first, in which torch counts FLOP, is thrown away). Memory
is the device's. "busy": share of the time that the device computed, by NVIDIA's own count, while the draws that were
timed went through one after the other.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from methods import SynthSR
from torch.utils.flop_counter import FlopCounterMode

from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import get_method, get_trainable
from bids_lfenhance.nn.memory import limit_of
from bids_lfenhance.nn.method import Enhancer, Trainable
from bids_lfenhance.nn.precision import bf16_is_native, run_in_bf16
from bids_lfenhance.nn.weights import save_weights

ROWS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "pfsr": {"pfsr": {}},
    "cfm": {"cfm": {}, "the estimate alone": {"sample": False}},
    "bridge": {"bridge": {}},
}
"""Method → rows → what is asked for in use."""


@dataclass(frozen=True)
class Row:
    """Seconds to load and of a draw, MiB of the device, network evaluations, FLOP, share of the time it computed."""

    load: float
    seconds: float
    memory: float
    evaluations: int
    flop: float
    busy: float


def brain(side: tuple[int, int, int]) -> Volume:
    """Noise about 1, all of it brain: a network takes as long for it as for a head of that size."""
    noise = np.random.default_rng(0).random(side, np.float32) + 0.5
    volume = volume_from_channels(Grid(np.eye(4), side), {"T1w": noise})
    return volume.with_anatomy(np.ones(side, bool), np.zeros((3, *side), np.float32))


def drawn_weights(method: Trainable[Any], preset: str, folder: Path) -> tuple[Path, float]:
    """A folder of weights nobody trained, no gain at the zero it starts from; millions of parameters."""
    settings = method.about.settings(**method.about.presets[preset])
    torch.manual_seed(0)
    nets = method.build(settings)
    with torch.no_grad():
        for net in nets.values():
            for weight in net.parameters():
                if not weight.any():
                    weight.add_(1e-3)
    count = sum(weight.numel() for net in nets.values() for weight in net.parameters())
    recipe = {"method": method.name, "contrasts": ["T1w"], "settings": asdict(settings)}
    return save_weights(folder, nets, recipe, "drawn, not learned"), count / 1e6


def measure(
    method: Enhancer[Any, Any],
    weights: Path | None,
    changed: Mapping[str, Any],
    device: str,
    volume: Volume,
    given: argparse.Namespace,
) -> Row:
    """What one way costs; without ``weights`` with the bundled ones."""
    budget = method.about.budgets.get("gpu" if device.startswith("cuda") else "cpu", {})
    own = {"weights": str(weights), "contrast": "none"} if weights else {}
    settings = method.about.sampling(device=device, **{**own, **budget, **changed})
    start = time.perf_counter()
    prepared = method.prepare(volume, settings)
    prepared = method.fit_to_memory(prepared, limit_of(device)) if method.fit_to_memory else prepared
    load = time.perf_counter() - start

    def draw() -> Any:
        found = method.sample(prepared, np.random.default_rng(0))
        wait(device)
        return found

    with FlopCounterMode(display=False) as counter:
        found = draw()
    _reset(device)
    with Busy(device) as busy:
        times = [_timed(draw) for _ in range(given.repeats)]
    evaluations = int(found.record.get("nfe", 1))
    return Row(load, median(times), _height(device), evaluations, counter.get_total_flops(), busy.share)


def yardstick(device: str, side: tuple[int, int, int], repeats: int) -> Row:
    """One pass of SynthSR's network over the same box."""
    net = SynthSR().to(device).eval()
    if bf16_is_native(torch.device(device)):
        run_in_bf16(net, torch.device(device))
    image = torch.zeros(1, 1, *(-(-n // 16) * 16 for n in side), device=device)

    def draw() -> None:
        net(image)
        wait(device)

    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            draw()
        _reset(device)
        with Busy(device) as busy:
            times = [_timed(draw) for _ in range(repeats)]
    return Row(0.0, median(times), _height(device), 1, counter.get_total_flops(), busy.share)


class Busy:
    """A block during which NVIDIA's count of the device's busy time is read ten times a second; NaN without it."""

    def __init__(self, device: str) -> None:
        self.share = float("nan")
        self._found: list[int] = []
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch) if device.startswith("cuda") else None

    def __enter__(self) -> "Busy":
        if self._thread:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._thread:
            self._thread.join()
        if self._found:
            self.share = float(np.mean(self._found)) / 100

    def _watch(self) -> None:
        while not self._end.wait(0.1):
            try:
                self._found.append(torch.cuda.utilization())
            except (ImportError, ModuleNotFoundError, RuntimeError):
                return


def wait(device: str) -> None:
    """Until the device is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _reset(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _height(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**20 if device.startswith("cuda") else float("nan")


def rows(given: argparse.Namespace, volume: Volume) -> Iterator[tuple[str, Row]]:
    """The rows of the table, each when it is measured."""
    for name in given.methods:
        method = get_method(name)
        if method.about.weights_of:  # an estimate and a flow that belong together
            for label, changed in ROWS[name].items():
                yield label, measure(method, None, changed, given.device, volume, given)
            continue
        trainable = get_trainable(name)
        with tempfile.TemporaryDirectory() as folder:
            weights, millions = drawn_weights(trainable, given.preset, Path(folder))
            for label, changed in ROWS[name].items():
                found = measure(method, weights, changed, given.device, volume, given)
                yield f"{label} ({millions:.1f} M)", found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--methods", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--side", type=int, nargs=3, default=(152, 184, 144))
    given = parser.parse_args()
    volume = brain(tuple(given.side))
    where = torch.cuda.get_device_name() if given.device.startswith("cuda") else given.device
    print(f"{where}, torch {torch.__version__}, preset {given.preset}, {' x '.join(map(str, given.side))} voxels\n")
    print(
        "| way | load s | s a draw | over SynthSR's | MiB | evaluations | TFLOP | TFLOP/s | busy |\n" + "|---" * 9 + "|"
    )
    base = yardstick(given.device, tuple(given.side), given.repeats)
    print(_line("SynthSR's U-Net (13.2 M)", base, base), flush=True)
    for label, row in rows(given, volume):
        print(_line(label, row, base), flush=True)


def _line(label: str, row: Row, base: Row) -> str:
    return (
        f"| {label} | {row.load:.1f} | {row.seconds:.3f} | {row.seconds / base.seconds:.1f} | {row.memory:.0f} | "
        f"{row.evaluations} | {row.flop / 1e12:.2f} | {row.flop / row.seconds / 1e12:.2f} | {row.busy:.2f} |"
    )


if __name__ == "__main__":
    main()
