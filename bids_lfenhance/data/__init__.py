"""Files bundled with the package, opened by one loader."""

from importlib import resources
from pathlib import Path


def data_path(name: str) -> Path:
    """The path of a bundled file; the package is always installed as plain files (``zip_safe`` is off).

    >>> data_path("regions.json").is_file()
    True
    """
    return Path(str(resources.files(__package__) / name))


def read_text(name: str) -> str:
    """The text of a bundled file, UTF-8."""
    return data_path(name).read_text(encoding="utf-8")
