"""High field to low field: digital heads, scanners, the simulators, and the table that lists them."""

from importlib import import_module
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from .simulator import Simulator

_MODULES = {"physics": ".physics", "iqt": ".iqt", "arnold": ".arnold", "h2lo": ".h2lo.simulator"}

SIMULATORS = tuple(_MODULES)
"""Names of the simulators, as ``--simulator`` takes them."""


def get_simulator(name: str) -> "Simulator":
    """The record of one simulator; only its own module is imported.

    >>> get_simulator("physics").shared
    ('factor',)
    """
    if name not in _MODULES:
        raise InputError(f"Expected a simulator among {', '.join(SIMULATORS)}, found {name!r}; choose one of these.")
    simulator: Simulator = import_module(_MODULES[name], __name__).SIMULATOR
    return simulator
