"""Settings of methods and simulators, each with its help, the source of its default, and its range; no torch."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from operator import ge, gt, le, lt
from typing import Any, Literal, TypeAlias, get_args, get_origin, get_type_hints

from ..errors import InputError

JsonObject: TypeAlias = Mapping[str, Any]
"""JSON values by name."""


def setting(
    text: str,
    source: str = "our choice",
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, str | float]:
    """Metadata of a field: its help, where its default comes from, and its range (``above``, ``below``: excluded)."""
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return {"help": text, "source": source} | {name: value for name, value in bounds.items() if value is not None}


_HOLDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "least": ("to be at least", ge),
    "most": ("to be at most", le),
    "above": ("to be above", gt),
    "below": ("to be below", lt),
}


@dataclass(frozen=True)
class Checked:
    """Settings that raise InputError where a value is not finite, out of its field's range, or none of its choices."""

    def __post_init__(self) -> None:
        """Check every field."""
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal and (value := getattr(self, name)) not in get_args(kind):
                message = (
                    f"Expected {name} to be one of {', '.join(map(str, get_args(kind)))}, found {value}; change it."
                )
                raise InputError(message, code="bad-setting", key=name)
        for one in fields(self):
            value = getattr(self, one.name)
            if isinstance(value, float) and not math.isfinite(value):
                message = f"Expected {one.name} to be a finite number, found {value}; change it."
                raise InputError(message, code="bad-setting", key=one.name)
            for name in _HOLDS.keys() & one.metadata.keys():
                (words, holds), bound = _HOLDS[name], one.metadata[name]
                if value is not None and not holds(value, bound):
                    message = f"Expected {one.name} {words} {bound:g}, found {value}; change it."
                    raise InputError(message, code="bad-setting", key=one.name)


ONLINE = "docs/training.md"
"""Where the settings of low field simulated in every step are explained."""


@dataclass(frozen=True)
class OnlineTraining(Checked):
    """What is simulated, and how often; the weights store it."""

    pool: int = field(
        default=96, metadata=setting("simulated heads that are kept, and patches cut from", ONLINE, least=2)
    )
    renew: int = field(default=2, metadata=setting("steps after which a new head replaces the oldest", least=1))
    label_maps: float = field(
        default=0.3,
        metadata=setting(
            "share of heads made from label maps, of those that keep the contrast of their scan",
            ONLINE,
            least=0,
            most=1,
        ),
    )
    other_contrasts: float = field(
        default=0.3,
        metadata=setting(
            "share of real T2w and FLAIR, of the same heads; the rest are T1w given any contrast",
            ONLINE,
            least=0,
            most=1,
        ),
    )
    lesions: float = field(
        default=0.4, metadata=setting("share of heads that lesions are planted in", ONLINE, least=0, most=1)
    )
    pairs: float = field(
        default=0.5,
        metadata=setting("share of the pool that is acquired pairs, where there are any", ONLINE, least=0, most=1),
    )


@contextmanager
def usable_settings(kind: str, name: str) -> Iterator[None]:
    """A block that makes the settings of a method or simulator: what it cannot use is an ``InputError``."""
    try:
        yield
    except (TypeError, ValueError) as error:
        found = str(error).removesuffix(".").removesuffix("; change it")
        message = f"Expected settings {kind} '{name}' can use, found: {found}; see --help-method {name}."
        raise InputError(message, code="bad-method-settings", method=name) from error


def plain(settings: object, *kinds: type) -> dict[str, object]:
    """The values of those fields that dataclasses ``kinds`` have, by name."""
    names = {one.name: None for kind in kinds for one in fields(kind)}
    return {name: getattr(settings, name) for name in names}
