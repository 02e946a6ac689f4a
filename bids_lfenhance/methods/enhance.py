"""LF → HF for one session with any method: draws, their mean and standard deviation, and where it all came from."""

import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..config import CONTRASTS
from ..errors import InputError, MethodError
from ..imaging.volume import Volume
from ..nn.method import Enhanced, Method
from .options import decided

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
        InputError, before anything runs, where nothing fits. A device that runs out all the same is asked once more
        for a quarter; ``MethodError`` where that is too much
    """
    _check(volume, method, settings, n_samples)
    draws = n_samples or method.draws
    start, cpu = time.perf_counter(), time.process_time()
    children = generator.spawn(draws)
    shared = method.prepare(volume, settings) if method.prepare else {}
    limit = _limit(method, settings, memory_gb)
    told: list[str] = []
    found = _draw_all(volume, method, _fitted(method, shared, volume, limit), settings, children, progress)
    if isinstance(found, str) and method.fit:
        told = [f"The memory of the device did not suffice ({found}): went on with a quarter of it, more slowly."]
        found = _draw_all(volume, method, _fitted(method, shared, volume, limit // 4), settings, children, progress)
    if isinstance(found, str):
        raise MethodError(
            f"{method.name} ran out of memory on its device, with the smallest windows that it has ({found}): end what "
            "else is on that device, choose another with --device, or --device cpu"
        )
    std = None if found.squares is None else np.sqrt(found.squares / (draws - 1)).astype(np.float32)
    provenance = _provenance(volume, method, shared.get("settings", settings), generator, found.records)
    provenance |= {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    provenance["warnings"] += told
    shown = {name: image.astype(np.float32) for name, image in found.maps.items()}
    return Enhanced(found.mean.astype(np.float32), std, provenance, shown)


@dataclass
class _Sums:
    """Means of images and of maps over the draws so far, and the sum of squares; what each draw told."""

    mean: np.ndarray
    squares: np.ndarray | None
    maps: dict[str, np.ndarray] = field(default_factory=dict)
    records: list[Mapping[str, Any]] = field(default_factory=list)


def _limit(method: Method, settings: Any, memory_gb: float | None) -> int:
    """Bytes that the networks may use; 0 where the method does not ask."""
    if not method.fit:
        return 0
    from ..nn.memory import limit_of

    return limit_of(settings.device, memory_gb)


def _fitted(method: Method, shared: Mapping[str, Any], volume: Volume, limit: int) -> Mapping[str, Any]:
    return method.fit(shared, volume, limit) if method.fit else shared


def _draw_all(
    volume: Volume,
    method: Method,
    shared: Mapping[str, Any],
    settings: Any,
    children: Sequence[np.random.Generator],
    progress: Progress | None,
) -> _Sums | str:
    """What all draws came to; or the words of a device that has too little memory for them.

    The words are returned, not raised: an exception would hold every tensor of the frames it went through.
    """
    mean = np.zeros(volume.image.shape, dtype=np.float64)
    sums = _Sums(mean, np.zeros_like(mean) if len(children) > 1 else None)
    try:
        for number, child in enumerate(deepcopy(children), start=1):
            draw = method.sample(shared, volume, settings, child)
            _accumulate(sums.mean, sums.squares, _checked(draw.image, volume, method), number)
            for name, image in draw.maps.items():
                _accumulate(
                    sums.maps.setdefault(name, np.zeros_like(mean)), None, _checked(image, volume, method), number
                )
            sums.records.append(draw.record)
            if progress is not None:
                progress(number, len(children))
    except RuntimeError as error:
        if type(error).__name__ != "OutOfMemoryError":  # torch's; torch is not imported for methods without it
            raise
        return str(error).partition(". ")[0]
    return sums


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
        "settings": {k: v for k, v in asdict(settings).items() if k not in decided(method.settings, "training")},
        "seed": {"entropy": sequence.entropy, "spawn_key": list(sequence.spawn_key)},
        "draws": len(records),
        "records": [dict(record) for record in records],
        "warnings": list(warnings),
        "contrasts": list(volume.contrasts),
        "absent": [name for name in CONTRASTS if name not in volume.contrasts],
    }
