"""Small heads as bytes: an ellipsoid of white matter in grey matter in fluid, with texture."""

from pathlib import Path

import numpy as np

from bids_lfenhance.nn.example import Example
from bids_lfenhance.simulators.online.material import TrainingHead, t1w_head
from bids_lfenhance.training.examples import read_example, write_head

FLUID, GREY, WHITE = 70, 130, 210
"""Bytes of the tissues."""


def radius_of(shape: tuple[int, int, int]) -> np.ndarray:
    """(X, Y, Z): 1 on the surface of the largest ellipsoid that fits."""
    axes = [np.linspace(-1, 1, side) for side in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2)


def head_image(shape: tuple[int, int, int] = (44, 48, 40), seed: int = 0, texture: float = 5.0) -> np.ndarray:
    """(X, Y, Z) uint8 T1w of a head without skull, 0 outside."""
    radius = radius_of(shape)
    tissue = np.select([radius < 0.55, radius < 0.85, radius < 1], [WHITE, GREY, FLUID], 0)
    noise = np.random.default_rng(seed).normal(0, texture, shape)
    return np.where(radius < 1, np.clip(tissue + noise, 1, 255), 0).astype(np.uint8)


def label_image(shape: tuple[int, int, int] = (44, 48, 40)) -> np.ndarray:
    """(X, Y, Z) uint8 FreeSurfer's labels: white matter, cortex and a ventricle, left and right."""
    radius = radius_of(shape)
    left = np.select([radius < 0.2, radius < 0.6, radius < 1], [4, 2, 3], 0)
    right = np.select([radius < 0.2, radius < 0.6, radius < 1], [43, 41, 42], 0)
    return np.where(np.arange(shape[0])[:, None, None] < shape[0] // 2, left, right).astype(np.uint8)


def head(shape: tuple[int, int, int] = (44, 48, 40), texture: float = 5.0) -> TrainingHead:
    """A T1w head with room around it."""
    return t1w_head(head_image(shape, texture=texture), "ds/a").with_room((0, 0, 0), 8)


def write_people(folder: Path, names: str = "abc", shape: tuple[int, int, int] = (30, 32, 28)) -> list[Example]:
    """One head on disk for each letter, of the dataset "ds"."""
    for seed, name in enumerate(names):
        write_head(
            folder / name, head_image(shape, seed)[None], ("T1w",), name, dataset="ds", origin={"licence": "CC0"}
        )
    return [read_example(folder / name) for name in names]
