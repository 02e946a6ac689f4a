"""Settings of methods and simulators: what each does, where its default comes from, and what it may be. No torch."""

from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar

from ..errors import InputError


def setting(
    text: str,
    source: str = "our choice",
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> dict[str, Any]:
    """Metadata of a field: its help, where its default comes from, and its range (``above``, ``below``: excluded)."""
    bounds = {"least": least, "most": most, "above": above, "below": below}
    return {"help": text, "source": source} | {name: value for name, value in bounds.items() if value is not None}


_HOLDS: Mapping[str, tuple[str, Any]] = {
    "least": ("to be at least", lambda value, bound: value >= bound),
    "most": ("to be at most", lambda value, bound: value <= bound),
    "above": ("to be above", lambda value, bound: value > bound),
    "below": ("to be below", lambda value, bound: value < bound),
}


@dataclass(frozen=True)
class Checked:
    """Settings that raise InputError where a value is out of the range that its field names, with their ``method``."""

    method: ClassVar[str] = ""

    def __post_init__(self) -> None:
        """Check every field."""
        for field in fields(self):
            _check(self.method, field, getattr(self, field.name))


def _check(method: str, field: "Field[Any]", value: Any) -> None:
    for name, (words, holds) in _HOLDS.items():
        bound = field.metadata.get(name)
        if bound is not None and not holds(value, bound):
            raise InputError(
                f"Expected {field.name} of {method} {words} {bound:g}, found {value}; change it.",
                code="bad-setting",
                key=field.name,
            )


def plain(settings: Any, *kinds: type) -> dict[str, Any]:
    """The values of those fields that dataclasses ``kinds`` have, by name."""
    names = {field.name: None for kind in kinds for field in fields(kind)}
    return {name: getattr(settings, name) for name in names}
