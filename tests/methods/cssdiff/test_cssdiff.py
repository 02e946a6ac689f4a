from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.methods.cssdiff.inference import enhance_batch as predict
from bids_lfenhance.methods.cssdiff.loss import stages
from bids_lfenhance.methods.cssdiff.method import ENHANCER, TRAINABLE
from bids_lfenhance.methods.cssdiff.network import build
from bids_lfenhance.methods.cssdiff.settings import CssDiffSettings
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn.method import Enhanced
from bids_lfenhance.nn.weights import save_weights

from ..learned import batch_of, untrained, untrained_weights
from ..phantoms import small_session

SMALL = CssDiffSettings(width=32, levels=2, blocks=1, reverse_width=8, discriminator_width=8)


def test_what_is_left_out_is_not_built_nor_trained() -> None:
    nothing = {"sgp": False, "lsc": False, "ccd": False}
    plain = CssDiffSettings(width=32, levels=2, **nothing)
    assert set(build(plain)) == {"denoiser"}
    assert [stage.name for stage in stages(plain)] == ["denoise"]
    assert [stage.name for stage in stages(SMALL)] == ["sgp-index", "sgp-shift", "sgp", "lsc", "denoise", "chain"]
    printed = stages(replace(SMALL, sgp_positive="argmax"))
    assert [stage.name for stage in printed][:2] == ["sgp-index", "sgp"]
    assert [stage.measured for stage in stages(SMALL)] == [False, False, False, False, True, True]
    assert "reverse" not in build(replace(SMALL, reverse="simulator"))


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="width of cssdiff"):
        CssDiffSettings(width=40)
    with pytest.raises(InputError, match="shuffle of cssdiff"):
        CssDiffSettings(shuffle=3)
    with pytest.raises(InputError, match="lsc_refine of cssdiff to be at most"):
        CssDiffSettings(lsc_refine=0.4)
    with pytest.raises(InputError, match="found one off"):
        CssDiffSettings(lsc_refine=0.1, lsc=False)


def test_the_papers_rate_is_halved_every_twelfth_of_a_stage() -> None:
    usual, paper = (stages(replace(SMALL, paper_lr=on)) for on in (False, True))
    assert [phase.rate for stage in usual[4:] for phase in stage.phases] == [2e-4, 1e-4, 2e-4]
    assert [phase.rate for stage in paper[4:] for phase in stage.phases] == [2e-3] * 3
    assert [stage.halvings for stage in paper] == [0, 0, 0, 0, 11, 11]


def test_tiny_fits_in_what_may_be_bundled() -> None:
    nets = build(CssDiffSettings(**TRAINABLE.about.presets["tiny"]))  # type: ignore[union-attr]
    assert (
        sum(
            weight.numel()
            for name in ("denoiser", "encoder", "restorer", "reverse")
            for weight in nets[name].parameters()
        )
        <= 8_000_000
    )


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that were drawn, not learnt."""
    share = {"levels": 2, "reverse_width": 8, "discriminator_width": 8, "steps": 2}
    return untrained_weights(TRAINABLE.name, tmp_path_factory.mktemp("drawn"), **share)


def run(weights: Path, draws: int, seed: int = 0, **changes: Any) -> Enhanced:
    session = small_session(np.random.default_rng(7), size=24)
    settings = CssDiffSettings(weights=str(weights), **changes)
    return enhance(session, ENHANCER, settings, np.random.default_rng(seed), draws)


def test_row_20_a_seed_is_an_image_and_draws_differ(drawn: Path) -> None:
    one, same, few = (run(drawn, 2, slices_at_once=count) for count in (16, 16, 3))
    assert np.array_equal(one.image, same.image)
    assert [result.provenance["records"][0]["slices_at_once"] for result in (one, few)] == [16, 3]
    # Half precision may round otherwise in other batches; the test below allows single precision far less.
    np.testing.assert_allclose(few.image, one.image, rtol=0, atol=1e-2 * one.image.max())
    assert one.std is not None
    assert one.std.any()
    assert one.provenance["records"][0]["nfe"] == 2
    assert not np.array_equal(one.image, run(drawn, 2, seed=1).image)


@pytest.mark.parametrize(
    "changes", [{}, {"ccd": False, "ddim_steps": 3}, {"sgp": False}, {"chain": "literal"}, {"lsc_refine": 0.2}]
)
def test_row_20_how_many_slices_at_once_does_not_matter(changes: dict[str, Any]) -> None:
    settings = replace(SMALL, steps=2, **changes)
    nets, batch = untrained(TRAINABLE, settings), batch_of("lf2hf", size=21)
    several, alone = (
        predict(nets, batch, replace(settings, slices_at_once=count), torch.Generator().manual_seed(1))
        for count in (99, 3)
    )
    assert (several - batch.input).abs().max() > 0.05
    torch.testing.assert_close(alone, several, atol=1e-5, rtol=0)


def test_a_denoiser_that_answers_no_numbers_is_refused(tmp_path: Path) -> None:
    settings = replace(SMALL, steps=2)
    nets = build(settings)
    with torch.no_grad():
        next(nets["denoiser"].parameters()).fill_(float("nan"))
    recipe = {"method": "cssdiff", "contrasts": CONTRASTS, "settings": asdict(settings)}
    with pytest.raises(MethodError, match="voxels that are not numbers"):
        run(save_weights(tmp_path, nets, recipe, ""), 1)


def test_strength_is_the_share_of_the_change(drawn: Path) -> None:
    input_ = small_session(np.random.default_rng(7), size=24).image
    whole, half = (run(drawn, 1, strength=share) for share in (1.0, 0.5))
    inside = (whole.image > 0.05) & (half.image > 0.05) & (input_ > 0.05)
    np.testing.assert_allclose(half.image[inside], ((whole.image + input_) / 2)[inside], rtol=1e-3, atol=1e-3)
    assert half.provenance["records"][0]["strength"] == 0.5
