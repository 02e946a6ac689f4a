"""Tables of a derivative, read by rows."""

from pathlib import Path
from typing import Any

from bids_lfenhance.bids.tables import read_columns


def read_numbers(path: Path) -> list[dict[str, Any]]:
    """The rows of a TSV, numbers as floats."""
    columns = read_columns(path)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
