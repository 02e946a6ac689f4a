"""LF → HF enhancers, one folder each, and the one table that knows them all."""

from importlib import import_module

from ..errors import InputError
from ..nn.method import Method

_MODULES = {"interp": ".interp.recipe", "inr": ".inr.recipe", "pfsr": ".pfsr.recipe"}

METHODS = tuple(_MODULES)
"""Names of the methods, as ``--method`` takes them."""


def get_method(name: str) -> Method:
    """The record of one method; only its own module is imported.

    >>> get_method("interp").learns_from
    'nothing'
    """
    if name not in _MODULES:
        raise InputError(f"expected a method among {', '.join(METHODS)}, found {name!r}: choose one of these")
    method: Method = import_module(_MODULES[name], __name__).METHOD
    return method
