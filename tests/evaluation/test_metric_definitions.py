"""The sidecar of the metrics table."""

import json

from bids_lfenhance.evaluation.metric_definitions import DATA_DICTIONARY, METRICS, SEGMENTATIONS, levels
from bids_lfenhance.evaluation.protocols import PROTOCOLS


def test_columns_are_those_of_the_table():
    assert list(DATA_DICTIONARY) == ["contrast", "image", "region", "protocol", "metric", "value"]
    assert set(DATA_DICTIONARY["protocol"]["Levels"]) == set(PROTOCOLS) | set(SEGMENTATIONS)
    assert set(DATA_DICTIONARY["metric"]["Levels"]) == set(METRICS)


def test_a_level_says_unit_range_and_which_way_is_better():
    text = levels()["psnr"]
    for part in ("10 log10(1/MSE)", "dB", "(−∞, ∞)", "higher is better"):
        assert part in text


def test_it_is_plain_json():
    assert json.loads(json.dumps(DATA_DICTIONARY)) == DATA_DICTIONARY
