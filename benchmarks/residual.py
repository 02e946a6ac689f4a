"""Draws around the learned estimate against high field, SIMULATED low field: the residual methods and literal readings.

python benchmarks/residual.py sub-11 --rows cfm bridge [--draws 4] [--slices 64] [--planes axi cor sag] [--spectrum]

One slab of axial slices through the brain of a ds002748 person (other names: see fidelity.py), scanned by the
independent oracle of tests/; T1w, towards high field's contrast. Rows: cfm, cfm:euler, cssdiff (which sees whole
slices), bridge (its level from the weights), bridge:white (the paper's √(1−ᾱ_K) ε alone), and, as published, on the
prior that sees the estimate: ddim, algorithm1, algorithm1:literal (Eq. 11 as printed), repaint. PSNR: brain-fit. "rms"
is that of the true residual (after one gain, by least squares) in SDs of the estimate's error; "variance" that of the
draws (ddof 1) over the squared error of the estimate, in the brain; then the power of one draw over high field's in
bands of .05 cycles per mm. ``--spectrum`` prints the power of the true residual, less its mean, which weights store for
``bridge``.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from fidelity import SHARED, high_field
from literal import algorithm1, as_prior, ddim, repaint, roots, uniform_levels
from torch import Tensor

from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.bridge.inference import solve as bridge
from bids_lfenhance.methods.bridge.settings import BridgeSettings, K
from bids_lfenhance.methods.cfm.inference import solve as cfm
from bids_lfenhance.methods.cfm.settings import CfmSettings
from bids_lfenhance.methods.cssdiff.inference import draw as by_slices
from bids_lfenhance.methods.estimate import ContrastEstimate
from bids_lfenhance.methods.residual import ResidualPrepared
from bids_lfenhance.nn.estimate import SCALE
from bids_lfenhance.nn.flow import Velocity, even_times, heun, randn_like
from bids_lfenhance.nn.residual import condition_of, flow_of, radial_power, time_of, whiten
from bids_lfenhance.training.assess import brain_fit
from tests import oracle

Way = Callable[[Velocity, Tensor, torch.Generator], Tensor]
"""r̂ of a velocity, something of its shape, and randomness."""


def ways(steps: int, spectrum: tuple[float, ...]) -> Mapping[str, Way]:
    levels = uniform_levels(K, steps)

    def white(velocity: Velocity, like: Tensor, generator: torch.Generator) -> Tensor:
        first = time_of(K)
        return heun(velocity, (1 - first) * randn_like(like, generator), even_times(steps, first))

    def crossed(like: Tensor, generator: torch.Generator) -> Tensor:
        return roots(K)[1] * randn_like(like, generator)

    return {
        "cfm": lambda v, x, g: cfm(v, x, CfmSettings(steps=steps), g)[0],
        "cfm:euler": lambda v, x, g: cfm(v, x, CfmSettings(steps=steps, solver="euler"), g)[0],
        "bridge": lambda v, x, g: bridge(v, x, BridgeSettings(steps=steps, spectrum=spectrum), g)[0],
        "bridge:white": white,
        "ddim": lambda v, x, g: ddim(as_prior(v), crossed(x, g), levels),
        "algorithm1": lambda v, x, g: algorithm1(as_prior(v), 0 * x, levels, 3, g, literal=False),
        "algorithm1:literal": lambda v, x, g: algorithm1(as_prior(v), 0 * x, levels, 3, g, literal=True),
        "repaint": lambda v, x, g: repaint(as_prior(v), crossed(x, g), levels, 3, g),
    }


def way_of(
    row: str, given: argparse.Namespace, volume: Volume, flow: ResidualPrepared, one: ContrastEstimate, box: list[slice]
) -> Callable[[torch.Generator], Tensor]:
    """r̂ (x, y, z) in the box by one row; ``flow`` what ``cfm`` prepared."""
    if row == "cssdiff":
        method = get_method("cssdiff")
        prepared = method.prepare(volume, method.about.sampling(weights=given.cssdiff_weights, steps=given.steps))
        return lambda generator: by_slices(prepared, one, generator)[0][0, 0][*box]
    condition = condition_of(one.mean, one.scale, one.inputs)[:, :, *box]
    velocity, way = flow_of(flow.nets["flow"], condition), ways(given.steps, flow.settings.spectrum)[row]
    return lambda generator: way(velocity, one.mean[:, :, *box], generator)[0, 0]


def make_slab(data: Path, subject: str, slices: int, planes: list[str], seed: int) -> tuple[np.ndarray, Volume]:
    """(High field of the slab, its simulated session)."""
    real, grid, brain = high_field(data, subject)
    middle = int(np.flatnonzero(brain.any(axis=(0, 1))).mean()) + 8
    inside = slice(middle - slices // 2, middle + slices // 2)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, 2] * inside.start
    image, brain = real["T1w"][..., inside].astype(np.float32), brain[..., inside]
    here, rng = Grid(affine, image.shape), np.random.default_rng(seed)
    tissue = oracle.tissue_by_intensity(image, brain)
    session = oracle.acquire_session(image, affine, tissue, rng, contrasts=["T1w"], planes=planes, snr=15.0)
    stacks = tuple(oracle.misaligned(session, rng, oracle.head_centre(image, affine), 0.3, 0.3))
    volume = volume_from_channels(here, {"T1w": fuse_mean(list(stacks), here)}, stacks)
    return image, volume.with_anatomy(brain, tissue)


def psnr(image: Tensor, truth: Tensor, mask: Tensor) -> float:
    arrays = (one.cpu().numpy().astype(np.float32) for one in (image, truth))
    return brain_fit(next(arrays), next(arrays), mask.numpy())["psnr"]


def report(row: str, one: Tensor, mean: Tensor, ratio: float, truth: Tensor, mask: Tensor, high: np.ndarray) -> None:
    """A line of the table; ``high`` the power of high field by band."""
    bands = np.array(radial_power(one, mask)) / high
    cells = " ".join(f"{value:5.2f}" for value in bands[1:9])
    print(
        f"{row:20} {psnr(one, truth, mask):6.2f} {psnr(mean, truth, mask):6.2f} {ratio:8.2f} {'':10} {cells}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("subject")
    parser.add_argument("--data", type=Path, default=SHARED)
    parser.add_argument("--rows", nargs="*", default=["cfm", "bridge"], choices=["cssdiff", *ways(8, ())])
    parser.add_argument("--cssdiff-weights", default="auto")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--side", type=int, default=96, help="voxels of the box in the middle that is drawn and scored")
    parser.add_argument("--planes", nargs="+", default=["axi", "cor", "sag"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spectrum", action="store_true")
    given = parser.parse_args()
    image, volume = make_slab(given.data, given.subject, given.slices, given.planes, given.seed)
    method = get_method("cfm")
    prepared = method.prepare(volume, method.about.sampling())
    one, crop = prepared.estimate.contrasts["T1w"], prepared.estimate.crop
    mask = torch.from_numpy(crop.mask)
    sigma, mean = one.scale.clamp(*SCALE)[0, 0], one.mean[0, 0]
    truth = torch.from_numpy(image[crop.box])
    truth = truth * float((truth * mean)[mask].sum() / truth[mask].square().sum())
    residual = whiten(truth[None, None], one.mean, one.scale)[0, 0]
    print(f"SIMULATED low field: {given.subject}, {given.slices} slices, {'+'.join(given.planes)}, seed {given.seed}")
    print(f"rms of the residual {float(residual[mask].square().mean().sqrt()):.2f}; ", end="")
    print(f"|error| < 2 SD in {100 * float(((truth - mean).abs() < 2 * sigma)[mask].float().mean()):.1f} %")
    if given.spectrum:
        level = residual[mask].mean()
        print("power of the residual", [round(value, 3) for value in radial_power(residual - level, mask)])
    shown = " ".join(f"{low / 20:>5.2f}" for low in range(1, 9))
    print(f"{'row':20} {'one':>6} {'mean':>6} {'variance':>8} power from {shown} /mm")
    report("estimate, all", mean, mean, float("nan"), truth, mask, np.array(radial_power(truth, mask)))
    box = [slice((side - min(side, given.side)) // 2, (side + min(side, given.side)) // 2) for side in mask.shape]
    mask, truth, mean, sigma = mask[*box], truth[*box], mean[*box], sigma[*box]
    high = np.array(radial_power(truth, mask))
    report("estimate, box", mean, mean, float("nan"), truth, mask, high)
    for row in given.rows:
        start, generator = time.perf_counter(), torch.Generator().manual_seed(given.seed)
        draw = way_of(row, given, volume, prepared, one, box)
        with torch.no_grad():
            found = torch.stack([draw(generator) for _ in range(given.draws)])
        images = mean + sigma * found.clamp(-6, 6)
        spread = images.var(dim=0, unbiased=True)[mask].mean() if given.draws > 1 else torch.tensor(torch.nan)
        ratio = float(spread / (truth - mean)[mask].square().mean())
        report(row, images[0], images.mean(0), ratio, truth, mask, high)
        print(f"{'':20} {(time.perf_counter() - start) / given.draws:.0f} s a draw", flush=True)


if __name__ == "__main__":
    main()
