"""Who decides a setting: the user each time, or the training, whose weights store it."""

from dataclasses import fields
from typing import Any

import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import get_method
from bids_lfenhance.methods.options import NetworkSampling
from bids_lfenhance.methods.pfsr.settings import ABOUT, resolve
from bids_lfenhance.nn.weights import load_weights, registry


def names_of(kind: type | None) -> set[str]:
    return {item.name for item in fields(kind)} if kind else set()


def test_every_setting_is_decided_by_somebody() -> None:
    about = ABOUT
    assert issubclass(about.sampling, NetworkSampling)
    assert "fusion" in names_of(about.network)
    parts = [names_of(kind) for kind in (about.sampling, about.network, about.training)]
    assert set().union(*parts) == names_of(about.settings)
    assert not parts[1] & (parts[0] | parts[2]), "what shapes the networks is the weights' alone"


def test_what_shapes_the_networks_is_as_the_weights_store_it_and_the_rest_the_users() -> None:
    about = ABOUT
    stored = vars(about.settings(**{**about.presets["tiny"], "device": "cuda:7"}))
    used = resolve(ABOUT.sampling(precision="fp32"), stored)
    assert {key: getattr(used, key) for key in names_of(about.network)} == {
        key: stored[key] for key in names_of(about.network)
    }
    assert (used.device, used.precision) == ("cpu", "fp32")


def test_weights_that_do_not_know_a_setting_leave_it_at_its_default() -> None:
    assert resolve(ABOUT.sampling(), {"width": 16}) == ABOUT.settings(width=16)


@pytest.mark.parametrize("name", sorted(name for name, entry in registry().items() if entry["method"] == "pfsr"))
def test_bundled_weights_have_every_setting_that_they_need(name: str) -> None:
    entry = registry()[name]
    method, stored = get_method(entry["method"]), load_weights(name, entry["method"], ()).settings
    assert method.resolve is not None
    used = method.resolve(method.about.sampling(), stored)
    assert all(getattr(used, key) == stored[key] for key in names_of(method.about.network) & stored.keys())


@pytest.mark.parametrize(
    ("asked", "stored", "found"),
    [
        ("auto", {}, "auto"),
        ("auto", {"contrast": "auto"}, "auto"),
        ("auto", {"contrast": "restored"}, "restored"),
        ("none", {"contrast": "restored"}, "none"),
        ("restored", {"contrast": "none"}, "restored"),
    ],
)
def test_the_user_decides_contrast_and_else_the_weights(asked: Any, stored: dict[str, str], found: str) -> None:
    assert resolve(ABOUT.sampling(contrast=asked), stored).contrast == found


@pytest.mark.parametrize(("asked", "found"), [(0.0, 0.2), (0.5, 0.5)])
def test_the_user_decides_the_share_and_else_the_weights(asked: float, found: float) -> None:
    assert resolve(ABOUT.sampling(strength=asked), {"strength": 0.2}).strength == found


def test_what_would_have_no_effect_with_these_weights_is_refused() -> None:
    method = get_method("bridge")
    assert method.resolve is not None
    with pytest.raises(InputError, match="k = 990"):
        method.resolve(method.about.sampling(k=400), {})


@pytest.mark.parametrize(("value", "holds"), [(-0.1, False), (0.0, True), (1.0, True), (1.1, False)])
def test_a_value_out_of_its_range_is_refused_by_its_name(value: float, holds: bool) -> None:
    if holds:
        assert ABOUT.sampling(strength=value).strength == value
    else:
        with pytest.raises(InputError, match="Expected strength to be at"):
            ABOUT.sampling(strength=value)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_number_without_end_is_refused_by_its_name(value: float) -> None:
    with pytest.raises(InputError, match="Expected noise to be a finite number"):
        ABOUT.sampling(noise=value)
