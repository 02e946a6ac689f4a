"""What trust is worth, on SIMULATED low field: the scale of the error, expected |error|, expected error of volumes.

python benchmarks/trust_cases.py CASE ... --cache FOLDER        # first: makes what the tables are of
python benchmarks/reliability.py scale --cache FOLDER [--picture docs/images/reliability.png]
python benchmarks/reliability.py error --cache FOLDER --fit sub-11 sub-12 norm
python benchmarks/reliability.py volumes --cache FOLDER --fit sub-11 sub-12 norm

scale: voxels of the brain in tenths by the SD that fusionnet tells; ECE is the mean over the tenths of |RMS error −
SD|, in % of the brain's median. error: non-negative weights of ``expected_error`` fitted on the people of --fit, and
the correlation with |error|, both smoothed. volumes: factors such that nine in ten differences from high field of the
people of --fit are smaller, and the share that is, of them (each left out of the fit in turn) and of everybody else.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.optimize import nnls

from bids_lfenhance.evaluation.expected_error import SMOOTHING_FWHM, WEIGHTS, smoothed
from bids_lfenhance.imaging.grid import Grid

LEVEL = 0.9

PARTS = ("Std", "Cycle", "Spread", "Change")
"""What may foretell the error: first what ``expected_error`` sums; then how far the stacks of the session differ, and
how much was changed of their mean, which were tried and left out."""


def cases(folder: Path) -> dict[tuple[str, str, str], Path]:
    """(subject, planes, contrast) → the images of a case."""
    return {tuple(path.stem.rsplit("_", 2)): path for path in sorted(folder.glob("*.npz"))}  # type: ignore[misc]


def scale(folder: Path, picture: Path | None) -> None:
    """The table of the error scale, and a picture."""
    print("| who | stacks | | within 1 SD | within 2 SD | RMS error, % | SD, % | ECE, % | r of SD, error |")
    print("|---|---|---|---|---|---|---|---|---|")
    curves = {}
    for (subject, planes, contrast), path in cases(folder).items():
        with np.load(path) as file:
            found = file["found"]
            level = float(np.median(file["image"][found])) / 100
            error = np.abs(file["image"] - file["truth"])[found] / level
            sd = file["scale"][found] / level
        order = np.array_split(np.argsort(sd), 10)
        told, seen = (np.array([np.sqrt(np.mean(x[part] ** 2)) for part in order]) for x in (sd, error))
        curves[f"{contrast} {subject} {planes}"] = told, seen
        cells = [f"{np.mean(error < k * sd):.1%}".replace("%", " %") for k in (1, 2)]
        cells += [f"{np.sqrt(np.mean(x**2)):.1f}" for x in (error, sd)]
        cells += [f"{np.mean(np.abs(seen - told)):.1f}", f"{np.corrcoef(sd, error)[0, 1]:.2f}"]
        print(f"| {subject} | {planes} | {contrast} | {' | '.join(cells)} |", flush=True)
    if picture:
        draw(curves, picture)


def draw(curves: dict[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
    """RMS error over the SD that was told, a line a case, a point for each tenth of the brain's voxels."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(4.6, 4.2))
    for name, (told, seen) in curves.items():
        axes.plot(told, seen, marker="o", markersize=3, linewidth=1, label=name)
    top = max(float(max(told.max(), seen.max())) for told, seen in curves.values()) * 1.05
    axes.plot([0, top], [0, top], color="0.6", linewidth=0.8, linestyle="--", label="as told")
    axes.set(xlabel="SD told, % of median brain", ylabel="RMS error, % of median brain", xlim=(0, top), ylim=(0, top))
    axes.legend(fontsize=6, frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def parts(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """((N, 4) what may foretell the error: ``PARTS``; (N,) |error|), smoothed, over the median of the brain."""
    with np.load(path) as file:
        found, grid = file["found"], Grid(np.diag([*file["zooms"], 1.0]), file["found"].shape)
        level = float(np.median(file["image"][found]))
        images = {
            "Std": file["scale"],
            "Cycle": np.nan_to_num(file["cycle"]),
            "Spread": file["spread"],
            "Change": np.abs(file["image"] - file["mean"]),
        }
        columns = [smoothed(images[name] / level, found, grid)[found] for name in PARTS]
        error = smoothed(np.abs(file["image"] - file["truth"]) / level, found, grid)[found]
    return np.stack(columns, axis=1), error


def fitted(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Non-negative weights by least squares, each case counted alike."""
    square = sum(columns.T.astype(float) @ columns / len(error) for columns, error in pairs)
    right = sum(columns.T.astype(float) @ error / len(error) for columns, error in pairs)
    factor = np.linalg.cholesky(square + 1e-12 * np.trace(square) * np.eye(len(square)))
    return nnls(factor.T, np.linalg.solve(factor, right))[0]


def error(folder: Path, fit: Sequence[str]) -> None:
    """The weights, and how well they foretell |error|."""
    found = {key: parts(path) for key, path in cases(folder).items()}
    print(f"smoothed by {SMOOTHING_FWHM:g} mm; weights fitted on {', '.join(fit)}")
    for count in (len(WEIGHTS), len(PARTS)):
        pairs = [(columns[:, :count], truth) for (who, *_), (columns, truth) in found.items() if who in fit]
        print(", ".join(f"{name} {w:.3f}" for name, w in zip(PARTS, fitted(pairs), strict=False)))
    heads = [*(f"r of {name.lower()}" for name in PARTS), "r of expected", "r of all four", "expected over true"]
    print(f"\n| who | stacks | | {' | '.join(heads)} |\n|{'---|' * (3 + len(heads))}")
    for (who, planes, contrast), (columns, truth) in found.items():
        others = [pair for (name, *_), pair in found.items() if name in fit and name != who]
        sums = [columns[:, :n] @ fitted([(c[:, :n], t) for c, t in others]) for n in (len(WEIGHTS), len(PARTS))]
        cells = [f"{correlation(one, truth):.2f}" for one in (*columns.T, *sums)]
        print(
            f"| {who} | {planes} | {contrast} | {' | '.join(cells)} | {sums[0].mean() / truth.mean():.2f} |", flush=True
        )


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, NaN of what is the same everywhere."""
    return float(np.corrcoef(one, other)[0, 1]) if one.std() > 0 else float("nan")


Ratio = tuple[str, str, float]
"""Subject, segmentation (of tissue, which), and |difference| over uncertain volume."""


def ratios(folder: Path) -> Iterator[tuple[str, Ratio]]:
    """(Case, ratio) of every volume."""
    for (subject, planes, contrast), path in cases(folder).items():
        if not path.with_suffix(".json").exists():
            continue
        tables = json.loads(path.with_suffix(".json").read_text())
        for seg, rows in tables["enhanced"].items():
            for row, high in zip(rows, tables["high"][seg], strict=True):
                kind = f"tissue {row['name']}" if seg == "tissue" else seg
                difference = abs(row["volume_mm3"] - high["volume_mm3"])
                yield f"{subject} {planes} {contrast}", (subject, kind, difference / row["uncertain_mm3"])


def factor_of(values: Sequence[float]) -> float:
    """The least value that ``LEVEL`` of some values, and of one more like them, stay below (split conformal)."""
    rank = int(np.ceil(LEVEL * (len(values) + 1)))
    return float(np.sort(values)[min(rank, len(values)) - 1])


def volumes(folder: Path, fit: Sequence[str]) -> None:
    """The factors, and the share of true differences that they hold."""
    found = list(ratios(folder))
    kinds = list(dict.fromkeys(kind for _, (_, kind, _) in found))
    print("| segmentation | factor |\n|---|---|")
    for kind in kinds:
        print(f"| {kind} | {factor_of([r for _, (who, of, r) in found if who in fit and of == kind]):.2f} |")
    print(
        "\n| who | stacks | |",
        " | ".join(f"within, {kind}" for kind in kinds),
        "|\n|---|---|---|" + "---|" * len(kinds),
    )
    held: dict[str, list[bool]] = {}
    for case in dict.fromkeys(case for case, _ in found):
        cells, person = [], case.split()[0]
        for kind in kinds:
            factor = factor_of([r for _, (who, of, r) in found if who in fit and who != person and of == kind])
            inside = [r <= factor for name, (_, of, r) in found if name == case and of == kind]
            held.setdefault(f"{'fit' if person in fit else 'others'}, {kind}", []).extend(inside)
            cells.append(f"{sum(inside)} of {len(inside)}")
        print(f"| {' | '.join(case.split())} | {' | '.join(cells)} |")
    print()
    for name, inside in held.items():
        print(f"{name}: {np.mean(inside):.1%} of {len(inside)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["scale", "error", "volumes"])
    parser.add_argument("--cache", type=Path, required=True, help="folder of trust_cases.py")
    parser.add_argument("--fit", nargs="+", default=["sub-11", "sub-12", "norm"], help="people that weights come from")
    parser.add_argument("--picture", type=Path, help="scale: a picture of the table")
    given = parser.parse_args()
    if given.table == "scale":
        scale(given.cache, given.picture)
    else:
        {"error": error, "volumes": volumes}[given.table](given.cache, given.fit)


if __name__ == "__main__":
    main()
