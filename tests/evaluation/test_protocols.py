"""What each protocol does to the intensities."""

import numpy as np
import pytest

from bids_lfenhance.config import Settings
from bids_lfenhance.evaluation import protocols
from bids_lfenhance.evaluation.metric_definitions import METRICS
from bids_lfenhance.evaluation.sharpness import band_names

from ..refusals import refused


@pytest.fixture
def pair(rng):
    reference = rng.uniform(1, 5, size=(12, 13, 14))
    mask = np.zeros(reference.shape, bool)
    mask[3:9, 2:10, 4:11] = True
    reference[0, 0, 0] = 50
    return protocols.make_pair(0.3 * reference + 2, reference, mask)


def test_brain_fit_undoes_gain_and_offset(pair):
    scales = protocols.by_brain_fit(pair)
    fitted, reference = scales.image(pair.image), scales.reference(pair.reference)
    np.testing.assert_allclose(fitted[pair.mask], reference[pair.mask], atol=1e-5)
    assert np.percentile(reference[pair.mask], 99.9) == pytest.approx(1, rel=1e-5)


def test_target_max_leaves_the_image_its_units(pair):
    scales = protocols.by_target_max(pair)
    assert scales.image == scales.reference == protocols.LinearScaling(1 / 50)


def test_own_max_is_that_of_the_brain(pair):
    scales = protocols.by_own_max(pair)
    assert scales.image(pair.image)[pair.mask].max() == pytest.approx(1)
    assert scales.reference(pair.reference).max() > 9


def test_own_range_spans_zero_to_one(pair):
    for line, data in zip(protocols.by_own_range(pair), (pair.image, pair.reference), strict=True):
        assert line(data).min() == pytest.approx(0, abs=1e-6)
        assert line(data).max() == pytest.approx(1, abs=1e-6)


def test_own_ceiling_is_a_percentile_of_the_own_brain(pair):
    for line, data in zip(protocols.by_own_ceiling(pair), (pair.image, pair.reference), strict=True):
        assert np.percentile(line(data[pair.mask]), 99.9) == pytest.approx(1, rel=1e-5)


def test_box_holds_the_brain_and_its_margin(pair):
    assert pair.box(0) == (slice(3, 9), slice(2, 10), slice(4, 11))
    assert pair.box(3) == (slice(0, 12), slice(0, 13), slice(1, 14))


def test_all_protocols_can_be_asked_for(tmp_path):
    assert Settings(tmp_path, tmp_path, metrics=("all",)).protocols == tuple(protocols.PROTOCOLS)
    assert Settings(tmp_path, tmp_path).protocols == (protocols.PRIMARY,)


def test_every_metric_named_is_explained():
    named = {metric for protocol in protocols.PROTOCOLS.values() for metric in protocol.metrics} - {"spectrum"}
    assert named | set(band_names()) | {"empty", "dice", "volume_difference"} == set(METRICS)


@pytest.mark.parametrize(
    ("spoil", "code", "fields"),
    [
        (lambda p: (p.image[1:], p.reference, p.mask), "other-grid", {}),
        (lambda p: (p.image, p.reference, np.zeros_like(p.mask)), "no-mask", {}),
        (lambda p: (np.where(p.mask, np.nan, 1), p.reference, p.mask), "bad-values", {"image": "image"}),
        (lambda p: (p.image, np.full_like(p.reference, np.inf), p.mask), "bad-values", {"image": "reference"}),
        (lambda p: (np.zeros_like(p.image), p.reference, p.mask), "bad-values", {"image": "image"}),
        (lambda p: (p.image, -p.reference, p.mask), "bad-values", {"image": "reference"}),
    ],
)
def test_what_cannot_be_compared_is_refused(pair, spoil, code, fields):
    with refused(code, **fields):
        protocols.make_pair(*spoil(pair))
