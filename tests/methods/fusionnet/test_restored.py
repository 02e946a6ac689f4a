"""A session with the contrast of high field, as the network has learned it: T1w alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.restored import restore

from ..phantoms import small_session
from .test_inference import run, saved


def test_t1w_alone_is_what_the_network_makes_of_it_without_its_own_contrast(tmp_path: Path) -> None:
    session, weights = small_session(np.random.default_rng(7)), saved(tmp_path, 0.02)
    sampling = get_method("fusionnet").about.sampling(weights=str(weights))
    found = restore(session, sampling)
    assert found is not None
    assert found.contrasts == ("T1w",)
    own = run(session, weights, target_contrast="own").image[0]
    assert np.abs(found.channel("T1w") - own).max() > 0
    assert restore(session, replace(sampling, target_contrast="high-field")).image.tobytes() == found.image.tobytes()


def test_there_is_none_where_the_weights_know_none_of_it(tmp_path: Path) -> None:
    sampling = get_method("fusionnet").about.sampling(weights=str(saved(tmp_path, 0.02, ("T2w",))))
    assert restore(small_session(np.random.default_rng(7)), sampling) is None
