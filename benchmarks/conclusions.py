"""What papers.py measured, as tables, and which conclusions of the papers hold there: read by results.py, no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import mean, stdev

Row = Mapping[str, str]


def figures(rows: Sequence[Row], table: str) -> dict[str, dict[str, list[float]]]:
    """Values over people, by row and metric, of one table, in the order they were measured."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        if row["table"] == table:
            found.setdefault(row["row"], {}).setdefault(row["metric"], []).append(float(row["value"]))
    return found


def printed(table: str, rows: Sequence[Row]) -> str:
    """Mean ± SD over people, Markdown."""
    found = figures(rows, table)
    columns = list(dict.fromkeys(metric for values in found.values() for metric in values))
    lines = ["| row | people | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for row, values in found.items():
        people = max(len(one) for one in values.values())
        cells = [cell(values.get(column, [])) for column in columns]
        lines.append(f"| {row} | {people} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(values: Sequence[float]) -> str:
    """Mean ± SD; nothing where nothing was measured, or nothing is to be."""
    if not values or not all(map(isfinite, values)):
        return ""
    spread = f" ± {stdev(values):.2g}" if len(values) > 1 else ""
    return f"{mean(values):.4g}{spread}"


Value = Callable[[str, str], float]
"""The mean over people of a row and a metric."""

Verdict = tuple[bool, str]
"""Whether a conclusion holds, and the figures that say so."""


@dataclass(frozen=True)
class Claim:
    """A conclusion of a paper, drawn from a table."""

    table: str
    text: str
    judge: Callable[[Value], Verdict]


def rises(before: str, after: str, metric: str, digits: int = 2, least: float = 0.0) -> Callable[[Value], Verdict]:
    """Whether a metric rises from one row to another, by more than ``least``."""

    def judge(value: Value) -> Verdict:
        low, high = value(before, metric), value(after, metric)
        return high - low > least, f"{metric.removesuffix(', %')} {low:.{digits}f} → {high:.{digits}f}"

    return judge


def bridge_makes_most(value: Value) -> Verdict:
    """Whether more than half of the gain of both is the bridge's."""
    low, bridge, both = (value(row, FIT) for row in (LOW, BRIDGE, BOTH))
    most = bridge - low > max(0.0, 0.5 * (both - low))
    return most, f"{FIT} {low:.2f}, bridge {bridge:.2f}, both {both:.2f}"


def prior_does_little(value: Value) -> Verdict:
    """Whether the prior alone stays within half a dB of its input (paper: 17.54 → 17.60)."""
    low, alone = value(LOW, FIT), value("3 diffusion alone", FIT)
    return abs(alone - low) < 0.5, f"{FIT} {low:.2f} → {alone:.2f}"


LOW, BRIDGE, BOTH = "1 low field as it is", "2 bridge alone", "4 bridge and diffusion"
PLAIN, FIT = "plain mean of the stacks", "brain-fit psnr"

CLAIMS = (
    Claim("bridge-1", "the bridge makes most of the gain", bridge_makes_most),
    Claim("bridge-1", "the prior without the bridge changes little", prior_does_little),
    Claim("bridge-1", "diffusion after the bridge gains PSNR", rises(BRIDGE, BOTH, "psnr")),
    Claim("bridge-1", "the same, by brain-fit, which no single voxel decides", rises(BRIDGE, BOTH, FIT)),
    Claim("bridge-1", "diffusion after the bridge gains SSIM", rises(BRIDGE, BOTH, "ssim", 3)),
    Claim("bridge-1", "with high field in, 3 dB and more on top", rises(BOTH, "ceiling: high field in", FIT, 2, 3)),
    Claim("cfm-1", "a draw beats interpolation in distribution", rises("in: low field", "in: cfm, one draw", "psnr")),
    Claim("cfm-1", "a draw beats interpolation out of it", rises("out: low field", "out: cfm, one draw", "psnr")),
    Claim("cfm-1", "out of distribution costs PSNR", rises("out: cfm, one draw", "in: cfm, one draw", "psnr")),
    Claim("cssdiff-1", "what is drawn beats low field", rises("low field", "cssdiff, one draw", "psnr")),
    Claim("cssdiff-1", "the same, by SSIM", rises("low field", "cssdiff, one draw", "ssim", 3)),
    Claim("inr", "more contrast of white and grey matter", rises(PLAIN, "inr", "contrast gain, %", 0)),
    Claim("inr", "edges nearer to high field's", rises(PLAIN, "inr", "edge_f1")),
    Claim("h2lo-1", "nearer to low field than Arnold, T1w", rises("T1w: arnold", "T1w: h2lo", "h2lo psnr")),
    Claim("h2lo-1", "the same, inside the brain", rises("T1w: arnold", "T1w: h2lo", "brain-fit psnr")),
    Claim("h2lo-1", "nearer to low field than Arnold, T2w", rises("T2w: arnold", "T2w: h2lo", "h2lo psnr")),
    Claim("h2lo-1", "the same, inside the brain", rises("T2w: arnold", "T2w: h2lo", "brain-fit psnr")),
)


def conclusions(rows: Sequence[Row]) -> str:
    """The claims whose table was measured, Markdown."""
    lines = ["| table | the paper says | here | |", "|---|---|---|---|"]
    for claim in CLAIMS:
        found = figures(rows, claim.table)

        def value(row: str, metric: str, found: Mapping[str, Mapping[str, list[float]]] = found) -> float:
            return mean(found[row][metric])

        try:
            holds, words = claim.judge(value)
        except KeyError:
            continue
        lines.append(f"| {claim.table} | {claim.text} | {words} | **{'holds' if holds else 'does not hold'}** |")
    return "\n".join(lines)
