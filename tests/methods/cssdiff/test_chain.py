"""The chain: acceptance row 9, the literal reading, and the teacher (methods.md §1.2, §9)."""

from dataclasses import replace

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from bids_lfenhance.methods.cssdiff.chain import Condition, chain_levels, walk
from bids_lfenhance.methods.cssdiff.loss import Given, stages
from bids_lfenhance.methods.cssdiff.method import TRAINABLE
from bids_lfenhance.methods.cssdiff.network import TOKEN
from bids_lfenhance.methods.cssdiff.settings import CssDiffSettings
from bids_lfenhance.methods.cssdiff.slices import as_slices

from ..learned import batch_of, untrained

SMALL = CssDiffSettings(width=32, levels=2, blocks=1, reverse_width=8, discriminator_width=8)


def given(steps: int) -> tuple[Condition, torch.Tensor]:
    """What the denoiser is shown of one slice, and the noises of a chain."""
    generator = torch.Generator().manual_seed(0)
    seen, tokens = torch.randn(1, 12, 32, 32, generator=generator), torch.randn(1, 5, TOKEN, generator=generator)
    inside = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    return Condition(seen, tokens, inside), torch.randn(steps, 1, 3, 32, 32, generator=generator)


def saved_bytes(steps: int, lean: bool) -> int:
    """Bytes that wait for the backward pass after a chain and its way back through F, weights not counted."""
    nets = untrained(TRAINABLE, SMALL)
    weights = {w.untyped_storage().data_ptr() for net in nets.values() for w in net.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    shown, noises = given(steps)
    with saved_tensors_hooks(pack, lambda tensor: tensor):
        image, _ = walk(nets["denoiser"], shown, noises, chain_levels(steps), lean)
        cost = (nets["reverse"](image) - shown.seen[:, :3]).abs().mean()
    assert cost.requires_grad
    return sum(kept.values())


def test_levels_fall_from_990_to_the_image() -> None:
    assert chain_levels(4) == [990, 643, 350, 124, 0]


@pytest.mark.parametrize("chain", ["conditional", "literal"])
def test_row_9_checkpoints_change_no_gradient(chain: str) -> None:
    net = untrained(TRAINABLE, replace(SMALL, chain=chain))["denoiser"]
    shown, noises = given(3)
    found = []
    for lean in (True, False):
        net.zero_grad()
        image, path = walk(net, shown, noises, chain_levels(3), lean, chain == "literal", net)
        (image.square().mean() + path.mean()).backward()
        found.append(torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None]))
    assert found[0].abs().max() > 0
    assert (found[0] - found[1]).norm() <= 1e-6 * found[1].norm()


def test_row_9_the_cycle_reaches_chain_and_reverse() -> None:
    nets = untrained(TRAINABLE, SMALL)
    phase = stages(SMALL)[-1].phases[1]
    losses = phase.losses(nets, batch_of("lf2hf"), replace(SMALL, slices=2), torch.Generator().manual_seed(0))
    losses["cycle"].backward()
    for name in ("denoiser", "reverse"):
        steep = torch.cat([w.grad.flatten() for w in nets[name].parameters() if w.grad is not None]).norm()
        assert torch.isfinite(steep)
        assert steep > 0, name


def test_row_9_memory_hardly_grows_with_the_steps() -> None:
    few, many = (saved_bytes(steps, lean=True) for steps in (1, 8))
    assert (many - few) / 7 < 0.1 * few
    assert saved_bytes(8, lean=False) > 4 * many


def test_the_literal_chain_starts_from_low_field_and_is_given_noise() -> None:
    net = untrained(TRAINABLE, replace(SMALL, chain="literal"))["denoiser"]
    shown, noises = given(4)
    with torch.no_grad():
        image, _ = walk(net, shown, noises, chain_levels(4), lean=False, literal=True)
        state = shown.seen[:, :3]
        for level, noise in zip((990, 643, 350, 124), noises, strict=True):
            change = net(state, shown.seen, shown.tokens, torch.tensor([level]), noise) - shown.seen[:, :3]
            state = state + change / 4
        other, _ = walk(net, shown, noises.flip(0), chain_levels(4), lean=False, literal=True)
    torch.testing.assert_close(image, state)
    assert (image - other).abs().max() > 1e-3


def test_the_path_is_held_against_the_teacher_not_the_net() -> None:
    one, other = (untrained(TRAINABLE, SMALL, seed)["denoiser"] for seed in (0, 1))
    shown, noises = given(4)
    own, taught = (walk(one, shown, noises, chain_levels(4), teacher=net) for net in (one, other))
    torch.testing.assert_close(own[0], taught[0])
    assert (own[1] - taught[1]).abs().max() > 1e-3
    taught[1].mean().backward()
    assert all(weight.grad is None for weight in other.parameters())
    assert not walk(one, shown, noises, chain_levels(4))[1].any()


def test_the_losses_take_the_running_mean_where_there_is_one() -> None:
    nets, batch = untrained(TRAINABLE, SMALL), batch_of("lf2hf")
    phase = stages(SMALL)[-1].phases[1]
    assert phase.means == ("denoiser",)
    other = untrained(TRAINABLE, SMALL, seed=1)["denoiser"]
    without, with_mean = (
        phase.losses(n, batch, SMALL, torch.Generator().manual_seed(0)) for n in (nets, nets | {"denoiser-mean": other})
    )
    assert with_mean["path"].item() != pytest.approx(without["path"].item(), rel=1e-3)
    assert with_mean["cycle"].item() == pytest.approx(without["cycle"].item(), rel=1e-5)


def test_what_lies_outside_the_brain_is_known() -> None:
    """Neither the chain nor the losses spend anything on the background."""
    nets = untrained(TRAINABLE, SMALL)
    shown, noises = given(3)
    inside = torch.zeros_like(shown.inside)
    inside[..., 8:24, 8:24] = True
    image, _ = walk(nets["denoiser"], replace(shown, inside=inside), noises, chain_levels(3))
    assert (image[~inside.expand_as(image)] == -1).all()
    assert (image[inside.expand_as(image)] != -1).all()


def test_the_loss_is_that_of_the_brain() -> None:
    slices = as_slices(batch_of("lf2hf"))
    assert slices.high is not None
    item, index = torch.zeros(4, dtype=torch.long), torch.arange(10, 14)
    inside = slices.mask[item, index]
    condition = Condition(slices.seen(item, index, 1), None, inside)
    live = slices.live[item]
    one = Given(slices.low[item, index], slices.high[item, index], condition, live, (slices, item, index))
    errors = torch.rand(4, 3, *inside.shape[2:])
    assert one.mean(errors).item() == pytest.approx(errors[inside.expand_as(errors)].mean().item(), rel=1e-5)
    assert one.mean(errors + 9.0 * ~inside).item() == pytest.approx(one.mean(errors).item(), rel=1e-6)
