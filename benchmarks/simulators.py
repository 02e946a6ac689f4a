"""From high to low field: how near four simulators come to scans of a scanner they do not know. SIMULATED low field.

python benchmarks/simulators.py TRAINED [MORE …] [--examples FOLDER] [--limit N] [--save-arnold FILE]

TRAINED is the folder of ``bids_lfenhance PAIRS OUT train --method h2lo``; MORE are ablations trained on the same pairs
and split. The columns are those of the paper (protocol ``h2lo``: skull-stripped, each image divided by its maximum,
whole volume), and the first three of them again as this project measures (``brain-fit``). Arnold is fitted on three
training pairs, physics and IQT draw what they know of the preset, H2LO learnt from the training pairs; all are
judged on the test subjects of the split, mean ± SD over people.
"""

import argparse
import json
import os
import sys
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")

import numpy as np
import torch

from bids_lfenhance.evaluation.image_metrics import image_metrics
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Stack
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.methods.options import settings_of_weights
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.precision import bf16_is_native, run_in_bf16
from bids_lfenhance.nn.weights import load_weights
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.simulators.arnold import Parameters, fit_arnold, save_parameters
from bids_lfenhance.simulators.presets import get_preset
from bids_lfenhance.simulators.simulator import rows
from bids_lfenhance.simulators.source import HighField, high_field_source
from bids_lfenhance.training.examples import list_examples
from bids_lfenhance.training.patches import whole
from bids_lfenhance.training.sessions import PLANES, simulated_session

METRICS = {"h2lo": ("psnr", "ssim", "ncc", "wass", "hncc", "bhat", "js"), "brain-fit": ("psnr", "ssim", "ncc")}
COLUMNS = [(protocol, metric) for protocol, metrics in METRICS.items() for metric in metrics]
RESOLUTION = (1.6, 1.6, 5.0)
"""Where the fit of Arnold begins, mm."""


def images(example: Example) -> tuple[np.ndarray, np.ndarray, Grid]:
    """Low and high field (X, Y, Z) float32, and their grid."""
    low, high = (array[0].astype(np.float32) for array in (example.low, example.high))
    return low, high, Grid(example.affine, low.shape)


def bare(example: Example) -> HighField:
    """A source without tissues, which Arnold does not need."""
    _, high, grid = images(example)
    nothing = np.zeros((3, *grid.shape), np.float32)
    return HighField(high, example.contrasts["high"][0], nothing, np.asarray(example.mask), grid, example.to_template)


def fitted_arnold(examples: Sequence[Example]) -> Parameters:
    pairs = []
    for example in examples[:3]:
        low, _, grid = images(example)
        stack = Stack("low", example.contrasts["low"][0], low, grid.affine, grid.affine, RESOLUTION, 0.0)
        pairs.append((bare(example), stack))
    return fit_arnold(pairs)


def arnold(example: Example, parameters: Parameters, seed: int) -> np.ndarray:
    simulator, source = get_simulator("arnold"), bare(example)
    preset = get_preset(source.contrast, "iso")
    record = simulator.draw(source, preset, simulator.settings(), np.random.default_rng(seed))
    fwhm = (parameters.in_plane, parameters.in_plane, parameters.through_plane)
    record = replace(record, noise=parameters.noise, gamma=parameters.gamma, fwhm=fwhm, motion=rows(np.eye(4)))
    return simulator.apply(source, source.grid, record).data


def drawn(name: str, example: Example, seed: int) -> np.ndarray:
    """The plain mean of three stacks of a simulator that has not seen the scanner, as its defaults are."""
    _, high, grid = images(example)
    source = high_field_source(high, grid, example.contrasts["high"][0])
    simulator = get_simulator(name)
    made = simulated_session(simulator, [source], simulator.settings(), np.random.default_rng(seed), PLANES[0])
    return made.low.channel(source.contrast)


def learnt(example: Example, folder: Path) -> np.ndarray:
    method = get_trainable("h2lo")
    loaded = load_weights(folder, "h2lo", example.contrasts["high"])
    settings = method.about.settings(**settings_of_weights(method.about, loaded.settings))
    nets = method.build(settings)
    for name, net in nets.items():
        net.load_state_dict(loaded.state[name])
        net.eval()
        if bf16_is_native(torch.device("cpu")):
            run_in_bf16(net, torch.device("cpu"))
    batch = whole(example, "hf2lf").without_target()
    assert method.predict is not None
    found = method.predict(nets, batch, settings, torch.Generator())[0]
    return found[batch.present[0]][0].numpy()


def label(folder: Path) -> str:
    settings = tomllib.loads((folder / "recipe.toml").read_text())["settings"]
    flags = [f"--{key.replace('_', '-')}" for key in ("no_siren", "no_trunk") if settings[key]]
    if settings["lambda_grad"] != 1:
        flags.append(f"--lambda-grad {settings['lambda_grad']:g}")
    return " ".join(["h2lo", *flags])


def ways(example: Example, trained: Sequence[Path], parameters: Parameters, seed: int) -> dict[str, np.ndarray]:
    """Low field of a test session's high field (X, Y, Z), by way."""
    made = {"high field as it is": images(example)[1], "arnold": arnold(example, parameters, seed)}
    made |= {name: drawn(name, example, seed) for name in ("physics", "iqt")}
    return made | {label(folder): learnt(example, folder) for folder in trained}


def judged(image: np.ndarray, example: Example) -> dict[tuple[str, str], float]:
    """The columns of one image, by protocol and metric."""
    table = image_metrics(image * example.mask, images(example)[0], np.asarray(example.mask), protocols=tuple(METRICS))
    return {(row["protocol"], row["metric"]): row["value"] for row in table}


def sessions(trained: Path, examples: Path | None = None) -> tuple[list[Example], list[Example]]:
    """A training's own pairs, and one of each of its test people."""
    split = json.loads((trained / "split.json").read_text())
    pairs = [example for example in list_examples(examples or trained / "examples") if example.kind == "pairs"]
    test = {example.person: example for example in pairs if example.person in split["test"]}
    return [example for example in pairs if example.person in split["train"]], list(test.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("trained", type=Path, nargs="+")
    parser.add_argument("--examples", type=Path, help="folder of the examples (default: in TRAINED)")
    parser.add_argument("--limit", type=int, help="only the first N test subjects")
    parser.add_argument("--save-arnold", type=Path, help="keep the fitted parameters, for the setting ``parameters``")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    own, test = sessions(given.trained[0], given.examples)
    test, parameters = test[: given.limit], fitted_arnold(own)
    if given.save_arnold:
        save_parameters(given.save_arnold, {test[0].contrasts["high"][0]: parameters})
    print(f"SIMULATED low field, {len(test)} test subjects; Arnold fitted: {parameters}\n")
    found: dict[str, list[Mapping[tuple[str, str], float]]] = {}
    for number, example in enumerate(test):
        for way, image in ways(example, given.trained, parameters, given.seed + number).items():
            found.setdefault(way, []).append(judged(image, example))
            print(example.person.rpartition("/")[2], way, found[way][-1], file=sys.stderr, flush=True)
    names = [metric.upper() if protocol == "h2lo" else f"{protocol} {metric.upper()}" for protocol, metric in COLUMNS]
    print("| simulator | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for way, lines in found.items():
        cells = []
        for column in COLUMNS:
            values = np.array([line[column] for line in lines])
            digits = 2 if column[1] == "psnr" else 4
            spread = f" ± {values.std(ddof=1):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{values.mean():.{digits}f}{spread}")
        print(f"| {way} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
