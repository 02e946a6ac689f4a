"""The tables of README.md and pages of docs, from benchmarks/results/*.tsv: ``make results``, or --check.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->``; what is between them is replaced. Rows come from

python benchmarks/estimate.py SUBJECT ... --out benchmarks/results/estimate.tsv
python benchmarks/lesions.py planted norm --planes axi --out benchmarks/results/planted-lesions.tsv
python benchmarks/reliability.py scale|error|volumes --cache FOLDER
python benchmarks/draws.py SUBJECT ... --out benchmarks/results/draws.tsv
python benchmarks/papers.py TABLE
python benchmarks/own_pairs.py test WEIGHTS

--check: change nothing, end with 1 where a page differs from its tables.
"""

import argparse
import csv
import re
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import mean

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.conclusions import conclusions  # noqa: E402
from bids_lfenhance.evaluation import thresholds  # noqa: E402
from bids_lfenhance.evaluation.usable import brief  # noqa: E402

PAGES = ("README.md", "docs/results.md", "docs/metrics.md", "docs/training.md", "docs/methods/uncertainty.md")

Row = dict[str, str]

TEST = ("sub-02", "sub-53", "sub-54", "sub-55")
"""People of the scanner that the networks learned from, never used but for this."""

WHO = {
    "norm": "`norm`, another scanner",
    "test_scan": "`test_scan`, another scanner",
    "head": "`head`, another scanner, with skull",
    "head-flair": "`head-flair`, another scanner, with skull",
    "patient26": "`patient26`, another scanner, lesions",
}


LONG_TABLE_ALONE = ("head", "head-flair", "test_scan")
"""Left out of README, which has no room for all."""


def rows_of(name: str) -> list[Row]:
    with (ROOT / "benchmarks" / "results" / f"{name}.tsv").open(newline="") as file:
        return list(csv.DictReader(file, delimiter="\t"))


def estimate_rows() -> list[tuple[str, Row]]:
    """Who, and the figures: the mean of the test subjects where all were looked at, then everybody else."""
    rows = rows_of("estimate")
    found: list[tuple[str, Row]] = []
    for planes in dict.fromkeys(row["planes"] for row in rows):
        test = [row for row in rows if row["subject"] in TEST and row["planes"] == planes]
        if test:
            found.append((f"{len(test)} test subjects, scanner of the training", averaged(test)))
    found += [(WHO[row["subject"]], row) for row in rows if row["subject"] in WHO]
    return found


def averaged(rows: Sequence[Row]) -> Row:
    """Means of the figures, words of the first."""
    return {
        key: value if not re.fullmatch(r"-?[\d.]+", value) else f"{mean(float(row[key]) for row in rows):.4f}"
        for key, value in rows[0].items()
    }


def stacks(row: Row) -> str:
    words = {"axi": "axial", "cor": "coronal", "sag": "sagittal", "iso": "isotropic"}
    parts = row["planes"].split("+")
    if len(parts) == 3:
        return "three planes"
    return " + ".join(words[part] for part in parts) + (" alone" if len(parts) == 1 else "")


def pair(row: Row, key: str, digits: int) -> str:
    """Plain mean → estimate, the better in bold."""
    before, after = float(row[f"mean_{key}"]), float(row[f"estimate_{key}"])
    texts = [f"{value:.{digits}f}".replace("0.", ".", 1 if value < 1 else 0) for value in (before, after)]
    best = 0 if before > after else 1
    texts[best] = f"**{texts[best]}**"
    return " → ".join(texts)


def long_table() -> str:
    lines = [
        "| who | stacks | | PSNR, dB | SSIM | power .2–.3 /mm | within 2 SD | r of SD, error |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for who, row in estimate_rows():
        power = f"{float(row['mean_power_0.2']):.2f} → {float(row['estimate_power_0.2']):.2f}"
        figures = [pair(row, "psnr", 2), pair(row, "ssim", 3), power]
        trust = [f"{float(row['coverage']):.1%}".replace("%", " %"), f"{float(row['correlation']):.2f}"]
        lines.append(f"| {who} | {stacks(row)} | {row['contrast']} | " + " | ".join([*figures, *trust]) + " |")
    return "\n".join(lines)


def short_table() -> str:
    lines = ["| who | stacks | contrast | PSNR, dB | SSIM | within 2 SD |", "|---|---|---|---|---|---|"]
    for who, row in estimate_rows():
        if row["subject"] in LONG_TABLE_ALONE:
            continue
        share = f"{float(row['coverage']):.1%}".replace("%", " %")
        cells = [who, stacks(row), row["contrast"], pair(row, "psnr", 2), pair(row, "ssim", 3), share]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def verdict_table() -> str:
    """How many scans of each way were judged how to look at, those that thresholds were not chosen by."""
    rows = [row for row in rows_of("verdicts") if row["side"] == "show"]
    ways = {way: [row for row in rows if row["way"] == way] for way in dict.fromkeys(row["way"] for row in rows)}
    lines = ["| made how | scans | yes | check | no | first reasons |", "|---|---|---|---|---|---|"]
    for way, own in ways.items():
        why = dict.fromkeys(brief(row["reasons"].split(" | ")[0]) for row in own if row["look"] != "yes")
        lines.append(f"| {way} | {_counts(own)} | {'; '.join(why)} |")
    lines.append(f"| **all bad** | {_counts([row for row in rows if row['way'] != 'good'])} | |")
    return "\n".join(lines)


def _counts(rows: Sequence[Row]) -> str:
    """How many, and how many yes, check, no to look at, as cells."""
    words = [row["look"] for row in rows]
    return " | ".join(str(number) for number in (len(words), *map(words.count, ("yes", "check", "no"))))


def planted_table() -> str:
    """Share of the plain mean's contrast that the estimate keeps of planted lesions, by size."""
    rows = rows_of("planted-lesions")
    sizes = list(dict.fromkeys(row["size_mm"] for row in rows))
    lines = [f"| stacks | lesions | {' | '.join(f'{size} mm' for size in sizes)} |", "|---" * (len(sizes) + 2) + "|"]
    for planes, kind in dict.fromkeys((row["planes"], row["kind"]) for row in rows):
        kept = {row["size_mm"]: float(row["kept"]) for row in rows if (row["planes"], row["kind"]) == (planes, kind)}
        cells = [stacks({"planes": planes}), kind, *(f"{kept[size]:.0%}".replace("%", " %") for size in sizes)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draws_table() -> str:
    """Of each subject the estimate, then one draw of each method."""
    lines = [
        "| who | | PSNR, dB | mean of all | variance | CRPS, % | power .1–.2 | .2–.3 | .3–.4 /mm | slices alike |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows_of("draws"):
        powers = [
            (float(row[f"power_{low:.2f}"]) + float(row[f"power_{low + 0.05:.2f}"])) / 2 for low in (0.1, 0.2, 0.3)
        ]
        shown = [f"{float(row['psnr']):.2f}"]
        shown += (
            ["", ""] if row["row"] == "estimate" else [f"{float(row[key]):.2f}" for key in ("mean_psnr", "variance")]
        )
        shown += [f"{float(row['crps']):.2f}", *(f"{one:.2f}" for one in powers), f"{float(row['along']):.2f}"]
        of = "" if row["contrast"] == "T1w" else f", {row['contrast']}"
        lines.append(f"| `{row['subject']}`{of} | {row['row']} | {' | '.join(shown)} |")
    return "\n".join(lines)


def as_it_is(name: str) -> str:
    """All of a table of benchmarks/results."""
    rows = rows_of(name)
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


TABLES: dict[str, Callable[[], str]] = {
    "estimate": long_table,
    "estimate-short": short_table,
    "thresholds": thresholds.table,
    "verdicts": verdict_table,
    "planted-lesions": planted_table,
    "draws": draws_table,
    "conclusions": lambda: conclusions(rows_of("papers")),
    **{
        name: partial(as_it_is, name)
        for name in ("reliability", "expected-error", "planted-errors", "volume-factors", "volume-error", "own-pairs")
    },
}


def filled(text: str) -> str:
    """The page with its tables as the results have them."""

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}\n{TABLES[match[2]]()}\n<!-- end -->"

    return re.sub(r"(<!-- table: ([\w-]+) -->)\n.*?<!-- end -->", table, text, flags=re.DOTALL)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 where a page differs")
    check, status = parser.parse_args().check, 0
    for name in PAGES:
        path = ROOT / name
        before = path.read_text(encoding="utf-8")
        after = filled(before)
        if before != after and check:
            print(f"{name} differs from benchmarks/results/*.tsv: run make results")
            status = 1
        elif before != after:
            path.write_text(after, encoding="utf-8")
            print(f"{name} written")
    return status


if __name__ == "__main__":
    sys.exit(main())
