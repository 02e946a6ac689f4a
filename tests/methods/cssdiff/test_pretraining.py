import pytest
import torch

from bids_lfenhance.methods.cssdiff.pretraining import positives, shift_of, spoilt


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
