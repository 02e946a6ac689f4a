"""The methods that enhance low field towards high field, one folder each, and the table that lists them.

A folder has ``settings.py`` (``ABOUT``, its description; no torch) and ``method.py``: ``ENHANCER``, and ``TRAINABLE``
where it is trained.
"""

from importlib import import_module
from types import ModuleType
from typing import Any

from ..errors import InputError
from ..nn.method import Description, Enhancer, Trainable

_FOLDERS = {
    "fusionnet": ".fusionnet",
    "interp": ".interp",
    "inr": ".inr",
    "pfsr": ".pfsr",
    "cfm": ".cfm",
    "bridge": ".bridge",
    "cssdiff": ".cssdiff",
    "h2lo": "..simulators.h2lo",
    "regions": "..segmentation",
}
"""Where each method lies; the last two are trained as methods are, but do not enhance."""

METHODS = tuple(name for name, folder in _FOLDERS.items() if not folder.startswith(".."))
"""Names of the methods that enhance, as ``--method`` takes them at the participant level."""


def description(name: str) -> Description:
    """What can be known of a method without torch: its settings and what it does.

    >>> description("interp").learns_from
    'nothing'
    """
    about: Description = _module(name, "settings").ABOUT
    return about


def get_method(name: str) -> Enhancer[Any, Any]:
    """How one method enhances; only its own folder is imported."""
    if name not in METHODS:
        raise InputError(f"Expected a method among {', '.join(METHODS)}, found {name!r}; choose one of these.")
    method: Enhancer = _module(name, "method").ENHANCER
    return method


def trained_methods() -> tuple[str, ...]:
    """Names of everything that can be trained: enhancers, a simulator, the segmentation.

    >>> trained_methods()
    ('fusionnet', 'pfsr', 'cfm', 'cssdiff', 'h2lo', 'regions')
    """
    return tuple(name for name in _FOLDERS if description(name).is_trained)


def get_trainable(name: str) -> Trainable[Any]:
    """How one method is trained."""
    if name not in _FOLDERS or not description(name).is_trained:
        raise InputError(
            f"Expected a method among {', '.join(trained_methods())}, found '{name}'; choose one that is trained."
        )
    method: Trainable = _module(name, "method").TRAINABLE
    return method


def _module(name: str, part: str) -> ModuleType:
    if name not in _FOLDERS:
        raise InputError(f"Expected a method among {', '.join(_FOLDERS)}, found {name!r}; choose one of these.")
    return import_module(f"{_FOLDERS[name]}.{part}", __name__)
