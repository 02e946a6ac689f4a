"""How a flow is scored while it learns."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.methods.residual_training import score_sessions
from bids_lfenhance.nn.batch import Batch


@dataclass
class Held:
    batch: Batch


def losses(nets: Any, batch: Batch, settings: Any, generator: torch.Generator) -> dict[str, torch.Tensor]:
    """The target is to be told, which is as wide as the head happens to be."""
    told = nets["flow"](batch.input, torch.zeros(1))
    return {"velocity": (told - batch.target).square().mean()}


@pytest.mark.parametrize("wide", [0.3, 1.0, 4.0])
@pytest.mark.parametrize(("share", "score"), [(0.0, 0.0), (0.5, 0.75), (1.0, 1.0)])
def test_the_score_is_the_share_of_the_variance_there_is(wide: float, share: float, score: float) -> None:
    target = torch.from_numpy(np.random.default_rng(0).normal(0, wide, (1, 1, 6, 6, 6)).astype(np.float32))
    batch = Batch(target, torch.ones(1, 1, dtype=torch.bool), torch.ones_like(target, dtype=torch.bool), target)
    nets: Any = {"flow": lambda channels, time: share * channels}
    found = score_sessions(losses, "flow")(nets, [Held(batch)], None)  # type: ignore[list-item,type-var]
    assert found["velocity-r2"] == pytest.approx(score, abs=1e-5)
