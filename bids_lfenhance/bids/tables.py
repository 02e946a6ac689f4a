"""Tab-separated files of a BIDS dataset: rows as mappings of text."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from ..errors import InputError


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a tab-separated file by column; none where it is not there."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"Expected to read {path}, found {error.strerror}; check its permissions.", code="not-readable", path=path
        ) from error
    lines = csv.reader(io.StringIO(text, newline=""), delimiter="\t", quoting=csv.QUOTE_NONE)
    head, *rows = [line for line in lines if any(line)] or [[]]
    # a short row is filled up, a long one cut: a table by hand must not stop the run
    return [dict(zip(head, [*row, *[""] * len(head)], strict=False)) for row in rows]


def table_text(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A tab-separated file as text."""
    return "".join("\t".join(cells) + "\n" for cells in (columns, *rows))
