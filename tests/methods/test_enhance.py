from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from bids_lfenhance.errors import InputError, MethodError
from bids_lfenhance.imaging.grid import Grid
from bids_lfenhance.imaging.volume import Volume, volume_from_channels
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.enhance import check_draws, enhance
from bids_lfenhance.nn.method import Description, Draw, Enhancer, Prepared


@dataclass(frozen=True)
class Nothing:
    """No options."""


@pytest.fixture
def volume() -> Volume:
    return volume_from_channels(Grid(np.eye(4), (4, 5, 6)), {"T1w": np.ones((4, 5, 6), dtype=np.float32)})


def about(name: str = "toy", options: type = Nothing, draws: int = 1) -> Description:
    return Description(name, "lf2hf", "nothing", options, options, draws=draws)


def method(change: Any, **record: Any) -> Enhancer[Any, Any]:
    """A method whose draw is the image plus whatever ``change`` makes of the draw's generator."""

    def sample(prepared: Prepared[Nothing], generator: np.random.Generator) -> Draw:
        return Draw(prepared.volume.image + change(generator), record)

    return Enhancer(about(), Prepared, sample)


def noise(generator: np.random.Generator) -> np.ndarray:
    return generator.normal(size=(3, 4, 5, 6)).astype(np.float32)


def test_the_mean_is_that_of_all_draws_at_once_and_their_spread_is_no_error(volume: Volume) -> None:
    result = enhance(volume, method(noise), Nothing(), np.random.default_rng(0), n_samples=7)
    draws = np.stack([volume.image + noise(child) for child in np.random.default_rng(0).spawn(7)])
    np.testing.assert_allclose(result.image, draws.mean(axis=0), atol=1e-6)
    assert result.std is None


def test_more_draws_leave_the_first_ones_as_they_were(volume: Volume) -> None:
    seen: list[np.ndarray] = []

    def remember(generator: np.random.Generator) -> np.ndarray:
        seen.append(noise(generator))
        return seen[-1]

    enhance(volume, method(remember), Nothing(), np.random.default_rng(0), n_samples=2)
    enhance(volume, method(remember), Nothing(), np.random.default_rng(0), n_samples=3)
    np.testing.assert_array_equal(seen[:2], seen[2:4])


def test_draws_that_never_differ_are_not_counted(volume: Volume) -> None:
    for name, settings in (
        ("interp", get_method("interp").about.sampling()),
        ("cfm", get_method("cfm").about.sampling(sample=False)),
    ):
        with pytest.raises(InputError, match="Expected --n-samples 1"):
            enhance(volume, get_method(name), settings, np.random.default_rng(0), n_samples=2)
    cfm = get_method("cfm")
    check_draws(cfm, cfm.about.sampling(), 2)


def test_other_draws_of_one_generator_have_another_record(volume: Volume) -> None:
    generator = np.random.default_rng(7)
    one, other = (enhance(volume, method(noise), Nothing(), generator) for _ in range(2))
    assert not np.array_equal(one.image, other.image)
    assert one.provenance["seed"] == {"entropy": 7, "spawn_key": []} != other.provenance["seed"]


def test_not_a_number_is_not_handed_on(volume: Volume) -> None:
    with pytest.raises(MethodError, match="360 voxels that are not numbers"):
        enhance(volume, method(lambda generator: np.nan), Nothing(), np.random.default_rng(0))


def test_a_method_may_say_its_own_error(volume: Volume) -> None:
    """Then it is written for a single draw too, and the draws' spread is not."""

    def sample(prepared: Prepared[Nothing], generator: np.random.Generator) -> Draw:
        return Draw(prepared.volume.image + noise(generator), {}, scale=np.full_like(prepared.volume.image, 0.25))

    for count in (1, 3):
        found = enhance(volume, Enhancer(about(), Prepared, sample), Nothing(), np.random.default_rng(0), count)
        np.testing.assert_array_equal(found.std, np.full_like(volume.image, 0.25))


def test_warnings_of_all_draws_are_gathered_once(volume: Volume) -> None:
    toy = method(noise, warnings=["the scan is odd"])
    result = enhance(volume, toy, Nothing(), np.random.default_rng(0), n_samples=3)
    assert result.provenance["warnings"] == ["the scan is odd"]


def test_what_draws_share_is_prepared_once_and_progress_told(volume: Volume) -> None:
    prepared, told = [], []

    def prepare(volume: Volume, settings: Any) -> Prepared[Any]:
        prepared.append(settings)
        return Prepared(replace(volume, image=volume.image + 2), settings)

    def sample(prepared: Prepared[Any], generator: np.random.Generator) -> Draw:
        return Draw(prepared.volume.image, {})

    toy = Enhancer(about(draws=3), prepare, sample)
    result = enhance(
        volume, toy, Nothing(), np.random.default_rng(0), progress=lambda done, of: told.append((done, of))
    )
    assert len(prepared) == 1
    assert told == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(result.image, volume.image + 2)


@dataclass(frozen=True)
class Windowed:
    """Where it runs, and how much at once."""

    device: str = "cpu"
    window: int = 10**12


def hungry(most: int, fits: bool = True, least: int = 0) -> Enhancer[Any, Any]:
    """A method whose third draw finds too little memory with a window above ``most``; ``least`` is what it takes."""
    import torch

    calls: list[int] = []

    def prepare(volume: Volume, settings: Any) -> Prepared[Windowed]:
        return Prepared(volume, settings)

    def fit(prepared: Prepared[Windowed], limit: int) -> Prepared[Windowed]:
        if limit < least:
            raise InputError(f"Expected {least} bytes, found {limit}; give more.")
        return replace(prepared, settings=Windowed(window=limit))

    def sample(prepared: Prepared[Windowed], generator: np.random.Generator) -> Draw:
        calls.append(prepared.settings.window)
        image = prepared.volume.image + noise(generator)
        if len(calls) > 2 and calls[-1] > most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 7 TiB. GPU 0 has nothing.")
        return Draw(image, {})

    return Enhancer(about("hungry", Windowed, 4), prepare, sample, fit_to_memory=fit if fits else None)


def test_too_little_memory_takes_a_quarter_once_and_changes_nothing_else(volume: Volume) -> None:
    half = 2**29  # of the GiB that is given
    result = enhance(volume, hungry(half), Windowed(), np.random.default_rng(0), memory_gb=1)
    plenty = enhance(volume, hungry(10**13), Windowed(), np.random.default_rng(0), memory_gb=1)
    np.testing.assert_array_equal(result.image, plenty.image)
    np.testing.assert_array_equal(result.std, plenty.std)
    (warning,) = result.provenance["warnings"]
    assert "went on with less" in warning
    assert [one.provenance["settings"]["window"] for one in (result, plenty)] == [2**28, 2**30], "what was used"
    assert not plenty.provenance["warnings"]


def test_what_does_not_fit_into_a_quarter_is_tried_in_half(volume: Volume) -> None:
    gib = 2**30
    result = enhance(volume, hungry(gib // 2, least=gib // 3), Windowed(), np.random.default_rng(0), memory_gb=1)
    assert len(result.provenance["warnings"]) == 1
    with pytest.raises(MethodError, match="ran out of memory"):
        enhance(volume, hungry(gib // 2, least=gib * 2 // 3), Windowed(), np.random.default_rng(0), memory_gb=1)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: out of memory"),
    ],
)
def test_memory_that_is_gone_before_the_first_draw_is_named(volume: Volume, error: Exception) -> None:
    def prepare(volume: Volume, settings: Any) -> Prepared[Windowed]:
        raise error

    method = replace(hungry(32), prepare=prepare)
    with pytest.raises(MethodError, match="hungry ran out of memory on its device"):
        enhance(volume, method, Windowed(), np.random.default_rng(0), memory_gb=1)


def test_nothing_is_tried_twice_alike_and_other_errors_stay_as_they_are(volume: Volume) -> None:
    asked: list[int] = []

    def sample(prepared: Prepared[Windowed], generator: np.random.Generator) -> Draw:
        asked.append(1)
        raise RuntimeError("out of memory" if len(asked) == 1 else "another fault")

    method = replace(hungry(32), sample=sample, fit_to_memory=lambda prepared, limit: prepared)
    with pytest.raises(MethodError, match="out of memory"):
        enhance(volume, method, Windowed(), np.random.default_rng(0), memory_gb=1)
    assert len(asked) == 1
    with pytest.raises(RuntimeError, match="another fault"):
        enhance(volume, method, Windowed(), np.random.default_rng(0), memory_gb=1)


@pytest.mark.parametrize("fits", [True, False])
def test_too_little_memory_for_the_smallest_window_is_named(volume: Volume, fits: bool) -> None:
    with pytest.raises(MethodError, match=r"hungry ran out of memory on its device.*CUDA out of memory.*--device cpu"):
        enhance(volume, hungry(32, fits), Windowed(), np.random.default_rng(0), memory_gb=1)
