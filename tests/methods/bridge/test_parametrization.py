import pytest
import torch

from bids_lfenhance.methods.bridge.parametrization import (
    BACKGROUND,
    CLIP,
    SCHEDULE,
    bridge_denoise,
    from_signed_range,
    maps_of,
    noise_embedding,
    to_signed_range,
    velocity,
)

K = 400


def decibels(found: torch.Tensor, truth: torch.Tensor) -> float:
    return float(10 * torch.log10(4 / (found - truth).double().square().mean()))


def test_intensities_come_back_and_nothing_is_known_beyond_the_brain() -> None:
    image = torch.rand(1, 3, 4, 4, 4)
    known = torch.rand(1, 3, 4, 4, 4) > 0.5
    wide = to_signed_range(image, known)
    torch.testing.assert_close(from_signed_range(wide)[known], image[known])
    assert (wide[~known] == BACKGROUND).all()
    assert to_signed_range(torch.full((1, 1, 1, 1, 1), 9.0), torch.ones(1, 1, 1, 1, 1, dtype=torch.bool)).item() == (
        pytest.approx(CLIP)
    )


def test_a_perfect_bridge_gives_the_high_field_and_equation_11_does_not() -> None:
    """methods.md §9, row 6: φ = √ᾱ (x^HF − x^LF); removing the noise as printed must fail."""
    torch.manual_seed(0)
    low, high, noise = (torch.rand(1, 3, 24, 24, 24) * 2 - 1 for _ in range(3))
    noise = torch.randn_like(noise)

    def oracle(state: torch.Tensor) -> torch.Tensor:
        torch.testing.assert_close(state, SCHEDULE.add_noise(low, noise, K))
        found: torch.Tensor = SCHEDULE.shares[K].sqrt() * (high - low)
        return found

    assert decibels(bridge_denoise(oracle, low, noise, K), high) > 120
    assert decibels(bridge_denoise(oracle, low, noise, K, literal=True), high) < 15


def test_without_a_change_the_bridge_gives_the_low_field() -> None:
    low, noise = torch.rand(2, 3, 8, 8, 8), torch.randn(2, 3, 8, 8, 8)
    level = torch.tensor([250, 750])
    torch.testing.assert_close(bridge_denoise(torch.zeros_like, low, noise, level), low, atol=1e-5, rtol=0)


def test_noise_embedding_is_a_quarter_of_the_logarithm_of_noise_over_signal() -> None:
    assert float(noise_embedding(torch.tensor([K]))) == pytest.approx(torch.tensor(0.738).log().item() / 4, abs=1e-3)


@pytest.mark.parametrize("predicts", ["velocity", "correction"])
def test_either_answer_of_a_prior_is_the_velocity(predicts: str) -> None:
    torch.manual_seed(0)
    high, noise, shown = torch.rand(2, 3, 8, 8, 8), torch.randn(2, 3, 8, 8, 8), torch.rand(2, 3, 8, 8, 8)
    level = torch.tensor([30, 600])
    present = torch.tensor([[True, True, False], [False, False, False]])
    there = maps_of(present, high)
    truth = SCHEDULE.velocity(high, noise, level)

    class Oracle(torch.nn.Module):
        def forward(self, images: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
            torch.testing.assert_close(told, noise_embedding(level))
            return truth if predicts == "velocity" else high - shown * there

    images = torch.cat([SCHEDULE.add_noise(high, noise, level), shown, there], dim=1)
    torch.testing.assert_close(velocity(Oracle(), images, level, predicts), truth, atol=1e-5, rtol=1e-5)
