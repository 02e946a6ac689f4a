"""Tab-separated files of a BIDS dataset: rows as mappings of text."""

import csv
import io
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from ..errors import InputError
from .sidecars import decoded


def read_table(path: Path) -> list[dict[str, str]]:
    """Rows of a table by column; none where it is not there.

    Cells are separated by tabs or, where the head has none, by semicolons or commas. Quotes and white space around a
    cell are dropped; a file in UTF-16 or Latin-1 is read as such.
    """
    head, *rows = table_lines(path) or [[]]
    # a short row is filled up, a long one cut: a table by hand must not stop the run
    return [dict(zip(head, row if len(row) >= len(head) else [*row, *[""] * len(head)], strict=False)) for row in rows]


def optional_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where there is none to be read."""
    with suppress(InputError):
        return read_table(path)
    return []


def table_lines(path: Path) -> list[list[str]]:
    """The head of a table and its rows as they are, see ``read_table``; none where it is not there."""
    try:
        text = decoded(path.read_bytes())
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise InputError(
            f"Expected text in {path}, found a truncated UTF-16 file; save it as UTF-8.", code="not-readable", path=path
        ) from error
    except OSError as error:
        raise InputError(
            f"Expected to read {path}, found {error.strerror}; check its permissions.", code="not-readable", path=path
        ) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    first = text.strip("\n").partition("\n")[0]
    between = next((sign for sign in "\t;," if sign in first), "\t")
    if between == "\t" and not any(odd in text for odd in ('"', " \t", "\t ", " \n", "\n ")):
        return [line.split("\t") for line in text.split("\n") if line.strip()]  # nothing to strip: ten times faster
    # within tabs a quote is a character like any other, unless it encloses the whole cell
    quoting: Literal[0, 3] = csv.QUOTE_NONE if between == "\t" else csv.QUOTE_MINIMAL
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=between, quoting=quoting)
    return [[_bare(cell) for cell in line] for line in lines if any(line)]


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def read_columns(path: Path) -> dict[str, list[Any]]:
    """The columns of a TSV, numbers as floats; empty if there is none or it cannot be read.

    By columns, as a cohort has millions of cells: one of numbers is converted at once.
    """
    with suppress(InputError):
        head, *rows = table_lines(path) or [[]]
        wide = len(head)
        rows = [row if len(row) == wide else [*row, *[""] * (wide - len(row))][:wide] for row in rows]
        columns = zip(*rows, strict=True) if rows else [()] * wide
        return {name: _meant(column) for name, column in zip(head, columns, strict=True)}
    return {}


def _meant(column: Sequence[str]) -> list[Any]:
    with suppress(ValueError):
        return list(map(float, column))
    meaning = {text: _number(text) for text in set(column)}  # words are few, each in many rows
    return [meaning[text] for text in column]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown.

    >>> print(markdown_table(["a", "b"], [["1", "2"]]))
    | a | b |
    |---|---|
    | 1 | 2 |
    """
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])


def table_text(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A tab-separated file as text; white space in a cell is one blank each."""
    return "".join("\t".join(" ".join(cell.split()) for cell in cells) + "\n" for cells in (columns, *rows))
