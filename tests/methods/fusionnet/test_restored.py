"""A session with the contrast of high field: T1w alone, and only where it was not asked for already."""

from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.restored import restore

from ..phantoms import small_session
from .test_inference import run, saved


def test_t1w_is_what_was_asked_for_as_learned(tmp_path: Path) -> None:
    session, weights = small_session(np.random.default_rng(7)), saved(tmp_path, 0.02)
    sampling = get_method("fusionnet").about.sampling(weights=str(weights))
    found = restore(session, sampling)
    assert found is not None
    assert found.contrasts == ("T1w",)
    np.testing.assert_array_equal(found.channel("T1w"), run(session, weights, target_contrast="learned").image[0])


@pytest.mark.parametrize(("known", "asked"), [(("T1w", "T2w"), "learned"), (("T2w",), "own")])
def test_there_is_none_where_it_is_there_already_or_nobody_knows_it(tmp_path: Path, known, asked) -> None:
    weights = saved(tmp_path, 0.02, known)
    sampling = get_method("fusionnet").about.sampling(weights=str(weights), target_contrast=asked)
    assert restore(small_session(np.random.default_rng(7)), sampling) is None
