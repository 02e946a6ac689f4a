"""LPIPS is used where it is there and missed by nobody where it is not."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from bids_lfenhance.evaluation.image_metrics import lpips_mean


class Distance:
    """Stands in for the network: the mean absolute difference."""

    def eval(self) -> "Distance":
        return self

    def requires_grad_(self, wanted: bool) -> "Distance":
        assert not wanted
        return self

    def __call__(self, x: np.ndarray, y: np.ndarray) -> float:
        assert x.shape == y.shape == (5, 6, 3)
        assert x.min() >= -1
        assert x.max() <= 1
        return float(np.abs(x - y).mean())


def stand_in(network: object) -> SimpleNamespace:
    return SimpleNamespace(LPIPS=network, im2tensor=lambda image, factor: image / factor - 1)


@pytest.fixture
def pairs():
    return [(np.full((5, 6), 0.25), np.full((5, 6), 0.75)), (np.ones((5, 6)), np.ones((5, 6)))]


def test_mean_over_slices_in_minus_one_to_one(monkeypatch, pairs):
    monkeypatch.setitem(sys.modules, "lpips", stand_in(lambda net, verbose: Distance()))
    assert lpips_mean(pairs) == pytest.approx(0.5)


def test_absent_package(monkeypatch, pairs):
    monkeypatch.setitem(sys.modules, "lpips", None)
    assert lpips_mean(pairs) is None


def test_weights_that_cannot_be_loaded(monkeypatch, pairs, caplog):
    def offline(net: str, verbose: bool) -> None:
        raise OSError("no network")

    monkeypatch.setitem(sys.modules, "lpips", stand_in(offline))
    with caplog.at_level("INFO"):
        assert lpips_mean(pairs) is None
    assert "no network" in caplog.text
