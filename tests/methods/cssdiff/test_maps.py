"""What ``cssdiff`` says against its own result: found where it was planted, absent where nothing was learnt."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.cssdiff.maps import FLOOR, MAP_METADATA, available_maps, maps_of
from bids_lfenhance.methods.cssdiff.method import ENHANCER, TRAINABLE
from bids_lfenhance.methods.cssdiff.network import build
from bids_lfenhance.methods.cssdiff.settings import CssDiffSettings
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.batch import collate
from bids_lfenhance.nn.crop import BrainCrop
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import load_weights, save_weights

from ..learned import untrained, untrained_weights
from ..phantoms import small_session

SMALL = CssDiffSettings(width=32, levels=2, blocks=1, reverse_width=8, discriminator_width=8, steps=2)


class Same(torch.nn.Module):
    """Gives back what it is given, plus ``change``."""

    def __init__(self, change: float = 0.0) -> None:
        super().__init__()
        self.change = change

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """(N, C, U, V)."""
        return image + self.change


def saved(folder: Path, nets: dict[str, torch.nn.Module], settings: CssDiffSettings) -> Path:
    recipe = {"method": "cssdiff", "contrasts": list(CONTRASTS), "settings": asdict(settings)}
    return save_weights(folder, nets, recipe, "drawn, not learnt")


def run(weights: Path, draws: int = 1, **changes: object) -> Enhanced:
    session = small_session(np.random.default_rng(7), size=24)
    settings = CssDiffSettings(weights=str(weights), **changes)  # type: ignore[arg-type]
    return enhance(session, ENHANCER, settings, np.random.default_rng(0), draws)


def test_maps_are_differences_in_their_units() -> None:
    session = small_session(np.random.default_rng(7), size=24)
    cut = BrainCrop.of(session, ("T1w", "T2w"))
    there = collate([{"input": cut.scaled(), "present": cut.known, "mask": cut.mask[None]}])
    found = (there.input + 0.05) * there.mask
    nets = {"restorer": Same(0.2), "reverse": Same()}
    maps = maps_of(nets, found, cut, there, SMALL)
    inside = session.brain
    np.testing.assert_allclose(maps["Plausibility"][0][inside], 0.1, atol=1e-5)  # a range of 2 is one of 1
    for channel, name in enumerate(("T1w", "T2w")):
        sigmas = [stack.sigma for stack in session.stacks_of(name)]
        unit = np.hypot(*sigmas) / 2 / cut.scale.values[channel] + FLOOR
        np.testing.assert_allclose(maps["Cycle"][channel][inside], 0.05 / unit, rtol=1e-3)
    for image in maps.values():
        assert image.shape == session.image.shape
        assert not image[:, ~inside].any()
        assert not image[2].any()


def test_what_is_planted_stands_out() -> None:
    session = small_session(np.random.default_rng(7), size=24)
    cut = BrainCrop.of(session, ("T1w",))
    there = collate([{"input": cut.scaled(), "present": cut.known, "mask": cut.mask[None]}])
    found, centre = there.input.clone(), [side // 2 for side in cut.mask.shape]
    blob = (0, 0, *(slice(c - 2, c + 2) for c in centre))
    found[blob] += 0.4
    image = maps_of({"reverse": Same()}, found, cut, there, SMALL)["Cycle"][0]
    planted = cut.placed(np.broadcast_to((found != there.input)[0].numpy(), cut.image.shape).astype(float))[0] > 0
    assert image[planted].min() > 5 * np.median(image[session.brain])


@pytest.mark.parametrize(
    ("changes", "silent", "expected"),
    [
        ({}, (), {"Plausibility", "Cycle"}),
        ({}, ("reverse",), {"Plausibility"}),
        ({}, ("restorer", "reverse"), set()),
        ({"reverse": "simulator"}, (), {"Plausibility"}),
        ({"lsc": False}, (), {"Cycle"}),
        ({"ccd": False}, (), set()),
    ],
)
def test_only_what_has_learnt_is_asked(tmp_path: Path, changes: dict, silent: tuple, expected: set) -> None:
    settings = replace(SMALL, **changes)
    nets, fresh = untrained(TRAINABLE, settings), build(settings)
    folder = saved(tmp_path, nets | {name: fresh[name] for name in silent}, settings)
    told = available_maps(load_weights(folder, "cssdiff", ()))
    assert set(told) == expected
    assert all(told[name] == MAP_METADATA[name] for name in told)
    result = run(folder)
    assert set(result.maps) == expected
    assert all(image[:2].any() for image in result.maps.values())


def test_maps_are_the_means_of_those_of_the_draws(tmp_path: Path) -> None:
    weights = untrained_weights(TRAINABLE.name, tmp_path, levels=2, reverse_width=8, discriminator_width=8, steps=2)
    both, first = run(weights, 2), run(weights, 1)
    assert set(both.maps) == {"Plausibility", "Cycle"}
    assert not np.array_equal(both.maps["Cycle"], first.maps["Cycle"])
    np.testing.assert_array_equal(first.maps["Cycle"], run(weights, 1).maps["Cycle"])


def test_refinement_takes_a_share_of_the_restorer(tmp_path: Path) -> None:
    settings = replace(SMALL, strength=1.0)
    folder = saved(tmp_path / "all", untrained(TRAINABLE, settings), settings)
    none, some, more = (run(folder, lsc_refine=share) for share in (0.0, 0.1, 0.2))
    # Where nothing is cut off at zero, twice the share is twice the change.
    there = (none.image > 0.05) & (some.image > 0.05) & (more.image > 0.05)
    change, double = (more.image - none.image)[there], 2 * (some.image - none.image)[there]
    assert np.abs(change).max() > 0.01
    np.testing.assert_allclose(change, double, atol=2e-2 * np.abs(change).max())
    assert some.provenance["records"][0]["lsc_refine"] == 0.1
    without = replace(settings, lsc=False)
    bare = saved(tmp_path / "bare", untrained(TRAINABLE, without), without)
    with pytest.raises(InputError, match="ccd on in the training for lsc_refine"):
        run(bare, lsc_refine=0.1)


def test_weights_from_before_the_literal_chain_still_work(tmp_path: Path) -> None:
    settings = {key: value for key, value in asdict(SMALL).items() if key not in ("chain", "reverse", "lsc_refine")}
    recipe = {"method": "cssdiff", "contrasts": list(CONTRASTS), "settings": settings}
    folder = save_weights(tmp_path, untrained(TRAINABLE, SMALL), recipe, "")
    assert np.isfinite(run(folder).image).all()
