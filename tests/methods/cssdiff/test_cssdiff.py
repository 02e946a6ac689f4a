from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.cssdiff.chain import chain_levels, walk
from bids_lfenhance.methods.cssdiff.guides import positives, shift_of, spoilt
from bids_lfenhance.methods.cssdiff.network import TOKEN
from bids_lfenhance.methods.cssdiff.recipe import METHOD, CssDiffSettings, build, predict, stages
from bids_lfenhance.methods.cssdiff.sampler import USED
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.method import Enhanced

from ..learned import batch_of, untrained, untrained_weights
from ..phantoms import small_session

SMALL = CssDiffSettings(width=32, levels=2, blocks=1, reverse_width=8, judge_width=8)


def test_levels_fall_from_990_to_the_image() -> None:
    assert chain_levels(4) == [990, 643, 350, 124, 0]


def test_row_9_checkpoints_change_no_gradient() -> None:
    net = untrained(METHOD.learning, SMALL)["denoiser"]
    generator = torch.Generator().manual_seed(0)
    seen, noises = torch.randn(1, 12, 32, 32, generator=generator), torch.randn(3, 1, 3, 32, 32, generator=generator)
    tokens = torch.randn(1, 5, TOKEN, generator=generator)
    found = []
    for lean in (True, False):
        net.zero_grad()
        image, path = walk(net, seen, tokens, noises, chain_levels(3), lean, path=True)
        (image.square().mean() + path.mean()).backward()
        found.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert found[0].abs().max() > 0
    assert (found[0] - found[1]).norm() <= 1e-6 * found[1].norm()


@pytest.mark.parametrize("shift", [-3, 0, 2])
def test_the_shift_of_a_volume_is_found(shift: int) -> None:
    index = torch.arange(20)
    likeness = -(index[:, None] - shift - index[None]).abs().float()[None]
    brain = torch.ones(1, 20, dtype=torch.bool)
    assert shift_of(likeness, brain).tolist() == [shift]
    for positive in ("shift", "window"):
        goal, valid = positives(likeness, brain, positive)  # type: ignore[arg-type]
        assert torch.equal(goal[valid], (index - shift)[valid[0]])
        assert int(valid.sum()) == 20 - abs(shift)


def test_the_printed_choice_of_positives_is_free() -> None:
    likeness = torch.rand(1, 20, 20, generator=torch.Generator().manual_seed(0))
    goal, valid = positives(likeness, torch.ones(1, 20, dtype=torch.bool), "argmax")
    assert torch.equal(goal, likeness.argmax(dim=2))
    assert valid.all()


def test_blocks_are_turned_or_taken_out() -> None:
    image = torch.rand(2, 3, 37, 32, generator=torch.Generator().manual_seed(0))

    def spoil(turned: float, masked: float, untouched: float = 0.0) -> torch.Tensor:
        return spoilt(image, 8, turned, masked, untouched, torch.Generator().manual_seed(1))

    assert torch.equal(spoil(0, 0), image)
    assert torch.equal(spoil(1, 1, 1), image)
    gone = spoil(0, 1)
    assert (gone[:, :, :32] == -1).all()
    assert torch.equal(gone[:, :, 32:], image[:, :, 32:])
    block, turned = image[0, :, :8, 8:16], spoil(1, 0)[0, :, :8, 8:16]
    assert any(torch.equal(turned, block.rot90(number, (1, 2))) for number in (1, 2, 3))


def test_what_is_left_out_is_not_built_nor_trained() -> None:
    nothing = {"sgp": False, "lsc": False, "ccd": False}
    plain = CssDiffSettings(width=32, levels=2, **nothing)
    assert set(build(plain)) == {"denoiser"}
    assert [stage.name for stage in stages(plain)] == ["denoise"]
    assert [stage.name for stage in stages(SMALL)] == ["sgp-index", "sgp", "lsc", "denoise", "chain"]
    assert [stage.measured for stage in stages(SMALL)] == [False, False, False, True, True]


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="--cssdiff-width"):
        CssDiffSettings(width=40)
    with pytest.raises(InputError, match="--cssdiff-shuffle"):
        CssDiffSettings(shuffle=3)


def test_tiny_fits_in_what_may_be_bundled() -> None:
    nets = build(CssDiffSettings(**METHOD.learning.presets["tiny"]))  # type: ignore[union-attr]
    assert sum(weight.numel() for name in USED for weight in nets[name].parameters()) <= 8_000_000


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that were drawn, not learnt."""
    share = {"levels": 2, "reverse_width": 8, "judge_width": 8, "steps": 2}
    return untrained_weights(METHOD, tmp_path_factory.mktemp("drawn"), **share)


def run(weights: Path, draws: int, seed: int = 0, **changes: Any) -> Enhanced:
    session = small_session(np.random.default_rng(7), size=24)
    settings = CssDiffSettings(weights=str(weights), **changes)
    return enhance(session, METHOD, settings, np.random.default_rng(seed), draws)


def test_row_20_a_seed_is_an_image_and_draws_differ(drawn: Path) -> None:
    one, same = (run(drawn, 2, slices_at_once=count) for count in (16, 16))
    assert np.array_equal(one.image, same.image)
    assert one.std is not None
    assert one.std.any()
    assert one.provenance["records"][0]["nfe"] == 2
    assert not np.array_equal(one.image, run(drawn, 2, seed=1).image)


@pytest.mark.parametrize("changes", [{}, {"ccd": False, "ddim_steps": 3}, {"sgp": False}])
def test_row_20_how_many_slices_at_once_does_not_matter(changes: dict[str, Any]) -> None:
    settings = replace(SMALL, steps=2, **changes)
    nets, batch = untrained(METHOD.learning, settings), batch_of("lf2hf", size=21)
    several, alone = (
        predict(nets, batch, replace(settings, slices_at_once=count), torch.Generator().manual_seed(1))
        for count in (99, 3)
    )
    assert (several - batch["input"]).abs().max() > 0.05
    torch.testing.assert_close(alone, several, atol=1e-5, rtol=0)


def test_strength_is_the_share_of_the_change(drawn: Path) -> None:
    input_ = small_session(np.random.default_rng(7), size=24).image
    whole, half = (run(drawn, 1, strength=share) for share in (1.0, 0.5))
    inside = (whole.image > 0.05) & (half.image > 0.05) & (input_ > 0.05)
    np.testing.assert_allclose(half.image[inside], ((whole.image + input_) / 2)[inside], rtol=1e-3, atol=1e-3)
    assert half.provenance["records"][0]["strength"] == 0.5
