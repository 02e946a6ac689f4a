import pytest
import torch

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.cssdiff.chain import chain_levels, walk
from bids_lfenhance.methods.cssdiff.guides import positives, shift_of, spoilt
from bids_lfenhance.methods.cssdiff.network import TOKEN
from bids_lfenhance.methods.cssdiff.recipe import METHOD, CssDiffSettings, build, stages

from ..learned import untrained

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


def test_settings_that_cannot_be_used_are_refused() -> None:
    with pytest.raises(InputError, match="--cssdiff-width"):
        CssDiffSettings(width=40)
