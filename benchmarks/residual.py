"""Draws around the learned estimate against high field, SIMULATED low field: the residual methods and literal readings.

python benchmarks/residual.py sub-11 --rows cfm bridge [--draws 4] [--slices 64] [--planes axi cor sag] [--spectrum]
    [--target-contrast learned]

One slab of axial slices through the brain of a ds002748 person (other names: see fidelity.py), the head scanned by the
independent oracle of tests/; eight slices more at each end are enhanced and not judged. T1w in the contrast of the
scan, draws shown around the estimate as its stacks correct it, of which the networks know nothing (without that:
"uncorrected"; and not conditioned on the stacks, as a user's draws are: draws.py), or in the contrast of high field
that fusionnet has learned.
Rows: cfm, cfm:euler, cssdiff (which sees whole slices), bridge (its level from the weights), bridge:white (the
paper's √(1−ᾱ_K) ε alone), and, as published, on the prior that sees the estimate: ddim, algorithm1, algorithm1:literal
(Eq. 11 as printed), repaint. PSNR: brain-fit. "rms" is that of the true residual (after one gain, by least squares) in
SDs of the estimate's error; "variance" that of the draws (ddof 1) over the squared error of the estimate, in the brain;
"CRPS" the fair one of the draws, and that of the estimate with its calibrated Laplace error, in % of the brain's 95th
percentile; then the power of one draw over high field's in bands of .05 cycles per mm. ``--spectrum`` prints the power
of the true residual, less its mean, which weights store for ``bridge``.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.fidelity import SHARED, high_field
from benchmarks.literal import algorithm1, as_prior, ddim, repaint, roots, uniform_levels
from bids_lfenhance.imaging.fusion import fuse_mean
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack, Volume, volume_from_channels
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.bridge.inference import solve as bridge
from bids_lfenhance.methods.bridge.settings import BridgeSettings, K
from bids_lfenhance.methods.cfm.inference import solve as cfm
from bids_lfenhance.methods.cfm.settings import CfmSettings
from bids_lfenhance.methods.cssdiff.inference import draw as by_slices
from bids_lfenhance.methods.estimate import ContrastEstimate
from bids_lfenhance.methods.residual import ResidualPrepared
from bids_lfenhance.nn.estimate import SCALE
from bids_lfenhance.nn.flow import Velocity, heun, randn_like, uniform_times
from bids_lfenhance.nn.residual import CLIP, condition_of, flow_of, radial_power, standardise, time_of
from bids_lfenhance.training.assess import brain_fit
from tests import oracle

Way = Callable[[Velocity, Tensor, torch.Generator], Tensor]
"""r̂ of a velocity, something of its shape, and randomness."""


def ways(steps: int, spectrum: tuple[float, ...]) -> Mapping[str, Way]:
    levels = uniform_levels(K, steps)

    def white(velocity: Velocity, like: Tensor, generator: torch.Generator) -> Tensor:
        first = time_of(K)
        return heun(velocity, (1 - first) * randn_like(like, generator), uniform_times(steps, first))

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


@dataclass(frozen=True, eq=False)
class Scene:
    """The middle of a slab, tensors (x, y, z) in the estimate's units, and the flow behind the estimate.

    ``image`` the estimate as it is written, ``mean`` as the networks know it, ``sigma`` what they multiply by,
    ``truth`` high field after one gain, ``low`` the plain mean of the stacks, ``mask`` brain; ``flow`` what ``cfm``
    prepared for the whole slab, ``one`` its estimate, whose ``box`` this is; ``whole`` (truth, mask) of that.
    """

    volume: Volume
    flow: ResidualPrepared
    one: ContrastEstimate
    box: list[slice]
    whole: tuple[Tensor, Tensor]

    @property
    def mask(self) -> Tensor:
        return self.whole[1][*self.box]

    @property
    def truth(self) -> Tensor:
        return self.whole[0][*self.box]

    @property
    def low(self) -> Tensor:
        return self.one.inputs[0, 0][*self.box]

    @property
    def mean(self) -> Tensor:
        return self.one.mean[0, 0][*self.box]

    @property
    def image(self) -> Tensor:
        return self.one.image[0, 0][*self.box]

    @property
    def sigma(self) -> Tensor:
        return self.one.scale.clamp(*SCALE)[0, 0][*self.box]

    @property
    def sd(self) -> Tensor:
        """The SD of the error as it is written."""
        return self.sigma * self.flow.estimator.error_factors["T1w"]

    def velocity(self) -> Velocity:
        condition = condition_of(self.one.mean, self.one.scale, self.one.inputs)[:, :, *self.box]
        return flow_of(self.flow.nets["flow"], condition)

    def around(self, residual: Tensor) -> Tensor:
        """What a reader is shown of r̂ (x, y, z)."""
        return self.image + self.sigma * residual.clamp(-CLIP, CLIP)


def scene_of(volume: Volume, high: np.ndarray, side: int, target: str) -> Scene:
    """The estimate of a session against high field (X, Y, Z) on its grid; ``target`` "own" or "learned"."""
    method = get_method("cfm")
    flow = method.prepare(volume, method.about.sampling(target_contrast=target))
    one, crop = flow.estimate.contrasts["T1w"], flow.estimate.crop
    mask, truth = torch.from_numpy(judged(volume.brain)[crop.box]), torch.from_numpy(high[crop.box])
    truth = truth * float((truth * one.image[0, 0])[mask].sum() / truth[mask].square().sum())
    box = [slice((n - min(n, side)) // 2, (n + min(n, side)) // 2) for n in mask.shape]
    return Scene(volume, flow, one, box, (truth, mask))


def way_of(row: str, scene: Scene, steps: int, cssdiff: str) -> Callable[[torch.Generator], Tensor]:
    """r̂ (x, y, z) in the box by one row."""
    if row == "cssdiff":
        method = get_method("cssdiff")
        prepared = method.prepare(scene.volume, method.about.sampling(weights=cssdiff, steps=steps))
        return lambda generator: by_slices(prepared, scene.one, generator)[0][0, 0][*scene.box]
    velocity, way = scene.velocity(), ways(steps, scene.flow.settings.spectrum)[row]
    return lambda generator: way(velocity, scene.mean[None, None], generator)[0, 0]


RIM = 8
"""Slices at each end of a slab that are enhanced and not judged: what networks and thick scans have beyond is cut."""


@dataclass(frozen=True, eq=False)
class Head:
    """High field (X, Y, Z) of a contrast, where its brain is, tissue (3, X, Y, Z), its grid."""

    contrast: str
    image: np.ndarray
    brain: np.ndarray
    tissue: np.ndarray
    grid: Grid

    @classmethod
    def of(cls, data: Path, subject: str, contrast: str = "T1w") -> "Head":
        real, grid, brain = high_field(data, subject)
        tissue = oracle.tissue_by_intensity(real["T1w"].astype(np.float32), brain)
        return cls(contrast, real[contrast].astype(np.float32), brain, tissue, grid)

    def slab(self, stacks: Sequence[Stack], slices: int) -> tuple[np.ndarray, Volume]:
        """(High field of so many slices through the middle and ``RIM`` more, a session of scans of the head there)."""
        middle = int(np.flatnonzero(self.brain.any(axis=(0, 1))).mean()) + 8
        x, y, _ = self.brain.shape
        part = slice(0, x), slice(0, y), slice(middle - slices // 2 - RIM, middle + slices // 2 + RIM)
        here = self.grid.cut(part)
        volume = volume_from_channels(here, {self.contrast: fuse_mean(list(stacks), here)}, tuple(stacks))
        return self.image[part], volume.with_anatomy(self.brain[part], self.tissue[:, *part])


def judged(brain: np.ndarray) -> np.ndarray:
    """The brain of a slab (X, Y, Z) without its first and last ``RIM`` slices."""
    return brain & (np.abs(np.arange(brain.shape[2]) - (brain.shape[2] - 1) / 2) < brain.shape[2] / 2 - RIM)


def make_slab(head: Head, slices: int, planes: list[str], seed: int) -> tuple[np.ndarray, Volume]:
    """(High field of a slab, its session in scans of the whole head by the independent oracle)."""
    rng, place = np.random.default_rng(seed), (head.image, head.grid.affine)
    session = oracle.acquire_session(*place, head.tissue, rng, contrasts=[head.contrast], planes=planes, snr=15.0)
    return head.slab(oracle.misaligned(session, rng, oracle.head_centre(*place), 0.3, 0.3), slices)


def psnr(image: Tensor, truth: Tensor, mask: Tensor) -> float:
    arrays = (one.cpu().numpy().astype(np.float32) for one in (image, truth))
    return brain_fit(next(arrays), next(arrays), mask.numpy())["psnr"]


def laplace_crps(error: Tensor, sd: Tensor) -> Tensor:
    """CRPS of Laplace distributions of these SDs about an estimate with this error."""
    b = sd / 2**0.5
    return error.abs() + b * torch.exp(-error.abs() / b) - 0.75 * b


def fair_crps(draws: Tensor, truth: Tensor) -> Tensor:
    """(…) CRPS of draws (N, …), N ≥ 2: E|x − y| − ½ E|x − x'| over pairs of different draws."""
    count = len(draws)
    apart = sum((one - other).abs() for one in draws for other in draws) / (count * (count - 1))
    return (draws - truth).abs().mean(0) - 0.5 * apart


def report(row: str, one: Tensor, mean: Tensor, figures: tuple[float, float], scene: Scene, whole: bool) -> None:
    """A line of the table; ``figures`` the variance ratio and CRPS; ``whole``: of the slab, else of the box."""
    truth, mask = scene.whole if whole else (scene.truth, scene.mask)
    bands = np.array(radial_power(one, mask)) / np.array(radial_power(truth, mask))
    cells = " ".join(f"{value:5.2f}" for value in bands[1:9])
    scores = f"{psnr(one, truth, mask):6.2f} {psnr(mean, truth, mask):6.2f} {figures[0]:8.2f} {figures[1]:5.2f}"
    print(f"{row:20} {scores} {'':10} {cells}", flush=True)


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
    parser.add_argument("--target-contrast", default="own", choices=["own", "learned"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--spectrum", action="store_true")
    given = parser.parse_args()
    image, volume = make_slab(Head.of(given.data, given.subject), given.slices, given.planes, given.seed)
    scene = scene_of(volume, image, given.side, given.target_contrast)
    (truth, mask), one, none = scene.whole, scene.one, (float("nan"), float("nan"))
    residual = standardise(truth[None, None], one.mean, one.scale)[0, 0]
    print(f"SIMULATED low field: {given.subject}, {given.slices} slices, {'+'.join(given.planes)}, seed {given.seed}")
    print(f"rms of the residual {float(residual[mask].square().mean().sqrt()):.2f}; ", end="")
    error, unit = (scene.truth - scene.image)[scene.mask], float(torch.quantile(scene.truth[scene.mask], 0.95)) / 100
    print(f"|error| < 2 SD in {100 * float((error.abs() < 2 * scene.sd[scene.mask]).float().mean()):.1f} %")
    if given.spectrum:
        level = residual[mask].mean()
        print("power of the residual", [round(value, 3) for value in radial_power(residual - level, mask)])
    shown = " ".join(f"{low / 20:>5.2f}" for low in range(1, 9))
    print(f"{'row':20} {'one':>6} {'mean':>6} {'variance':>8} {'CRPS':>5} power from {shown} /mm")
    report("estimate, all", one.image[0, 0], one.image[0, 0], none, scene, True)
    crps = float(laplace_crps(error, scene.sd[scene.mask]).mean()) / unit
    report("estimate, box", scene.image, scene.image, (none[0], crps), scene, False)
    correction = scene.image - scene.mean
    if correction.any():
        report("  uncorrected", scene.mean, scene.mean, none, scene, False)
    for row in given.rows:
        start, generator = time.perf_counter(), torch.Generator().manual_seed(given.seed)
        draw = way_of(row, scene, given.steps, given.cssdiff_weights)
        with torch.no_grad():
            images = torch.stack([scene.around(draw(generator)) for _ in range(given.draws)])
        figures = none
        if given.draws > 1:
            spread = images.var(dim=0)[scene.mask].mean()
            crps = float(fair_crps(images, scene.truth)[scene.mask].mean()) / unit
            figures = float(spread / error.square().mean()), crps
        report(row, images[0], images.mean(0), figures, scene, False)
        if correction.any():
            report("  uncorrected", images[0] - correction, images.mean(0) - correction, none, scene, False)
        print(f"{'':20} {(time.perf_counter() - start) / given.draws:.0f} s a draw", flush=True)


if __name__ == "__main__":
    main()
