import pytest
import torch

from bids_lfenhance.nn.implicit import SineLayer, gabor, linear, trunk

KINDS = ("gabor", "wire", "siren", "ff")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gabor_has_the_gradient_of_its_formula() -> None:
    u, v = (torch.randn(6, 5, dtype=torch.float64, generator=seeded(k)).requires_grad_() for k in (1, 2))
    torch.testing.assert_close(gabor(u, v), torch.cos(u) * torch.exp(-v * v))
    assert torch.autograd.gradcheck(gabor, (u, v))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_from_the_generator_alone(kind: str) -> None:
    before = torch.random.get_rng_state()
    nets = [trunk(kind, 3, 12, 3, 5.0, 3.0, seeded(seed)) for seed in (4, 4, 5)]  # type: ignore[arg-type]
    assert torch.equal(before, torch.random.get_rng_state()), "the global stream was used"
    points = torch.rand(9, 3, generator=seeded())
    first, again, other = (net(points) for net in nets)
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


@pytest.mark.parametrize("kind", KINDS)
def test_every_weight_learns_and_nothing_overflows(kind: str) -> None:
    net = trunk(kind, 3, 12, 3, 20.0, 7.0, seeded())  # type: ignore[arg-type]
    out = net(torch.rand(50, 3, generator=seeded(1)) * 2 - 1)
    (torch.view_as_real(out) if out.is_complex() else out).square().sum().backward()
    for name, weight in net.named_parameters():
        assert weight.grad is not None, name
        assert torch.isfinite(torch.view_as_real(weight.grad) if weight.is_complex() else weight.grad).all(), name
        assert weight.grad.abs().sum() > 0, name


def test_complex_layers_are_narrower_by_root_two() -> None:
    wire = trunk("wire", 3, 100, 2, 5.0, 3.0, seeded())
    assert wire(torch.zeros(1, 3)).shape == (1, 71)


def test_first_sine_layer_follows_siren() -> None:
    # Oracle: the published bounds, U(±1/in) for the first layer and U(±√(6/in)/ω) for the others.
    first, later = (SineLayer(3, 4000, 30.0, is_first, seeded()) for is_first in (True, False))
    assert float(first.linear.weight.detach().abs().max()) == pytest.approx(1 / 3, rel=1e-2)
    assert float(later.linear.weight.detach().abs().max()) == pytest.approx((6 / 3) ** 0.5 / 30, rel=1e-2)


def test_bound_of_zero_gives_a_silent_layer() -> None:
    layer = linear(5, 2, 0.0, seeded(), torch.float32)
    assert not layer.weight.any()
    assert layer.bias.any()
