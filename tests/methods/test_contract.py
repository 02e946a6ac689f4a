"""What every method of the table promises; to be in the table is to be tested."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from bids_lfenhance.config import CONTRASTS
from bids_lfenhance.errors import InputError
from bids_lfenhance.imaging.volume import Volume
from bids_lfenhance.methods import METHODS, description, get_method
from bids_lfenhance.methods.enhance import enhance
from bids_lfenhance.nn import precision
from bids_lfenhance.nn.method import Enhanced

from .generative import small_weights
from .learned import untrained_weights
from .phantoms import small_session

UNTRAINED: dict[str, dict[str, str]] = {}
"""Options by method that name weights which were drawn, not learnt."""


@pytest.fixture(scope="module")
def session() -> Volume:
    return small_session(np.random.default_rng(7), size=24)


@pytest.fixture(scope="module", autouse=True)
def weights(tmp_path_factory: pytest.TempPathFactory) -> None:
    """For every method with networks."""
    torch.set_num_threads(1)
    place = tmp_path_factory.mktemp
    flow = small_weights(place("flow"))
    UNTRAINED.update(
        {
            "pfsr": {"weights": str(untrained_weights("pfsr", place("pfsr")))},
            "fusionnet": {"weights": flow["estimate"]},
            "cfm": flow,
            "bridge": flow,
            "cssdiff": small_weights(place("slices"), kind="cssdiff"),
        }
    )


def run(name: str, volume: Volume, seed: int = 3, draws: int | None = None) -> Enhanced:
    method = get_method(name)
    settings = method.about.sampling(**method.about.budgets["sloppy"], **UNTRAINED.get(name, {}))
    return enhance(volume, method, settings, np.random.default_rng(seed), draws)


@pytest.fixture(scope="module")
def results(session: Volume) -> dict[str, Enhanced]:
    """What each method makes of the session, made when it is first asked for."""

    class Results(dict[str, Enhanced]):
        def __missing__(self, name: str) -> Enhanced:
            self[name] = run(name, session)
            return self[name]

    return Results()


@pytest.mark.parametrize("name", METHODS)
def test_every_setting_says_what_it_does_and_where_its_default_comes_from(name: str) -> None:
    method = get_method(name)
    assert method.name == name
    for item in fields(method.about.sampling):
        assert item.metadata["help"], item.name
        assert item.metadata["source"], item.name
    known = {item.name for item in fields(method.about.sampling)}
    for budget in ("sloppy", "cpu", "gpu"):
        assert set(method.about.budgets[budget]) <= known


@pytest.mark.parametrize("name", METHODS)
def test_shape_dtype_and_missing_contrast(name: str, session: Volume, results: dict[str, Enhanced]) -> None:
    image = results[name].image
    assert image.shape == session.image.shape
    assert image.dtype == np.float32
    assert np.isfinite(image).all()
    assert not image[CONTRASTS.index("FLAIR")].any()
    assert all(image[CONTRASTS.index(contrast)].any() for contrast in session.contrasts)
    assert results[name].provenance["absent"] == ["FLAIR"]


@pytest.mark.parametrize("name", METHODS)
def test_a_standard_deviation_only_where_the_method_gives_its_scale(name: str, results: dict[str, Enhanced]) -> None:
    std, draws = results[name].std, get_method(name).about.draws
    assert (std is None) == (not description(name).gives_error_std)
    assert len(results[name].provenance["records"]) == draws
    if std is not None:
        assert std.shape == results[name].image.shape
        assert (std >= 0).all()
        assert std.any()


@pytest.mark.parametrize("name", METHODS)
def test_provenance_is_plain_json(name: str, results: dict[str, Enhanced]) -> None:
    told = json.loads(json.dumps(results[name].provenance, allow_nan=False))
    assert told["method"] == name
    assert told["seed"]["entropy"] == 3


@pytest.mark.parametrize("name", METHODS)
def test_same_seed_same_bytes_whatever_the_order_of_files(
    name: str, session: Volume, results: dict[str, Enhanced]
) -> None:
    again = run(name, replace(session, stacks=session.stacks[::-1]))
    assert again.image.tobytes() == results[name].image.tobytes()
    if again.std is not None:
        assert results[name].std is not None
        assert again.std.tobytes() == results[name].std.tobytes()


@pytest.mark.parametrize("name", METHODS)
def test_one_contrast_alone(name: str, session: Volume) -> None:
    alone = small_session(np.random.default_rng(7), 24, ("T2w",))
    result = run(name, alone, draws=1)
    assert (result.std is None) == (not description(name).gives_error_std)
    assert result.provenance["contrasts"] == ["T2w"]
    assert result.image[CONTRASTS.index("T2w")].any()
    assert not result.image[CONTRASTS.index("T1w")].any()


@pytest.mark.parametrize("name", METHODS)
def test_no_contrast_at_all_is_refused(name: str, session: Volume) -> None:
    empty = replace(session, image=np.zeros_like(session.image), present=np.zeros(3, dtype=bool), stacks=())
    with pytest.raises(InputError, match="Expected at least one of T1w, T2w, FLAIR"):
        run(name, empty)


@pytest.mark.parametrize("name", METHODS)
def test_half_precision_runs_whatever_the_processor(name: str, session: Volume, monkeypatch) -> None:
    monkeypatch.setattr(precision, "bf16_is_native", lambda device: True)
    assert np.isfinite(run(name, session).image).all()


@pytest.mark.parametrize("name", METHODS)
def test_units_of_intensity_do_not_matter(name: str, session: Volume, results: dict[str, Enhanced]) -> None:
    scaled = tuple(replace(stack, data=stack.data * 256, sigma=stack.sigma * 256) for stack in session.stacks)
    brighter = run(name, replace(session, image=session.image * 256, stacks=scaled))
    np.testing.assert_allclose(brighter.image / 256, results[name].image, atol=2e-3 * results[name].image.max())


def test_unknown_method_is_named_with_its_neighbours() -> None:
    with pytest.raises(InputError, match=r"interp, inr, .*found 'interpp'"):
        get_method("interpp")
