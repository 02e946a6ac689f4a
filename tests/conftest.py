"""Fixtures every test may use."""

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, or a skip that says why."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the development data, expected at {SHARED}")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator, new for every test."""
    return np.random.default_rng(20261122)
