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


LONG = (
    "tests/test_end_to_end.py",
    "tests/reliability/test_recovery.py",
    "tests/reliability/test_faults.py",
    "tests/imaging/test_anatomy.py",
    "tests/workflows/test_simulate.py",
    "tests/imaging/test_preprocess.py",
    "tests/training/test_loop.py",
    "tests/workflows/test_engine.py",
    "tests/reports/test_group.py",
    "tests/methods/test_residual.py",
    "tests/simulators/test_head.py",
    "tests/methods/inr/test_inference.py",
    "tests/workflows/test_train_online.py",
    "tests/training/test_pack.py",
    "tests/methods/fusionnet/test_training.py",
    "tests/methods/test_new_method.py",
    "tests/imaging/test_spatial_normalisation.py",
    "tests/imaging/test_field_of_view.py",
    "tests/training/test_processes.py",
    "tests/methods/test_contract.py",
)
"""Files that take 20 CPU-seconds or more, longest first: no worker is left with one of them in the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files before the others."""
    items.sort(key=lambda item: LONG.index(item.location[0]) if item.location[0] in LONG else len(LONG))
