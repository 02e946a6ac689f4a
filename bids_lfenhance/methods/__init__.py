"""LF → HF enhancers, one folder each, and the one table that knows them all."""

from importlib import import_module

from ..errors import InputError
from ..nn.method import Method

_MODULES = {
    "interp": ".interp.recipe",
    "inr": ".inr.recipe",
    "pfsr": ".pfsr.recipe",
    "cfm": ".cfm.recipe",
    "bridge": ".bridge.recipe",
    "cssdiff": ".cssdiff.recipe",
}

METHODS = tuple(_MODULES)
"""Names of the methods, as ``--method`` takes them at the participant level."""

_ALSO_LEARNED = {"h2lo": "..simulators.h2lo.recipe", "regions": "..segmentation.recipe"}


def get_method(name: str) -> Method:
    """The record of one method; only its own module is imported.

    >>> get_method("interp").learns_from
    'nothing'
    """
    if name not in _MODULES:
        raise InputError(f"expected a method among {', '.join(METHODS)}, found {name!r}: choose one of these")
    method: Method = import_module(_MODULES[name], __name__).METHOD
    return method


def learned_methods() -> dict[str, Method]:
    """The records of everything that can be trained, by name: enhancers, simulators, the segmentation.

    >>> sorted(learned_methods())
    ['bridge', 'cfm', 'cssdiff', 'h2lo', 'pfsr', 'regions']
    """
    records = [get_method(name) for name in METHODS]
    records += [import_module(module, __name__).METHOD for module in _ALSO_LEARNED.values()]
    return {record.name: record for record in records if record.learning is not None}


def get_learned(name: str) -> Method:
    """The record of one method that can be trained."""
    records = learned_methods()
    if name not in records:
        raise InputError(f"Expected a method among {', '.join(records)}, found '{name}'; choose one that is trained.")
    return records[name]
