"""The papers' tables on SIMULATED low field, each by one command, with the bundled weights, in a size for a processor.

python benchmarks/papers.py {bridge-1,cfm-1,cssdiff-1,inr} [SUBJECT …] [--out TSV]
python benchmarks/papers.py h2lo-1 FOLDER …     # what hidden_scanner.py left, one for each contrast

A row of a person is measured once and kept in --out; the same command goes on where it stopped, and prints the table:
mean ± SD over people. Slabs of 64 slices of validation people (residual.py), T1w, towards high field's contrast; draws
in the middle --side voxels; inr: whole heads (fidelity.py). Each table in its paper's own protocol. What a row stands
for, and which tables are missing and why: docs/methods/papers.md.
"""

import argparse
import csv
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import fidelity, residual, simulators
from benchmarks.conclusions import printed
from benchmarks.literal import SHARES
from bids_lfenhance.config import CONTRASTS, TISSUES
from bids_lfenhance.evaluation.image_metrics import image_metrics
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.bridge.settings import K
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.flow import heun, randn_like, uniform_times
from bids_lfenhance.nn.residual import standardise, time_of
from bids_lfenhance.resources import track_usage
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.simulators.iqt import IqtSettings
from bids_lfenhance.simulators.presets import named_preset, stack_geometry, tissue_snr
from bids_lfenhance.simulators.source import PURE, HighField
from tests import oracle

RESULTS = Path(__file__).resolve().parent / "results" / "papers.tsv"

Figures = Mapping[str, float]
Way = tuple[str, str, Callable[[], Figures]]
"""A person, a row, and what measures it."""

BOUND = (2.0, 4.0)
"""Mahalanobis distances: SNRs of a scan are drawn within the first, or between both (the paper's is not printed)."""


@dataclass(frozen=True)
class Table:
    """``rows(subject, options)``; ``columns`` in the order they are printed."""

    rows: Callable[[str, argparse.Namespace], Iterator[Way]]
    columns: tuple[str, ...]


def by_protocol(name: str, image: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> dict[str, float]:
    """The intensity metrics of a protocol."""
    rows = image_metrics(image.astype(np.float32), truth.astype(np.float32), mask, protocols=(name,))
    return {row["metric"]: row["value"] for row in rows}


def compare(name: str, image: Tensor, scene: residual.Scene) -> dict[str, float]:
    """The same of an image (x, y, z) in a scene, zero outside the brain."""
    shown, truth = image.clamp(min=0) * scene.mask, scene.truth * scene.mask
    return by_protocol(name, shown.numpy(), truth.numpy(), scene.mask.numpy())


def scene_of(subject: str, given: argparse.Namespace) -> residual.Scene:
    """Of a slab by the independent oracle, in the contrast of its scans."""
    head, planes = residual.Head.of(given.data, subject), ["axi", "cor", "sag"]
    image, volume = residual.make_slab(head, given.slices, planes, given.seed)
    return residual.scene_of(volume, image, given.side, "own")


def one_draw(row: str, scene: residual.Scene, given: argparse.Namespace) -> Tensor:
    """The estimate and one residual by a row of residual.py."""
    with torch.no_grad():
        draw = residual.way_of(row, scene, given.steps, "auto")
        return scene.around(draw(torch.Generator().manual_seed(given.seed)))


def from_latent(clean: Tensor, scene: residual.Scene, given: argparse.Namespace) -> Tensor:
    """An image (x, y, z) noised to level K in the residual's space and brought back by the prior."""
    generator, time = torch.Generator().manual_seed(given.seed), time_of(K)
    known = standardise(clean, scene.mean, scene.sigma)[None, None]
    state = time * known + (1 - time) * randn_like(known, generator)
    with torch.no_grad():
        return scene.around(heun(scene.velocity(), state, uniform_times(given.steps, time))[0, 0])


def latent_mse(image: Tensor, scene: residual.Scene) -> float:
    """ᾱ_K times the mean square error of an image scaled to [−1, 1]: all that one noise in both fields leaves."""
    top = float(scene.truth[scene.mask].max())
    return float(SHARES[K]) * float((2 * (image - scene.truth)[scene.mask] / top).square().mean())


def bridge_1(subject: str, given: argparse.Namespace) -> Iterator[Way]:
    """Ablation of the bridge; the latent MSE of rows 1 and 2, which have one in closed form."""
    scene = cache(lambda: scene_of(subject, given))

    def shown(image: Tensor, known: bool = False) -> Figures:
        extra = {"brain-fit psnr": compare("brain-fit", image, scene())["psnr"]}
        extra |= {"latent MSE at K": latent_mse(image, scene())} if known else {}
        return compare("ulfenc-val", image, scene()) | extra

    yield subject, "1 low field as it is", lambda: shown(scene().low, known=True)
    yield subject, "2 bridge alone", lambda: shown(scene().image, known=True)
    yield subject, "3 diffusion alone", lambda: shown(from_latent(scene().low, scene(), given))
    yield subject, "4 bridge and diffusion", lambda: shown(one_draw("bridge", scene(), given))
    yield subject, "ceiling: high field in", lambda: shown(from_latent(scene().truth, scene(), given))


def image_and_draw(
    method: str, subject: str, prefix: str, scene: Callable[[], residual.Scene], given: argparse.Namespace
) -> Iterator[Way]:
    """Low field, what a method writes, and one draw, slice by slice."""
    yield subject, f"{prefix}low field", lambda: compare("slice2d", scene().low, scene())
    yield subject, f"{prefix}{method}, image written", lambda: compare("slice2d", scene().image, scene())
    drawn = partial(one_draw, method)
    yield subject, f"{prefix}{method}, one draw", lambda: compare("slice2d", drawn(scene(), given), scene())


def cssdiff_1(subject: str, given: argparse.Namespace) -> Iterator[Way]:
    yield from image_and_draw("cssdiff", subject, "", cache(lambda: scene_of(subject, given)), given)


def cfm_1(subject: str, given: argparse.Namespace) -> Iterator[Way]:
    for prefix, beyond in (("in: ", False), ("out: ", True)):
        scene = cache(partial(hcp_scene, subject, beyond, given))
        yield from image_and_draw("cfm", subject, prefix, scene, given)


def hcp_scene(subject: str, beyond: bool, given: argparse.Namespace) -> residual.Scene:
    """Of one scan of the paper's geometry; ``beyond``: its SNRs lie outside the bound of the training's."""
    head = residual.Head.of(given.data, subject)
    preset, simulator = named_preset("iqt-hcp", "T1w"), get_simulator("iqt")
    source = HighField(head.image, "T1w", head.tissue, head.brain, head.grid, np.eye(4))
    low, high = BOUND if beyond else (0.0, BOUND[0])
    mean, covariance = tissue_snr(preset)
    for seed in count(given.seed):
        drawn = simulator.draw(source, preset, IqtSettings(d_max=high), np.random.default_rng(seed))
        away = np.array(drawn.snr) - mean
        if away @ np.linalg.solve(covariance, away) >= low**2:
            break
    image, volume = head.slab([simulator.apply(source, stack_geometry(preset, head.grid), drawn)], given.slices)
    return residual.scene_of(volume, image, given.side, "own")


def inr(subject: str, given: argparse.Namespace) -> Iterator[Way]:
    @cache
    def case() -> fidelity.Case:
        options = fidelity.parse([subject, "--data", str(given.data)])
        return fidelity.make_case(given.data, subject, options)

    @cache
    def fitted(seed: int) -> np.ndarray:
        record = get_method("inr")
        asked = record.about.sampling()
        return enhance(case().volume, record, asked, np.random.default_rng(seed), 1).image[CONTRASTS.index("T1w")]

    def row(image: np.ndarray, spread: float = float("nan")) -> Figures:
        base, truth = plain(case()), case().truth["T1w"]
        gain = 100 * (tissue_contrast(image, case()) / tissue_contrast(base, case()) - 1)
        kept = by_protocol("brain-fit", image, truth, case().brain)
        return {"contrast gain, %": gain, "edge_f1": kept["edge_f1"], "psnr": kept["psnr"], "spread, %": spread}

    def spread() -> float:
        both, brain = np.stack([fitted(0), fitted(1)]), case().brain
        return 100 * float(both.std(axis=0, ddof=1)[brain].mean() / np.percentile(both[0][brain], 95))

    yield subject, "plain mean of the stacks", lambda: row(plain(case()))
    yield subject, "inr", lambda: row(fitted(0), spread())
    yield subject, "high field", lambda: row(case().truth["T1w"])


def plain(case: fidelity.Case) -> np.ndarray:
    """The plain mean of a case."""
    return case.volume.channel("T1w")


def tissue_contrast(image: np.ndarray, case: fidelity.Case) -> float:
    """(WM − GM)/WM where the tissue of high field is pure."""
    tissue = oracle.tissue_by_intensity(case.truth["T1w"], case.brain, smooth=0)
    grey, white = (float(image[tissue[TISSUES.index(name)] > PURE].mean()) for name in ("GM", "WM"))
    return (white - grey) / white


def h2lo_1(folder: str, given: argparse.Namespace) -> Iterator[Way]:
    """``folder`` of a training; one test session of each of its test people."""
    trained = Path(folder)
    own, test = simulators.sessions(trained)
    parameters = cache(lambda: simulators.fitted_arnold(own))
    for number, example in enumerate(test):

        @cache
        def made(number: int = number, example: Example = example) -> Mapping[str, np.ndarray]:
            return simulators.ways(example, [trained], parameters(), given.seed + number)

        for way in ("high field as it is", "arnold", "physics", "iqt", "h2lo"):
            yield (
                example.subject,
                f"{example.contrasts['high'][0]}: {way}",
                partial(low_field_figures, made, way, example),
            )


def low_field_figures(made: Callable[[], Mapping[str, np.ndarray]], way: str, example: Example) -> Figures:
    """Of one simulator's low field: the columns of simulators.py."""
    return {" ".join(column): value for column, value in simulators.judged(made()[way], example).items()}


H2LO = tuple(" ".join(column) for column in simulators.COLUMNS)

TABLES = {
    "bridge-1": Table(bridge_1, ("ssim", "psnr", "mae", "nmse", "brain-fit psnr", "latent MSE at K")),
    "cssdiff-1": Table(cssdiff_1, ("psnr", "ssim", "lpips")),
    "cfm-1": Table(cfm_1, ("psnr", "ssim", "lpips")),
    "h2lo-1": Table(h2lo_1, H2LO),
    "inr": Table(inr, ("contrast gain, %", "edge_f1", "psnr", "spread, %")),
}
"""The tables that can be made, and their columns as printed."""

HEAD = ("table", "subject", "row", "metric", "value")


def kept(path: Path) -> list[dict[str, str]]:
    """What was measured before."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def measure(name: str, subjects: Sequence[str], given: argparse.Namespace) -> None:
    """Every row that is not in the file yet, added to it whole."""
    done = {(row["subject"], row["row"]) for row in kept(given.out) if row["table"] == name}
    for about in subjects:
        for subject, row, make in TABLES[name].rows(about, given):
            if (subject, row) in done:
                continue
            with track_usage() as usage:
                figures = make()
            lines = [[name, subject, row, key, f"{figures[key]:.5g}"] for key in TABLES[name].columns if key in figures]
            lines = lines if given.out.exists() else [list(HEAD), *lines]
            with given.out.open("a") as file:
                file.write("".join("\t".join(line) + "\n" for line in lines))
            print(f"{subject} {row}: {usage.cpu_seconds:.0f} CPU-s", file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("subjects", nargs="*", default=["sub-11", "sub-12"], help="h2lo-1: folders of trainings")
    parser.add_argument("--data", type=Path, default=fidelity.SHARED)
    parser.add_argument("--slices", type=int, default=64)
    parser.add_argument("--side", type=int, default=64, help="voxels of the box that is drawn and scored")
    parser.add_argument("--steps", type=int, default=8, help="of Heun")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    measure(given.table, given.subjects, given)
    print(f"SIMULATED low field; protocols and rows: docs/methods/papers.md\n\n{printed(given.table, kept(given.out))}")


if __name__ == "__main__":
    main()
