"""One made-up derivative for the tests that only read it."""

from pathlib import Path

import pytest

from bids_lfenhance.reports.page import write_report

from .fake_derivative import Recipe, build, phantom

RUN = "20261122-093000_abc123"


@pytest.fixture(scope="session")
def derivative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions, both contrasts, high field, three draws; its report is written. Not to be changed."""
    out = build(tmp_path_factory.mktemp("derivative"), phantom(), Recipe(sessions=("HFC", "HFE"), worse=True))
    write_report(out, "sub-01", out / "logs" / RUN)
    return out


@pytest.fixture(scope="session")
def page(derivative: Path) -> str:
    """The text of that report."""
    return (derivative / "sub-01.html").read_text(encoding="utf-8")
