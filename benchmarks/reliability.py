"""What trust is worth, on SIMULATED low field: the scale of the error, expected |error|, expected error of volumes.

python benchmarks/trust_cases.py CASE ... --cache FOLDER        # first: makes what the tables are of
python benchmarks/reliability.py scale --cache FOLDER [--picture docs/images/reliability.png]
python benchmarks/reliability.py error --cache FOLDER --fit sub-11 norm
python benchmarks/reliability.py volumes --cache FOLDER --fit sub-11 norm

scale: voxels of the brain in tenths by the SD that fusionnet tells; ECE is the mean over the tenths of |RMS error −
SD|, in % of the brain's median; of error over SD the root mean square is told. High field's own noise is no error of
the estimate, so its variance is added to the SD's. error: non-negative weights of
``expected_error`` fitted on the people of --fit, and the correlation with |error|, both smoothed. volumes: the factor
such that nine in ten differences from high field are smaller in each of the people of --fit, and how many are: of a
person of --fit with the factor of the others, of everybody else with that of all, and of all with that of the app.
Tables go to benchmarks/results, from where ``make results`` puts them into the docs.
"""

import argparse
import csv
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.optimize import nnls

from bids_lfenhance.evaluation.expected_error import SMOOTHING_FWHM, WEIGHTS, smoothed
from bids_lfenhance.evaluation.volume_error import FACTOR
from bids_lfenhance.imaging.grid import Grid

RESULTS = Path(__file__).resolve().parent / "results"

LEVEL = 0.9
"""Share of true differences that the expected error of a volume holds."""

FAR = 6.0
"""Errors count for no more than so many of their SDs, as where a training fits their factor."""

PARTS = ("Std", "Cycle", "Spread", "Change")
"""What may foretell the error: first what ``expected_error`` sums; then how far the stacks of the session differ, and
how much was changed of their mean, which were tried and left out."""

Rows = list[dict[str, str]]


def cases(folder: Path, ending: str = ".npz") -> dict[tuple[str, ...], Path]:
    """(subject, planes, contrast) → the images of a case, or its volumes (.json)."""
    paths = sorted(path for path in folder.glob(f"*{ending}") if not path.name.startswith("high_"))
    return {tuple(path.stem.rsplit("_", 2)): path for path in paths}


def about(case: tuple[str, ...]) -> dict[str, str]:
    """The first columns of a row."""
    return dict(zip(("who", "stacks", "contrast"), (case[0], case[1].replace("+", " + "), case[2]), strict=True))


def keep(name: str, rows: Rows) -> None:
    """Write a table, and print it."""
    with (RESULTS / f"{name}.tsv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    print(
        "SIMULATED",
        name,
        *("\t".join(row.values()) for row in (dict(zip(rows[0], rows[0], strict=True)), *rows)),
        sep="\n",
    )


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def scale(folder: Path, picture: Path | None) -> None:
    """The table of the error scale, and a picture."""
    rows, curves = [], {}
    for case, path in cases(folder).items():
        with np.load(path) as file:
            found = file["found"]
            level = float(np.median(file["image"][found])) / 100
            error = np.abs(file["image"] - file["truth"])[found] / level
            sd, noise = file["scale"][found] / level, float(file["noise"]) / level
        sd = np.hypot(sd, noise)
        order = np.array_split(np.argsort(sd), 10)
        told, seen = (np.array([np.sqrt(np.mean(x[part] ** 2)) for part in order]) for x in (sd, error))
        curves[" ".join(case)] = told, seen
        figures = {f"within {k} SD": percent(float(np.mean(error < k * sd))) for k in (1, 2)}
        figures |= {"RMS error": f"{np.sqrt(np.mean(error**2)):.1f} %", "SD": f"{np.sqrt(np.mean(sd**2)):.1f} %"}
        figures["error over SD"] = f"{np.sqrt(np.mean(np.minimum(error / np.maximum(sd, 1e-9), FAR) ** 2)):.2f}"
        figures["of it, noise of high field"] = f"{noise:.1f} %"
        figures["ECE"] = f"{np.mean(np.abs(seen - told)):.1f} %"
        rows.append(about(case) | figures)
    keep("reliability", rows)
    if picture:
        draw(curves, picture)


def draw(curves: Mapping[str, tuple[np.ndarray, np.ndarray]], path: Path) -> None:
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
    found = {case: parts(path) for case, path in cases(folder).items()}
    print(f"smoothed by {SMOOTHING_FWHM:g} mm; weights fitted on {', '.join(fit)}:")
    for count in (len(WEIGHTS), len(PARTS)):
        pairs = [(columns[:, :count], truth) for (who, *_), (columns, truth) in found.items() if who in fit]
        print(", ".join(f"{name} {w:.3f}" for name, w in zip(PARTS, fitted(pairs), strict=False)))
    rows = []
    for case, (columns, truth) in found.items():
        others = [pair for (name, *_), pair in found.items() if name in fit and name != case[0]]
        sums = [columns[:, :n] @ fitted([(c[:, :n], t) for c, t in others]) for n in (len(WEIGHTS), len(PARTS))]
        figures = {f"r of {name}": correlation(one, truth) for name, one in zip(PARTS, columns.T, strict=True)}
        figures |= {"r of Error": correlation(sums[0], truth), "r of all four": correlation(sums[1], truth)}
        rows.append(about(case) | figures | {"Error over true": f"{sums[0].mean() / truth.mean():.2f}"})
    keep("expected-error", rows)


def correlation(one: np.ndarray, other: np.ndarray) -> str:
    """Pearson's; a dash for what is the same everywhere."""
    return f"{np.corrcoef(one, other)[0, 1]:.2f}" if one.std() > 0 else "–"


Found = Mapping[tuple[str, ...], np.ndarray]
"""Of each case (N, 3): volume in the enhanced image, |difference from high field|, uncertain volume; mm³."""


def regions_of(folder: Path) -> Found:
    found = {}
    for case, path in cases(folder, ".json").items():
        table = json.loads(path.read_text())
        pairs = zip(table["enhanced"]["regions"], table["high"]["regions"], strict=True)
        rows = [(row["volume_mm3"], abs(row["volume_mm3"] - high["volume_mm3"]), row) for row, high in pairs]
        found[case] = np.array([(volume, error, row["uncertain_mm3"]) for volume, error, row in rows])
    return found


def factor_of(found: Found, people: Collection[str]) -> float:
    """What ``LEVEL`` of the ratios of difference and uncertain volume stay below in each of some people.

    Of the n values of a person and one more like them (n + 1) · ``LEVEL`` are counted (split conformal); the greatest
    of the people's factors, as people differ more than the regions of one do.
    """
    factors = []
    for person in people:
        ratios = np.sort(np.concatenate([rows[:, 1] / rows[:, 2] for case, rows in found.items() if case[0] == person]))
        factors.append(float(ratios[min(int(np.ceil(LEVEL * (ratios.size + 1))), ratios.size) - 1]))
    return round(max(factors), 2)


def volumes(folder: Path, fit: Sequence[str]) -> None:
    """The factor, and the share of true differences that it holds."""
    found = regions_of(folder)
    without = {f"without {one}": factor_of(found, set(fit) - {one}) for one in fit}
    keep(
        "volume-factors", [{name: f"{value:.2f}" for name, value in ({"all": factor_of(found, fit)} | without).items()}]
    )
    rows = []
    for case, (volume, error, doubt) in ((case, table.T) for case, table in found.items()):
        cells = about(case) | {"factor of": ", ".join(one for one in fit if one != case[0])}
        fitted_factor = factor_of(found, set(fit) - {case[0]})
        for name, factor in (("inside", fitted_factor), ("inside, with the app's", FACTOR)):
            allowed = factor * doubt
            cells[name] = (
                f"{int((error <= allowed).sum())} of {len(error)}, ± {100 * np.median(allowed / volume):.0f} %"
            )
        rows.append(cells | {"median difference": f"{100 * np.median(error / volume):.0f} %"})
    keep("volume-error", rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["scale", "error", "volumes"])
    parser.add_argument("--cache", type=Path, required=True, help="folder of trust_cases.py")
    parser.add_argument(
        "--fit", nargs="+", default=["sub-11", "norm"], help="people that weights and factors come from"
    )
    parser.add_argument("--picture", type=Path, help="scale: a picture of the table")
    given = parser.parse_args()
    if given.table == "scale":
        scale(given.cache, given.picture)
    else:
        {"error": error, "volumes": volumes}[given.table](given.cache, given.fit)


if __name__ == "__main__":
    main()
