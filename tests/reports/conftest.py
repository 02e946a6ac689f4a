"""One made-up derivative for the tests that only read it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bids_lfenhance.reports import rendering
from bids_lfenhance.reports.page import write_report

from .fake_derivative import Recipe, build, phantom

RUN = "20261122-093000_abc123"


@contextmanager
def undrawn() -> Iterator[None]:
    """Figures for print are empty files: they take most of the time, and matter to few tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rendering, "sheet_figure", lambda *_: b"")
        yield


@pytest.fixture(scope="session")
def derivative(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sessions, both contrasts, high field, three draws; its report is written. Not to be changed."""
    out = build(tmp_path_factory.mktemp("derivative"), phantom(), Recipe(sessions=("HFC", "HFE"), worse=True))
    with undrawn():
        write_report(out, "sub-01", out / "logs" / RUN)
    return out


@pytest.fixture(scope="session")
def page(derivative: Path) -> str:
    """The text of that report."""
    return (derivative / "sub-01.html").read_text(encoding="utf-8")
