"""What every learned method costs and brings, beside one pass of SynthSR's network. SIMULATED low field.

python benchmarks/methods.py sub-53 --weights pfsr=auto cfm=FOLDER bridge=FOLDER [--steps 1 2 4 8 16] [--device cpu]

One session of three T1w stacks through the oracle of tests/ (see fidelity.py), one draw. FLOP are counted by torch
(a multiply and an add are two). PSNR and SSIM: protocol brain-fit. Variance and spectrum are ratios to high field
inside the brain, after the fit of brain-fit: 1 is right, less is too smooth; "fine" is 0.2 to 0.3 cycles per mm.
The yardstick is SynthSR's architecture (5-level U-Net, 24 features, 13.24 M parameters) with random weights, one pass
over the same grid at 1 mm in the same precision: what a user would pay elsewhere, not what it would bring.
"""

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np
import torch
from fidelity import Case, make_case
from fidelity import parse as parse_case
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.evaluation.image_metrics import image_metrics
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.precision import bf16_is_native, run_in_bf16
from bids_lfenhance.resources import track_usage

STEPPED = ("cfm", "bridge")
"""Methods that walk in as many steps as one likes, whose image is the sample here, not the estimate."""

FINE = "spectrum_0.20_0.30"


class SynthSR(nn.Module):
    """The U-Net of SynthSR (Iglesias 2021): five levels of two convolutions, 24 features doubled at each."""

    def __init__(self, features: int = 24, levels: int = 5) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_pair(a, b) for a, b in zip([1, *widths], widths, strict=False))
        self.up = nn.ModuleList(_pair(a + b, a) for a, b in zip(widths[-2::-1], widths[:0:-1], strict=True))
        self.tail = nn.Conv3d(features, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, X, Y, Z) of as many, each side a multiple of 16."""
        kept = []
        for level, block in enumerate(self.down):
            x = block(nn.functional.max_pool3d(x, 2) if level else x)
            kept.append(x)
        kept.pop()
        for block in self.up:
            x = block(torch.cat([kept.pop(), nn.functional.interpolate(x, scale_factor=2)], dim=1))
        out: Tensor = self.tail(x)
        return out


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Conv3d(inputs, outputs, 3, padding=1), nn.Conv3d(outputs, outputs, 3, padding=1)
    return nn.Sequential(first, nn.ELU(), second, nn.ELU(), nn.BatchNorm3d(outputs))


@dataclass(frozen=True)
class Cost:
    """What one image took: wall and CPU seconds, MiB at the height, network evaluations, FLOP."""

    seconds: float
    cpu: float
    memory: float
    evaluations: int
    flop: float


def yardstick(case: Case, device: torch.device) -> tuple[str, Cost]:
    """One pass of SynthSR's network over the grid of the case."""
    net = SynthSR().to(device).eval()
    count = sum(p.numel() for p in net.parameters())
    if bf16_is_native(device):
        run_in_bf16(net, device)
    x = torch.zeros(1, 1, *(-(-side // 16) * 16 for side in case.volume.grid.shape), device=device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter, track_usage() as usage:
        start = time.perf_counter()
        net(x)
        _wait(device)
        seconds = time.perf_counter() - start
    return f"SynthSR's U-Net, {count / 1e6:.2f} M, random", Cost(
        seconds, usage.cpu_seconds, _height(usage.peak_memory_mib, device), 1, counter.get_total_flops()
    )


def run(case: Case, name: str, changed: Mapping[str, Any], device: torch.device) -> tuple[np.ndarray, Cost]:
    """The image, (C, X, Y, Z), of one draw, and what it cost, loading of the weights included."""
    method = get_method(name)
    settings = method.about.sampling(**changed, device=str(device))
    with FlopCounterMode(display=False) as counter, track_usage() as usage:
        start = time.perf_counter()
        found = enhance(case.volume, method, settings, np.random.default_rng(0), n_samples=1)
        seconds = time.perf_counter() - start
    evaluations = int(found.provenance["records"][0].get("nfe", 1))
    height = _height(usage.peak_memory_mib, device)
    return found.image, Cost(seconds, usage.cpu_seconds, height, evaluations, counter.get_total_flops())


def runs(given: argparse.Namespace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Label, method and settings of each row."""
    for name, _, weights in (pair.partition("=") for pair in given.weights):
        yield name, name, {"weights": weights}
        for steps in given.steps if name in STEPPED else ():
            yield f"{name}, {steps} steps", name, {"weights": weights, "steps": steps, "sharpness": 1.0}


def quality(case: Case, image: np.ndarray) -> str:
    """The cells PSNR, SSIM, variance and fine spectrum."""
    found, truth = image[CONTRASTS.index("T1w")], case.truth["T1w"]
    rows = image_metrics(found * case.brain, truth * case.brain, case.brain, protocols=("brain-fit",))
    table = {row["metric"]: row["value"] for row in rows}
    gain, _ = np.polyfit(found[case.brain].astype(float), truth[case.brain].astype(float), 1)
    variance = gain**2 * found[case.brain].var() / truth[case.brain].var()
    return f"{table['psnr']:.2f} | {table['ssim']:.3f} | {variance:.2f} | {table[FINE]:.2f}"


def line(label: str, cost: Cost, judged: str, base: Cost) -> str:
    """A row of the table."""
    rate = cost.flop / cost.seconds / 1e9
    return (
        f"| {label} | {cost.seconds:.1f} | {cost.cpu:.0f} | {cost.cpu / base.cpu:.2f} | {cost.memory:.0f} | "
        f"{cost.evaluations} | {cost.flop / 1e12:.2f} | {rate:.0f} | {judged} |"
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _height(host: float, device: torch.device) -> float:
    """MiB: of the device where it is a GPU, else of the process."""
    if device.type != "cuda":
        return host
    found = torch.cuda.max_memory_allocated(device) / 2**20
    torch.cuda.reset_peak_memory_stats(device)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subject", help="a folder of ds002748 such as sub-53, or 'head'")
    parser.add_argument("--weights", nargs="+", required=True, metavar="METHOD=FOLDER", help="or METHOD=auto")
    parser.add_argument("--steps", type=int, nargs="*", default=[], help="numbers of steps, for methods that walk")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--data", type=Path)
    given = parser.parse_args()
    options = parse_case([given.subject, *(["--data", str(given.data)] if given.data else [])])
    case = make_case(options.data, given.subject, options)
    print(f"SIMULATED low field, {given.subject}, {given.device}, {torch.get_num_threads()} threads\n")
    names = "s | CPU s | CPU over SynthSR's | MiB | evaluations | TFLOP | GFLOP/s | PSNR | SSIM | variance | fine"
    print(f"| way | {names} |\n|---|" + "---|" * (names.count("|") + 1))
    label, base = yardstick(case, given.device)
    print(line(label, base, "– | – | – | –", base), flush=True)
    for label, name, changed in runs(given):
        image, cost = run(case, name, changed, given.device)
        print(line(label, cost, quality(case, image), base), flush=True)


if __name__ == "__main__":
    main()
