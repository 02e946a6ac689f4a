"""LF → HF for one session with any method: draws, their mean and standard deviation, and where it all came from."""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from ..config import CONTRASTS
from ..errors import InputError, MethodError
from ..imaging.volume import Volume
from ..nn.method import Enhanced, Method

Progress = Callable[[int, int], None]


def enhance(
    volume: Volume,
    method: Method,
    settings: Any,
    generator: np.random.Generator,
    n_samples: int | None = None,
    progress: Progress | None = None,
    memory_gb: float | None = None,
) -> Enhanced:
    """The enhanced session: mean and SD over draws on the volume's grid (methods.md §6.1, §6.2).

    Parameters
    ----------
    volume : the session; a contrast that is absent stays zero and is named in the provenance
    method : the record, see ``methods.get_method``
    settings : an instance of ``method.settings``
    generator : each draw gets a child of it, so that draw 2 does not depend on what draw 1 used up
    n_samples : number of draws; None takes the method's own
    progress : called with (draws done, draws in all)
    memory_gb : GiB that the networks may use; None: what is free. How much runs at once is chosen to fit; an
        InputError, before anything runs, where nothing fits
    """
    _check(volume, method, settings, n_samples)
    draws = n_samples or method.draws
    start, cpu = time.perf_counter(), time.process_time()
    shared = method.prepare(volume, settings) if method.prepare else {}
    if method.fit:
        from ..nn.memory import limit_of

        shared = method.fit(shared, volume, limit_of(settings.device, memory_gb))
    mean = np.zeros(volume.image.shape, dtype=np.float64)
    squares = np.zeros_like(mean) if draws > 1 else None
    maps: dict[str, np.ndarray] = {}
    records: list[Mapping[str, Any]] = []
    for number, child in enumerate(generator.spawn(draws), start=1):
        draw = method.sample(shared, volume, settings, child)
        _accumulate(mean, squares, _checked(draw.image, volume, method), number)
        for name, image in draw.maps.items():
            sums = maps.setdefault(name, np.zeros(volume.image.shape, dtype=np.float64))
            _accumulate(sums, None, _checked(image, volume, method), number)
        records.append(draw.record)
        if progress is not None:
            progress(number, draws)
    std = None if squares is None else np.sqrt(squares / (draws - 1)).astype(np.float32)
    provenance = _provenance(volume, method, settings, generator, records)
    provenance |= {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    shown = {name: image.astype(np.float32) for name, image in maps.items()}
    return Enhanced(mean.astype(np.float32), std, provenance, shown)


def _check(volume: Volume, method: Method, settings: Any, n_samples: int | None) -> None:
    if not volume.present.any():
        names = ", ".join(CONTRASTS)
        raise InputError(
            f"expected at least one of {names} in the session, found none: add a low-field anatomical scan"
        )
    if not isinstance(settings, method.settings):
        raise TypeError(f"{method.name} takes {method.settings.__name__}, found {type(settings).__name__}")
    check_draws(method, settings, n_samples)


def check_draws(method: Method, settings: Any, n_samples: int | None) -> None:
    """Nothing, or ``InputError`` for a number of draws that the method with these settings has no use for."""
    if n_samples is not None and n_samples < 1:
        raise InputError(f"Expected at least one draw, found {n_samples}; ask for 1 or more.")
    if (n_samples or method.draws) > 1 and not method.varies(settings):
        raise InputError(
            f"Expected --n-samples 1 for {method.name} with these settings, whose draws are alike and say nothing of "
            f"its uncertainty, found {n_samples}; leave --n-samples out."
        )


def _checked(image: np.ndarray, volume: Volume, method: Method) -> np.ndarray:
    """The image of a draw, (C, X, Y, Z) float32, finite; raises MethodError otherwise."""
    if image.shape != volume.image.shape:
        raise MethodError(
            f"{method.name} returned an image of shape {image.shape} where {volume.image.shape} was expected: "
            "report this as a bug"
        )
    bad = int(image.size - np.isfinite(image).sum())
    if bad:
        raise MethodError(
            f"{method.name} returned {bad} voxels that are not numbers: try another seed, or check the scans for "
            "extreme intensities"
        )
    return image


def _accumulate(mean: np.ndarray, squares: np.ndarray | None, image: np.ndarray, number: int) -> None:
    """Welford's update in place, so that no draw is kept (methods.md §6.2)."""
    delta = image - mean
    mean += delta / number
    if squares is not None:
        squares += delta * (image - mean)


def _provenance(
    volume: Volume, method: Method, settings: Any, generator: np.random.Generator, records: list[Mapping[str, Any]]
) -> dict[str, Any]:
    sequence: Any = generator.bit_generator.seed_seq
    warnings = dict.fromkeys(text for record in records for text in record.get("warnings", ()))
    return {
        "method": method.name,
        "settings": asdict(settings),
        "seed": {"entropy": sequence.entropy, "spawn_key": list(sequence.spawn_key)},
        "draws": len(records),
        "records": [dict(record) for record in records],
        "warnings": list(warnings),
        "contrasts": list(volume.contrasts),
        "absent": [name for name in CONTRASTS if name not in volume.contrasts],
    }
