"""What the loop does for phases: rates, and the running means that losses are given."""

import numpy as np
import pytest
import torch

from bids_lfenhance.nn.stage import Stage
from bids_lfenhance.training.loop import rate_share


def test_the_rate_climbs_and_falls_as_a_cosine() -> None:
    stage = Stage("s", (), 110, 1, (8, 8, 8), warmup=10, floor=0.1)
    shares = [rate_share(stage, step) for step in range(110)]
    assert shares[0] == pytest.approx(1 / 11)
    assert shares[10] == 1.0
    assert shares[60] == pytest.approx(0.55)
    assert shares[109] == pytest.approx(0.1, abs=1e-3)
    assert max(np.diff(shares)[10:]) < 0


def test_the_optimiser_of_a_gpu_skips_a_step_without_asking_the_host() -> None:
    """What the loop relies on there (``found_inf``), on the processor's fused form of it."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimiser = torch.optim.AdamW([weight], 0.1, fused=True)
    for gradient, bad in ((float("nan"), 1.0), (1.0, 0.0)):
        weight.grad = torch.full((3,), gradient)
        optimiser.found_inf = torch.tensor(bad)  # type: ignore[attr-defined]
        optimiser.step()
        assert torch.equal(weight.detach(), torch.ones(3)) == bool(bad)
    assert int(optimiser.state[weight]["step"]) == 1
