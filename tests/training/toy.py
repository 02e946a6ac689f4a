"""A method of two convolutions and sessions of a few thousand voxels: the loop in a second."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.nn.batch import Batch
from bids_lfenhance.nn.example import Example
from bids_lfenhance.nn.method import Description, Trainable
from bids_lfenhance.nn.settings import Checked
from bids_lfenhance.nn.stage import Phase, Stage
from bids_lfenhance.training.examples import read_example, write_example

PLACE = np.diag([1 / 60, 1 / 70, 1 / 50, 1.0])
PLACE[:3, 3] = (-0.3, 0.1, -0.2)


@dataclass(frozen=True)
class ToyTraining(Checked):
    """What the tests change."""

    width: int = 4
    steps: int = 8
    second: int = 0
    rate: float = 1e-2
    batch: int = 2
    patch: int = 12
    nan_from: int = 10**9
    noise: float = 0.0


@dataclass(frozen=True)
class ToySampling(Checked):
    """What belongs to no weights."""

    weights: str = "auto"
    device: str = "cpu"


@dataclass(frozen=True)
class ToySettings(ToySampling, ToyTraining):
    """All of them."""


class TwoConv(nn.Module):
    """x + two convolutions of it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(len(CONTRASTS), width, 3, padding=1)
        self.last = nn.Conv3d(width, len(CONTRASTS), 3, padding=1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, X, Y, Z)."""
        return x + self.last(self.dropout(torch.relu(self.first(x))))


CALLS = {"losses": 0}


def losses(nets: Mapping[str, nn.Module], batch: Batch, settings: Any, generator: torch.Generator) -> Any:
    CALLS["losses"] += 1
    noise = torch.randn(batch.input.shape, generator=generator) * settings.noise
    found = nets["enhancer"](batch.input + noise)
    weight = (batch.mask & batch.wanted[:, :, None, None, None]).float()
    l1 = ((found - batch.target).abs() * weight).mean()
    return {"l1": l1 * (float("nan") if CALLS["losses"] > settings.nan_from else 1.0)}


def fool(nets: Any, batch: Any, settings: Any, generator: torch.Generator) -> Any:
    made = nets["enhancer"](batch.input)
    return {"l1": (made - batch.target).abs().mean(), "fool": -0.01 * nets["judge"](made).mean()}


def judge(nets: Any, batch: Any, settings: Any, generator: torch.Generator) -> Any:
    real, made = nets["judge"](batch.target), nets["judge"](nets["enhancer"](batch.input).detach())
    return {"judge": ((real - 1) ** 2).mean() + (made**2).mean()}


def build(settings: ToySettings) -> dict[str, nn.Module]:
    return {"enhancer": TwoConv(settings.width)}


def build_pair(settings: ToySettings) -> dict[str, nn.Module]:
    return {"enhancer": TwoConv(settings.width), "judge": nn.Conv3d(3, 1, 3), "idle": nn.Conv3d(1, 1, 1)}


def _patch(settings: ToySettings) -> tuple[int, int, int]:
    return settings.patch, settings.patch, settings.patch


def stages(settings: ToySettings) -> tuple[Stage, ...]:
    phase = Phase("enhance", ("enhancer",), losses, settings.rate)
    first = Stage("pretrain", (phase,), settings.steps, settings.batch, _patch(settings), "simulated", warmup=2)
    second = Stage("finetune", (phase,), settings.second, settings.batch, _patch(settings), "pairs")
    return tuple(stage for stage in (first, second) if stage.steps)


def stages_pair(settings: ToySettings) -> tuple[Stage, ...]:
    phases = (
        Phase("enhance", ("enhancer",), fool, settings.rate),
        Phase("judge", ("judge",), judge, settings.rate, betas=(0.5, 0.9), decay=0.01),
    )
    return (Stage("both", phases, settings.steps, settings.batch, _patch(settings)),)


def predict(nets: Any, batch: Any, settings: ToySettings, generator: torch.Generator) -> Tensor:
    found: Tensor = nets["enhancer"](batch.input) * batch.mask
    return found


ABOUT = Description(
    "toy", "lf2hf", "pairs", ToySettings, ToySampling, training=ToyTraining, presets={"paper": {}, "tiny": {}}
)
TOY = Trainable(ABOUT, build, stages, predict)
GAN = Trainable(replace(ABOUT, name="gan"), build_pair, stages_pair, predict)


def make_volume(rng: np.random.Generator, contrasts: Sequence[str], shape: tuple[int, int, int], gain: float) -> Volume:
    affine = np.eye(4)
    affine[:3, 3] = (-10, -12, -9)
    return volume_from_channels(
        Grid(affine, shape), {name: gain * rng.uniform(0.2, 1, shape).astype(np.float32) for name in contrasts}
    )


def make_example(
    folder: Path,
    subject: str,
    seed: int,
    kind: str = "simulated",
    low: Sequence[str] = ("T1w", "T2w"),
    high: Sequence[str] = ("T1w", "T2w"),
    shape: tuple[int, int, int] = (22, 20, 18),
    origin: Mapping[str, Any] | None = None,
    easy: bool = False,
    alike: bool = False,
) -> Example:
    """High field is noise, low field its 3³ mean (``easy``: its reciprocal): something to learn."""
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    sharp = make_volume(rng, high, shape, 400.0)
    change = (lambda x: 1 / x) if easy else (lambda x: 1.7 * ndimage.uniform_filter(x, 3))
    blurred = {name: change(sharp.channel(name)) for name in low if name in high}
    blurred |= {name: rng.uniform(0.2, 1, shape).astype(np.float32) for name in low if name not in high}
    mask = np.zeros(shape, bool)
    mask[2:-2, 3:-2, 2:-3] = True
    write_example(
        folder / f"{subject}-{seed}",
        volume_from_channels(sharp.grid, blurred),
        sharp,
        mask,
        PLACE,
        kind,  # type: ignore[arg-type]
        subject,
        "01",
        origin or ({"simulator": "toy"} if kind == "simulated" else {}),
        dataset="ds",
        sources=[(f"{subject}.nii.gz", "ab" * 32)],
        alike=alike,
    )
    return read_example(folder / f"{subject}-{seed}")
