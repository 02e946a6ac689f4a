"""The weights that come with the package, used as they are on a fresh install."""

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import METHODS, description, get_method
from bids_lfenhance.methods.contrast import starting_image
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn import precision
from bids_lfenhance.nn.residual import BANDS
from bids_lfenhance.nn.weights import load_weights, registry

from .phantoms import small_session

USERS = {description(name).weights_name: name for name in METHODS if description(name).needs_weights}
"""A method that uses the weights of each kind."""

BUNDLED = [name for name, entry in registry().items() if entry["method"] in USERS]
"""Those that enhance."""


@pytest.fixture(scope="module")
def session() -> Volume:
    torch.set_num_threads(1)
    return small_session(np.random.default_rng(7), size=32)


def test_every_learned_method_has_weights_for_t1w_and_t2w() -> None:
    assert {registry()[name]["method"] for name in BUNDLED} == set(USERS)
    assert all({"T1w", "T2w"} <= set(registry()[name]["contrasts"]) for name in BUNDLED)


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_weights_are_small_and_tell_where_they_come_from(name: str) -> None:
    entry = registry()[name]
    loaded = load_weights(name, entry["method"], entry["contrasts"])
    assert loaded.path.stat().st_size <= 16e6
    assert sum(value.numel() for net in loaded.state.values() for value in net.values()) <= 8e6
    assert "simulated" in loaded.card
    assert loaded.sha256 in loaded.card
    assert loaded.recipe["method"] == entry["method"]
    assert loaded.recipe["weights_sha256"] == loaded.sha256


@pytest.mark.parametrize("name", [name for name in BUNDLED if registry()[name]["method"] == "pfsr"])
def test_bundled_weights_enhance_out_of_the_box(name: str, session: Volume) -> None:
    """By default settings alone: the image is another than what the network was shown, and no wilder than that."""
    method = get_method(registry()[name]["method"])
    result = enhance(session, method, method.about.sampling(), np.random.default_rng(0), n_samples=1)
    loaded = load_weights(name, method.name, ())
    start = starting_image(session, loaded.settings["fusion"], loaded.contrasts)
    given = start.volume.image if start.smooth is None else start.smooth
    for contrast in loaded.contrasts:
        channel = CONTRASTS.index(contrast)
        change, image = result.image[channel] - given[channel], given[channel][session.brain]
        assert np.abs(change[session.brain]).max() > 0
        assert np.abs(change[session.brain]).mean() < 0.5 * image.mean()
    assert result.provenance["settings"]["fusion"] == loaded.settings["fusion"]
    assert result.provenance["records"][0]["weights_sha256"] == loaded.sha256


@pytest.mark.parametrize("name", BUNDLED)
def test_full_precision_can_be_asked_for(name: str, session: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: asked.append("bf16") or False)
    method = get_method(USERS[registry()[name]["method"]])
    for numbers in ("fp32", "bf16"):
        settings = method.about.sampling(precision=numbers)
        prepared = method.prepare(session, settings)
        assert prepared.precision == "fp32", "bf16 is taken only where it is native"
        assert bool(asked) == (numbers == "bf16")


def test_half_and_full_precision_agree(session: Volume) -> None:
    method = get_method("fusionnet")
    usual, full = (
        enhance(session, method, method.about.sampling(**asked), np.random.default_rng(0))
        for asked in ({}, {"precision": "fp32"})
    )
    assert full.provenance["records"][0]["precision"] == "fp32", "the record says it"
    np.testing.assert_allclose(full.image, usual.image, atol=0.02 * session.image.max())


@pytest.mark.parametrize("name", ["residualflow", "cssdiff"])
def test_what_draws_belongs_to_the_bundled_estimate(name: str) -> None:
    assert load_weights(name, name, ()).settings["estimate_sha256"] == registry()["fusionnet"]["sha256"]


def test_the_bundled_flow_knows_the_power_of_its_residual() -> None:
    stored = load_weights("residualflow", "residualflow", ()).settings
    assert len(stored["spectrum"]) == BANDS
    assert min(stored["spectrum"]) > 0
