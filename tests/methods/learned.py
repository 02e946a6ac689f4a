"""Networks of learned methods and simulators without their training."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.nn.method import Learning, Method
from bids_lfenhance.nn.weights import save_weights


def untrained(learning: Learning, settings: Any, seed: int = 0) -> dict[str, torch.nn.Module]:
    """The method's networks with every parameter moved a little: nothing stays at the zero it starts from."""
    torch.manual_seed(seed)
    nets = learning.build(settings)
    for net in nets.values():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, float(parameter.detach().mean()), 0.05)
    return nets


def untrained_weights(method: Method, folder: Path, contrasts: tuple[str, ...] = CONTRASTS) -> Path:
    """A folder of weights of the tiny preset that nobody trained."""
    assert method.learning is not None
    settings = method.settings(**method.learning.presets["tiny"])
    recipe = {"method": method.name, "contrasts": list(contrasts), "settings": asdict(settings)}
    return save_weights(folder, untrained(method.learning, settings), recipe, "drawn, not learnt")
