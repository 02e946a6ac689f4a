"""Samplers against distributions whose best network is known: points, a 2D Gaussian, a Gaussian random field."""

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from bids_lfenhance.nn.samplers import Predict, algorithm1, ddim, ddpm, repaint
from bids_lfenhance.nn.schedule import Schedule, cosine_schedule, uniform_levels

torch.set_num_threads(1)
COSINE = cosine_schedule()
MEAN = torch.tensor([0.5, -0.25], dtype=torch.float64)
COVARIANCE = torch.tensor([[1.0, 0.6], [0.6, 0.5]], dtype=torch.float64)
Run = Callable[[Predict, Tensor, list[int]], Tensor]


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=seeded(seed))


RUNS: dict[str, Run] = {
    "ddpm": lambda predict, start, levels: ddpm(predict, start, COSINE, levels, seeded(1)),
    "ddim": lambda predict, start, levels: ddim(predict, start, COSINE, levels),
    "repaint": lambda predict, start, levels: repaint(predict, start, COSINE, levels, 3, seeded(1)),
    "algorithm1": lambda predict, start, levels: algorithm1(predict, start, COSINE, levels, 3, seeded(1)),
}
CALLS = {"ddpm": 5, "ddim": 5, "repaint": 15, "algorithm1": 15}


# --- what all samplers promise -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize("levels", [[990, 640, 320, 120, 0], uniform_levels(400, 10), [3, 0]], ids=str)
def test_one_possible_image_is_found_on_any_grid(name: str, levels: list[int]) -> None:
    image = randn(2, 3, 4, seed=2)
    found = RUNS[name](lambda u, level: COSINE.velocity_from_clean(u, image, level), randn(2, 3, 4, seed=3), levels)
    torch.testing.assert_close(found, image, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", RUNS)
def test_randomness_is_the_generators(name: str) -> None:
    before = torch.random.get_rng_state()
    first, again = (RUNS[name](gaussian, randn(5, 2, seed=4), uniform_levels(400, 4)) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state()), "the global stream was used"
    assert torch.equal(first, again)


@pytest.mark.parametrize("name", RUNS)
def test_the_network_is_asked_at_the_levels_of_the_grid(name: str) -> None:
    levels, asked = uniform_levels(400, 5), []

    def predict(u: Tensor, level: int) -> Tensor:
        asked.append(level)
        return gaussian(u, level)

    RUNS[name](predict, randn(5, 2, seed=4), levels)
    assert len(asked) == CALLS[name]
    assert set(asked) == set(levels[:-1])


@pytest.mark.parametrize("name", RUNS)
def test_levels_that_do_not_fall_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="strictly"):
        RUNS[name](gaussian, randn(5, 2, seed=4), [400, 400, 0])


def test_a_callback_hears_of_every_step_and_can_cancel() -> None:
    heard: list[tuple[int, int]] = []
    start, levels = randn(1, 2, seed=1), uniform_levels(400, 4)
    ddim(gaussian, start, COSINE, levels, lambda *step: heard.append(step))
    ddpm(gaussian, start, COSINE, levels, seeded(1), lambda *step: heard.append(step))
    repaint(gaussian, start, COSINE, levels, 2, seeded(1), lambda *step: heard.append(step))
    algorithm1(gaussian, start, COSINE, levels, 2, seeded(1), callback=lambda *step: heard.append(step))
    assert heard == [(k, 4) for k in range(1, 5)] * 4

    def cancel(step: int, _: int) -> None:
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ddim(gaussian, start, COSINE, levels, cancel)


def test_a_chain_may_end_above_the_image_and_go_on_from_there() -> None:
    start = randn(5, 2, seed=1)
    whole = ddim(gaussian, start, COSINE, [990, 640, 320, 0])
    halfway = ddim(gaussian, start, COSINE, [990, 640])
    torch.testing.assert_close(ddim(gaussian, halfway, COSINE, [640, 320, 0]), whole)


# --- a Gaussian in two dimensions --------------------------------------------------------------------------------


def gaussian(u: Tensor, level: int) -> Tensor:
    """The best v for images ~ N(MEAN, COVARIANCE)."""
    share = COSINE.shares[level]
    gain = share.sqrt() * COVARIANCE @ torch.linalg.inv(share * COVARIANCE + (1 - share) * torch.eye(2))
    return COSINE.velocity_from_clean(u, MEAN + (u - share.sqrt() * MEAN) @ gain.T, level)


def linear_part(run: Run, levels: list[int]) -> Tensor:
    """(2, 2): what a deterministic sampler, affine here, multiplies its start by."""
    start = torch.eye(2, dtype=torch.float64)
    return run(gaussian, start, levels) - run(gaussian, torch.zeros_like(start), levels)


def covariance_error(run: Run, steps: int) -> float:
    linear = linear_part(run, uniform_levels(990, steps))
    return float((linear.T @ linear - COVARIANCE).norm() / COVARIANCE.norm())


def check_ddpm(predict: Predict, count: int) -> None:
    found = ddpm(predict, randn(count, 2, seed=1), COSINE, range(1000, -1, -1), seeded(2))
    assert (found.mean(dim=0) - MEAN).abs().max() <= 0.02
    assert (torch.cov(found.T) - COVARIANCE).norm() / COVARIANCE.norm() <= 0.02


def test_ddpm_draws_from_a_gaussian() -> None:
    check_ddpm(gaussian, 20_000)


@pytest.mark.slow
def test_ddpm_draws_from_a_gaussian_with_a_trained_network() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    adam, generator = torch.optim.Adam(net.parameters(), 3e-3), seeded(3)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(adam, 4000)
    root = torch.linalg.cholesky(COVARIANCE).float()
    for _ in range(4000):
        clean = MEAN.float() + torch.randn(2048, 2, generator=generator) @ root.T
        noise = torch.randn(2048, 2, generator=generator)
        level = torch.randint(1, 1001, (2048,), generator=generator)
        said = net(features(COSINE.add_noise(clean, noise, level), level))
        loss = (said - COSINE.velocity(clean, noise, level)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        fall.step()
    net.requires_grad_(False)
    check_ddpm(lambda u, level: net(features(u.float(), torch.full((len(u),), level))).double(), 20_000)


def features(u: Tensor, level: Tensor) -> Tensor:
    angle = level[:, None] / 1000 * torch.pi * torch.tensor([0.5, 1.0, 2.0, 4.0])
    return torch.cat([u, torch.cos(angle), torch.sin(angle)], dim=1)


def test_ddim_halves_its_error_with_twice_the_steps() -> None:
    errors = [covariance_error(RUNS["ddim"], steps) for steps in (10, 20, 50, 100)]
    assert all(error <= gate for error, gate in zip(errors, (0.26, 0.13, 0.07, 0.04), strict=True))
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.2)
    assert errors[2] / errors[3] == pytest.approx(2, abs=0.2)


def test_a_small_error_of_v_stays_small() -> None:
    levels, start = uniform_levels(990, 50), torch.zeros(1, 2, dtype=torch.float64)
    right = ddim(gaussian, start, COSINE, levels)
    of_velocity = ddim(lambda u, level: gaussian(u, level) + 0.01, start, COSINE, levels) - right

    def wrong_noise(u: Tensor, level: int) -> Tensor:
        share = COSINE.shares[level]
        noise = COSINE.noise(u, gaussian(u, level), level) + 0.01
        return (noise - (1 - share).sqrt() * u) / share.sqrt()

    of_noise = ddim(wrong_noise, start, COSINE, levels) - right
    assert of_velocity.abs().max() <= 0.02
    assert of_noise.abs().min() > 2 * of_velocity.abs().max(), "the reason for v"


# --- the bridge, and a Gaussian random field ---------------------------------------------------------------------


def psnr(found: Tensor, truth: Tensor) -> float:
    """Decibels, for images of range 2."""
    return float(10 * torch.log10(4 / (found - truth).square().mean()))


@pytest.mark.parametrize(("dtype", "gate"), [(torch.float32, 120.0), (torch.float64, 300.0)])
def test_a_bridge_with_the_true_noise_gives_back_the_high_field(dtype: torch.dtype, gate: float) -> None:
    high, low, noise = (scale * randn(1, 3, 20, 20, 20, seed=k).to(dtype) for k, scale in ((1, 0.4), (2, 0.4), (3, 1)))
    noisy_low = COSINE.add_noise(low, noise, 400)
    bridged = noisy_low + COSINE.shares[400].sqrt() * (high - low)
    assert bridged.dtype == dtype
    assert psnr(COSINE.remove_noise(bridged, noise, 400), high) >= gate
    assert psnr(COSINE.remove_noise_literal(bridged, noise, 400), high) < 15


class Field:
    """Images of 1/f amplitude, 2D, whose Fourier coefficients are independent: every best estimate is a filter."""

    def __init__(self, side: int) -> None:
        frequency = torch.fft.fftfreq(side, dtype=torch.float64)
        self.f = (frequency[:, None] ** 2 + frequency**2).sqrt()
        power = 1 / (self.f**2 + (1 / side) ** 2)
        self.power = 0.1 * power / power.mean()  # variance of a voxel: 0.1, so ±1 holds three SDs
        self.bands = (self.f < 0.05, (self.f > 0.1) & (self.f < 0.2), self.f > 0.3)

    def filter(self, image: Tensor, response: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(image) * response).real

    def draw(self, count: int, seed: int) -> Tensor:
        return self.filter(randn(count, *self.f.shape, seed=seed), self.power.sqrt())

    def predict(self, mean: Tensor | float, variance: Tensor) -> Predict:
        """The best v where coefficients have this mean (as an image) and variance."""

        def best(u: Tensor, level: int) -> Tensor:
            share = COSINE.shares[level]
            gain = share.sqrt() * variance / (share * variance + 1 - share)
            return COSINE.velocity_from_clean(u, mean + self.filter(u - share.sqrt() * mean, gain), level)

        return best

    def slope(self, found: Tensor, given: Tensor, band: Tensor) -> float:
        """Of the regression of the coefficients of ``found`` in a band on those of ``given``."""
        y, x = (torch.fft.fft2(image)[:, band] for image in (found, given))
        return float((x.conj() * y).real.sum() / x.abs().square().sum())


@pytest.mark.parametrize(("top", "repeats"), [(50, 3), (100, 1)])
def test_algorithm_1_forgets_its_image_as_predicted(top: int, repeats: int) -> None:
    field = Field(64)
    given = field.draw(6, seed=1)
    predict = field.predict(0.0, field.power)
    shares = COSINE.shares[1 : top + 1, None, None]
    kept = (shares * field.power / (shares * field.power + 1 - shares)).prod(dim=0) ** repeats
    levels = uniform_levels(top, top)
    found = algorithm1(predict, given, COSINE, levels, repeats, seeded(2))
    for band in field.bands:
        x = torch.fft.fft2(given)[:, band].abs().square()
        assert field.slope(found, given, band) == pytest.approx(float((x * kept[band]).sum() / x.sum()), abs=0.03)
    # The same noise on nothing: what differs is what is left of the image, to rounding.
    same = algorithm1(predict, torch.zeros_like(given), COSINE, levels, repeats, seeded(2))
    torch.testing.assert_close(found - same, field.filter(given, kept), rtol=0, atol=1e-10)


def test_algorithm_1_by_eq_11_fails_even_from_the_true_image() -> None:
    field, levels = Field(64), uniform_levels(400, 400)
    given, predict = field.draw(2, seed=1), field.predict(0.0, field.power)
    found = algorithm1(predict, given, COSINE, levels, 1, seeded(2), literal=True)
    assert psnr(found, given) < 15
    # Oracle: what Eq. 11 leaves of √ᾱ_i x when the network takes x̂_0 = g·√ᾱ_i x for the image.
    kept = torch.ones_like(field.power)
    for level in range(400, 0, -1):
        share, alpha = COSINE.shares[level], COSINE.shares[level] / COSINE.shares[level - 1]
        gain = share.sqrt() * field.power / (share * field.power + 1 - share)
        kept *= share.sqrt() * (1 - (1 - alpha) / (1 - share) * (1 - share.sqrt() * gain)) / alpha.sqrt()
    assert kept.max() < 1e-9
    nothing = algorithm1(predict, torch.zeros_like(given), COSINE, levels[380:], 1, seeded(2), literal=True)
    some = algorithm1(predict, given, COSINE, levels[380:], 1, seeded(2), literal=True)
    assert 1e-6 < (some - nothing).square().mean() / given.square().mean() < 1, "twenty levels alone shrink it"


@pytest.mark.parametrize("repeats", [1, 4])
def test_repaint_has_the_variance_of_its_recursion(repeats: int) -> None:
    variance, levels = torch.tensor(0.3, dtype=torch.float64), uniform_levels(400, 20)
    expected = torch.tensor(0.5, dtype=torch.float64)  # of a start whose law is not that of level 400

    def predict(u: Tensor, level: int) -> Tensor:
        share = COSINE.shares[level]
        return COSINE.velocity_from_clean(u, share.sqrt() * variance / (share * variance + 1 - share) * u, level)

    found = repaint(predict, expected.sqrt() * randn(100_000, seed=1), COSINE, levels, repeats, seeded(2))
    for level, lower in pairwise(levels):
        share, step = COSINE.shares[level], COSINE.shares[level] / COSINE.shares[lower]
        for number in range(repeats):
            if number:
                expected = step * expected + 1 - step
            clean = share.sqrt() * variance / (share * variance + 1 - share)
            mean, spread = COSINE.posterior(torch.ones_like(clean), clean, level, lower)
            expected = mean**2 * expected + spread**2
    assert float(found.var()) == pytest.approx(float(expected), rel=0.02)


def test_the_conditional_sampler_on_a_random_field() -> None:
    field = Field(128)
    truth = field.draw(1, seed=1)
    blur, sigma = torch.exp(-((field.f / 0.22) ** 2) / 2), 0.03
    low = field.filter(truth, blur) + sigma * randn(1, 128, 128, seed=2)
    bridge = field.filter(low, blur * field.power / (blur**2 * field.power + sigma**2))
    left = field.power * sigma**2 / (blur**2 * field.power + sigma**2)  # variance that the low field leaves open
    bound = psnr(bridge, truth)
    assert bound == pytest.approx(26.5, abs=0.5)
    start = COSINE.add_noise(bridge.expand(8, -1, -1), randn(8, 128, 128, seed=3), 400)
    predict = field.predict(bridge, left)

    def power(images: Tensor, band: int) -> list[float]:
        found, true = (torch.fft.fft2(one)[:, field.bands[band]].abs().square().mean(1) for one in (images, truth))
        return (found / true).tolist()

    middle, high = 1, 2
    drawn = ddim(predict, start, COSINE, uniform_levels(400, 20))
    assert psnr(drawn.mean(dim=0), truth[0]) >= bound - 0.5
    assert all(0.9 <= ratio <= 1.1 for ratio in power(drawn, middle))
    assert max(power(bridge, high)) < 0.5, "above, the bridge alone is too smooth"


def test_another_schedule_serves_as_well() -> None:
    schedule = Schedule(torch.linspace(1, 0.01, 1001, dtype=torch.float64))
    image = randn(2, 3, seed=1)
    found = ddim(lambda u, k: schedule.velocity_from_clean(u, image, k), randn(2, 3, seed=2), schedule, [500, 20, 0])
    torch.testing.assert_close(found, image)
