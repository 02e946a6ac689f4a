import json
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.filters import check_filters, load_filters, passes
from bids_lfenhance.bids.scans import Entities, Scan

from ..refusals import refused

SCAN = Scan(
    Path("/data/sub-01/ses-HFC/anat/sub-01_ses-HFC_acq-axi_run-02_T1w.nii.gz"),
    Entities({"sub": "01", "ses": "HFC", "acq": "axi", "run": "02"}),
    "T1w",
)


@pytest.mark.parametrize(
    ("wanted", "meets"),
    [
        ({"session": "HFC"}, True),
        ({"session": "ses-HFC"}, True),
        ({"ses": "HFE"}, False),
        ({"acquisition": ["cor", "axi"]}, True),
        ({"acq": []}, False),
        ({"run": 2}, True),
        ({"run": "2"}, True),
        ({"run": 1}, False),
        ({"reconstruction": None}, True),
        ({"acquisition": None}, False),
        ({"acquisition": [None, "axi"]}, True),
        ({"reconstruction": "Query.NONE"}, True),
        ({"acquisition": "Query.ANY", "ceagent": "Query.OPTIONAL"}, True),
        ({"datatype": "anat", "suffix": "T1w", "extension": ".nii.gz"}, True),
        ({"suffix": "T2w"}, False),
        ({}, True),
    ],
)
def test_entities(wanted: dict[str, Any], meets: bool) -> None:
    assert passes(SCAN, check_filters({"lf": wanted}), "lf") is meets


def test_only_the_keys_asked_for_apply() -> None:
    filters = check_filters({"t2w": {"session": "HFE"}, "reference": {"session": "GE"}})
    assert passes(SCAN, filters, "lf", "t1w")
    assert not passes(SCAN, filters, "lf", "t2w")


@pytest.mark.parametrize(
    ("content", "code", "fields"),
    [
        ('{"bold": {}}', "bad-filter", {"key": "bold"}),
        ('{"t1w": {"plane": "axi"}}', "bad-filter", {"key": "plane"}),
        ('{"t1w": "axi"}', "bad-filter", {"key": "t1w"}),
        ("[]", "bad-json", {}),
        ("{", "bad-json", {}),
    ],
)
def test_what_is_unknown_is_named_with_the_file(
    tmp_path: Path, content: str, code: str, fields: dict[str, str]
) -> None:
    path = tmp_path / "filter.json"
    path.write_text(content)
    with refused(code, **fields) as caught:
        load_filters(path)
    assert "filter.json" in str(caught.value)


def test_example_of_the_docstring_is_valid() -> None:
    from bids_lfenhance.bids import filters

    example = (filters.__doc__ or "").rpartition("::")[2]
    assert set(check_filters(json.loads(example))) == {"lf", "reference", "flair"}
