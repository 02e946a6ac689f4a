"""Enhances one session with any method: draws, their mean, the SD of its error, and the provenance."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from ..config import CONTRASTS
from ..errors import InputError, MethodError
from ..imaging.field_of_view import seen_in
from ..imaging.volume import Volume
from ..nn.method import Draw, Enhanced, Enhancer, Prepared, Residuals
from ..nn.settings import JsonObject, plain

UNSEEN = 0.05
"""Share of the brain that the scans of a contrast may miss without a warning: a mask is no more exact than that."""

Progress = Callable[[int, int], None]

S = TypeVar("S")

P = TypeVar("P", bound=Prepared)


def enhance(
    volume: Volume,
    method: Enhancer[S, P],
    sampling: S,
    generator: np.random.Generator,
    n_samples: int | None = None,
    progress: Progress | None = None,
    memory_gb: float | None = None,
) -> Enhanced:
    """The enhanced session: mean over draws on the volume's grid, and the SD of its error where the method gives it.

    Parameters
    ----------
    volume : the session; a contrast that is absent stays zero and is named in the provenance
    method : the record, see ``methods.get_method``
    sampling : the user's options, an instance of ``method.about.sampling``
    generator : each draw gets a child of it, so that draw 2 does not depend on what draw 1 used up
    n_samples : number of draws; None takes the method's own
    progress : called with (draws done, draws in all)
    memory_gb : GiB that the networks may use; None: what is free. How much runs at once is chosen to fit; an
        InputError, before anything runs, where nothing fits. If a device runs out all the same, the draws are repeated
        once within a quarter of it, or within half where nothing fits a quarter; ``MethodError`` if that fails too
    """
    _check(volume, method, sampling, n_samples)
    count = n_samples or method.about.draws
    start, cpu = time.perf_counter(), time.process_time()
    seed, children = _seed(generator), generator.spawn(count)
    try:
        prepared = method.prepare(volume, sampling)
    except (RuntimeError, MemoryError) as error:
        raise _no_memory(method.name, _lack_of_memory(error)) from None
    limit = _limit(method, sampling, memory_gb)
    warnings = unseen_brain(volume)
    fitted = _fitted(method, prepared, limit)
    sums = _draw_all(fitted, method, children, progress)
    smaller = _smaller(method, prepared, limit) if isinstance(sums, str) else None
    if smaller is not None and smaller is not fitted:
        warnings += [f"The memory of the device did not suffice ({sums}): went on with less at once, more slowly."]
        fitted, sums = smaller, _draw_all(smaller, method, children, progress)
    if isinstance(sums, str):
        raise _no_memory(method.name, sums)
    provenance = _provenance(volume, method, fitted.settings, sums.records, warnings)
    provenance |= {"seed": seed, "seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    image: np.ndarray = sums.mean.astype(np.float32)
    maps: Mapping[str, np.ndarray] = {}
    if method.combine_draws and sums.residuals is not None:
        image, maps = method.combine_draws(prepared, image, sums.residuals.so_far(count))
    return Enhanced(image, sums.sd(), provenance, maps)


@dataclass
class _ResidualSums:
    """The first residual, their mean and their sum of squares over the draws so far."""

    first: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    def so_far(self, count: int) -> Residuals:
        """After ``count`` draws."""
        sd = np.sqrt(self.squares / (count - 1)).astype(np.float32) if count > 1 else None
        return Residuals(count, self.first, self.mean.astype(np.float32), sd)


@dataclass
class _Sums:
    """Means of images and error scales over the draws so far; each draw's record."""

    mean: np.ndarray
    scale: np.ndarray | None = None
    records: list[JsonObject] = field(default_factory=list)
    residuals: _ResidualSums | None = None

    def add(self, draw: Draw, check: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take one more draw into account; ``check`` returns an image or raises."""
        number = len(self.records) + 1
        _accumulate(self.mean, check(draw.image), number)
        if draw.scale is not None:
            self.scale = np.zeros_like(self.mean) if self.scale is None else self.scale
            _accumulate(self.scale, check(draw.scale), number)
        if draw.residual is not None:
            residual = check(draw.residual)
            zeros = np.zeros_like(self.mean)
            self.residuals = self.residuals or _ResidualSums(residual, zeros, zeros.copy())
            _accumulate(self.residuals.mean, residual, number, self.residuals.squares)
        self.records.append(draw.record)

    def sd(self) -> np.ndarray | None:
        """(C, X, Y, Z) float32: SD of the error as the method gives it, None where it gives none."""
        return None if self.scale is None else self.scale.astype(np.float32)


def unseen_brain(volume: Volume) -> list[str]:
    """A warning for each contrast whose scans did not see more than ``UNSEEN`` of the brain."""
    if volume.mask is None or not volume.mask.any():
        return []
    scanned = [name for name in volume.contrasts if volume.stacks_of(name)]
    shares = {name: float(np.mean(~seen_in(volume, name)[volume.mask])) for name in scanned}
    return [
        f"no {name} scan saw {share:.0%} of the brain: do not trust the enhanced {name} there"
        for name, share in shares.items()
        if share > UNSEEN
    ]


def _limit(method: Enhancer[S, P], sampling: S, memory_gb: float | None) -> int:
    """Bytes that the networks may use; 0 where the method does not ask."""
    if not method.fit_to_memory:
        return 0
    from ..nn.memory import limit_of

    return limit_of(getattr(sampling, "device", "cpu"), memory_gb)


def _fitted(method: Enhancer[S, P], prepared: P, limit: int) -> P:
    return method.fit_to_memory(prepared, limit) if method.fit_to_memory else prepared


def _smaller(method: Enhancer[S, P], prepared: P, limit: int) -> P | None:
    """``prepared`` for a quarter of the memory, or for half; None where neither can be done."""
    for share in (4, 2) if method.fit_to_memory else ():
        with suppress(InputError):
            return _fitted(method, prepared, limit // share)
    return None


def _draw_all(
    prepared: P, method: Enhancer[S, P], children: Sequence[np.random.Generator], progress: Progress | None
) -> _Sums | str:
    """The sums over all draws; or the message of a device that has too little memory for them.

    The message is returned, not raised: an exception would hold every tensor of the frames it went through.
    """
    volume = prepared.volume
    sums = _Sums(np.zeros(volume.image.shape, dtype=np.float64))
    try:
        for number, child in enumerate(deepcopy(children), start=1):
            sums.add(method.sample(prepared, child), lambda image: _checked(image, volume, method.name))
            if progress is not None:
                progress(number, len(children))
    except (RuntimeError, MemoryError) as error:
        return _lack_of_memory(error)
    return sums


def _lack_of_memory(error: Exception) -> str:
    """The message of an error by lack of memory; any other error is raised again.

    Told by its text: torch, which is not imported for methods without it, has several classes of them.
    """
    text = str(error)
    if not isinstance(error, MemoryError) and not any(
        words in text for words in ("out of memory", "can't allocate memory")
    ):
        raise error
    return text.partition("\n")[0].partition(". ")[0] or "no memory is left"


def _no_memory(method: str, why: str) -> MethodError:
    return MethodError(
        f"{method} ran out of memory on its device ({why}): end other processes on that device, or choose another, as "
        "--device cpu"
    )


def _check(volume: Volume, method: Enhancer[S, P], sampling: S, n_samples: int | None) -> None:
    if not volume.present.any():
        names = ", ".join(CONTRASTS)
        raise InputError(
            f"Expected at least one of {names} in the session, found none; add a low-field anatomical scan."
        )
    if not isinstance(sampling, method.about.sampling):
        raise TypeError(f"{method.name} takes {method.about.sampling.__name__}, found {type(sampling).__name__}")
    check_draws(method, sampling, n_samples)


def check_draws(method: Enhancer[S, P], sampling: S, n_samples: int | None) -> None:
    """Raise InputError for a number of draws that is of no use to the method with these options."""
    if n_samples is not None and n_samples < 1:
        raise InputError(f"Expected at least one draw, found {n_samples}; ask for 1 or more.")
    if (n_samples or method.about.draws) > 1 and not method.is_stochastic(sampling):
        raise InputError(
            f"Expected --n-samples 1 for {method.name} with these settings, whose draws are alike and say nothing of "
            f"its uncertainty, found {n_samples}; leave --n-samples out."
        )


def _checked(image: np.ndarray, volume: Volume, method: str) -> np.ndarray:
    """The image of a draw, (C, X, Y, Z) float32, finite; raises MethodError otherwise."""
    if image.shape != volume.image.shape:
        raise MethodError(
            f"{method} returned an image of shape {image.shape} where {volume.image.shape} was expected: "
            "report this as a bug"
        )
    bad = int(image.size - np.isfinite(image).sum())
    if bad:
        raise MethodError(
            f"{method} returned {bad} voxels that are not numbers: try another seed, or check the scans for "
            "extreme intensities"
        )
    return image


def _accumulate(mean: np.ndarray, image: np.ndarray, number: int, squares: np.ndarray | None = None) -> None:
    """Welford's update in place, so that no draw is kept."""
    delta = image - mean
    mean += delta / number
    if squares is not None:
        squares += delta * (image - mean)


def _provenance(
    volume: Volume,
    method: Enhancer[S, P],
    settings: object,
    records: list[JsonObject],
    more: list[str],
) -> dict[str, object]:
    warnings = dict.fromkeys(text for record in records for text in record.get("warnings", ()))
    return {
        "method": method.name,
        "settings": plain(settings, *(kind for kind in (method.about.sampling, method.about.network) if kind)),
        "draws": len(records),
        "gives_error_std": method.about.gives_error_std,
        "records": [dict(record) for record in records],
        "warnings": [*warnings, *more],
        "contrasts": list(volume.contrasts),
        "absent": [name for name in CONTRASTS if name not in volume.contrasts],
    }


def _seed(generator: np.random.Generator) -> JsonObject:
    """The seed of the draws, to repeat them; ``spawned``: how many children the generator had before, if any."""
    sequence = generator.bit_generator.seed_seq
    assert isinstance(sequence, np.random.SeedSequence)
    seed = {"entropy": sequence.entropy, "spawn_key": list(sequence.spawn_key)}
    return seed | ({"spawned": sequence.n_children_spawned} if sequence.n_children_spawned else {})
