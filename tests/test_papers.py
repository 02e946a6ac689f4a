"""What benchmarks/papers.py keeps and concludes, on rows made by hand; its scores against closed forms."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import papers
from benchmarks.conclusions import conclusions, printed
from benchmarks.residual import fair_crps, laplace_crps


def test_crps_of_draws_is_that_of_their_law() -> None:
    """Of N(0, 1) at y: y (2Φ(y) − 1) + 2φ(y) − 1/√π (Gneiting and Raftery 2007)."""
    draws = torch.randn(60, 20_000, generator=torch.Generator().manual_seed(0))
    for y in (0.0, 1.5):
        normal = torch.distributions.Normal(0.0, 1.0)
        at = torch.tensor(y)
        exact = at * (2 * normal.cdf(at) - 1) + 2 * normal.log_prob(at).exp() - 1 / torch.pi**0.5
        assert float(fair_crps(draws, torch.full((20_000,), y)).mean()) == pytest.approx(float(exact), abs=0.005)


def test_crps_of_laplace_is_the_integral() -> None:
    grid = np.linspace(-60, 60, 240_001)
    for error, sd in ((0.3, 1.0), (2.0, 0.5)):
        b = sd / 2**0.5
        below = np.where(grid < 0, 0.5 * np.exp(np.minimum(grid, 0) / b), 1 - 0.5 * np.exp(-np.maximum(grid, 0) / b))
        integral = float(((below - (grid >= error)) ** 2).sum() * (grid[1] - grid[0]))
        assert float(laplace_crps(torch.tensor(error), torch.tensor(sd))) == pytest.approx(integral, rel=1e-3)


def rows(table: str, psnr: dict[str, float]) -> list[dict[str, str]]:
    return [
        {"table": table, "subject": who, "row": row, "metric": metric, "value": str(value + change)}
        for metric in ("psnr", "brain-fit psnr")
        for who, change in (("a", -1.0), ("b", 1.0))
        for row, value in psnr.items()
    ]


def test_a_conclusion_holds_or_not_by_the_mean_over_people() -> None:
    bridge = {"1 low field as it is": 17.0, "2 bridge alone": 22.0, "3 diffusion alone": 19.0}
    text = conclusions(rows("bridge-1", bridge | {"4 bridge and diffusion": 21.0}))
    verdicts = {line.split(" | ")[1]: line.split("**")[1] for line in text.splitlines()[2:]}
    assert verdicts["the bridge makes most of the gain"] == "holds"
    assert verdicts["the prior without the bridge changes little"] == "does not hold"
    assert verdicts["diffusion after the bridge gains PSNR"] == "does not hold"
    assert "inr" not in text  # of what was not measured, nothing is said


def test_a_table_has_mean_and_spread() -> None:
    assert "| one | 2 | 20 ± 1.4 |" in printed("x", rows("x", {"one": 20.0}))


def test_a_row_is_measured_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def table(subject: str, given: argparse.Namespace) -> Iterator[papers.Way]:
        def row() -> papers.Figures:
            if subject in given.fails:
                raise MemoryError
            asked.append(subject)
            return {"psnr": 1.0}

        yield subject, "one", row

    monkeypatch.setitem(papers.TABLES, "x", papers.Table(table, ("psnr",)))
    given = argparse.Namespace(out=tmp_path / "papers.tsv", fails=["b"])
    with pytest.raises(MemoryError):
        papers.measure("x", ["a", "b"], given)
    given.fails = []
    papers.measure("x", ["a", "b"], given)
    assert asked == ["a", "b"]
    assert [row["subject"] for row in papers.kept(given.out)] == ["a", "b"]
