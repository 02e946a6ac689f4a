"""What tests ask of a refusal: its code and fields, which do not hang on wording."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bids_lfenhance.errors import InputError


@contextmanager
def refused(code: str, **fields: Any) -> Iterator[pytest.ExceptionInfo[InputError]]:
    """A block that raises an ``InputError`` of this code, with these fields among its own."""
    with pytest.raises(InputError) as caught:
        yield caught
    assert (caught.value.code, caught.value.fields | fields) == (code, caught.value.fields)
