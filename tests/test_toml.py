"""What is written as TOML is what is read."""

import math
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bids_lfenhance.config.toml import dumps

TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
SCALARS = st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=4))
def test_what_is_written_is_what_is_read(table: dict[str, Any]) -> None:
    assert tomllib.loads(dumps(table)) == table


def test_numbers_keep_their_kind_and_nothing_is_no_value() -> None:
    table = {"one": 1.0, "far": 1e300, "never": math.inf, "yes": True, "nothing": None, "inner": [{"nothing": None}]}
    found = tomllib.loads(dumps(table | {"where": Path("a/b"), "none": {"nothing": None}}))
    assert [type(found[key]) for key in ("one", "far", "never", "yes")] == [float, float, float, bool]
    assert (found["where"], found["inner"], found["none"], "nothing" in found) == ("a/b", [{}], {}, False)
    with pytest.raises(TypeError, match="no word"):
        dumps({"nothing": [None]})
