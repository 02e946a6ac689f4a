"""Who decides what, where trained weights are used."""

from dataclasses import fields, replace
from typing import Any

import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods import METHODS, get_method
from bids_lfenhance.methods.options import as_trained, decided
from bids_lfenhance.nn.method import Method

LEARNED = [get_method(name) for name in METHODS if get_method(name).learning]


@pytest.mark.parametrize("method", LEARNED, ids=lambda method: method.name)
def test_what_belongs_to_the_weights_is_theirs_and_the_rest_the_users(method: Method) -> None:
    settings = method.settings()
    mine = decided(method.settings, "user")
    assert {"weights", "device", "strength", "contrast"} <= mine
    theirs = decided(method.settings, "network", "training")
    assert "fusion" in theirs
    assert mine | theirs == {f.name for f in fields(settings)}
    presets = method.learning.presets["tiny"]  # type: ignore[union-attr]
    trained = {f.name: presets.get(f.name, getattr(settings, f.name)) for f in fields(settings)}
    assert any(trained[name] != getattr(settings, name) for name in theirs)
    used = as_trained(settings, trained | {"device": "cuda:7"})
    assert {name: getattr(used, name) for name in theirs} == {name: trained[name] for name in theirs}
    assert used.device == settings.device


def test_weights_that_do_not_know_a_setting_leave_it_at_its_default() -> None:
    settings = get_method("cfm").settings()
    assert as_trained(settings, {"base": 16}) == replace(settings, base=16)


@pytest.mark.parametrize(
    ("asked", "weights", "found"),
    [
        ("auto", {}, "auto"),
        ("auto", {"contrast": "auto"}, "auto"),
        ("auto", {"contrast": "restored"}, "restored"),
        ("none", {"contrast": "restored"}, "none"),
        ("restored", {"contrast": "none"}, "restored"),
    ],
)
def test_the_user_decides_contrast_and_else_the_weights(asked: Any, weights: dict[str, str], found: str) -> None:
    assert as_trained(get_method("cfm").settings(contrast=asked), weights).contrast == found


@pytest.mark.parametrize(
    ("name", "asked", "weights", "words"),
    [
        ("cfm", {"steps": 4}, {}, "--cfm-steps with --cfm-mode sample alone"),
        ("cfm", {"mode": "sample", "strength": 0.3}, {}, "--cfm-strength with --cfm-mode mean alone"),
        ("cssdiff", {"ddim_steps": 20}, {"ccd": True, "steps": 4}, "a chain of 4 steps"),
        ("bridge", {"diffusion": False}, {"bridge": False, "diffusion": True}, "a prior alone"),
    ],
)
def test_what_would_have_no_effect_with_these_weights_is_refused(
    name: str, asked: dict[str, Any], weights: dict[str, Any], words: str
) -> None:
    method = get_method(name)
    assert method.used is not None
    with pytest.raises(InputError, match=words):
        method.used(method.settings(**asked), weights)


def test_a_sample_takes_all_of_the_change() -> None:
    method = get_method("cfm")
    assert method.used is not None
    assert method.used(method.settings(mode="sample"), {"strength": 0.2}).strength == 1


@pytest.mark.parametrize(("asked", "found"), [(0.0, 0.2), (0.5, 0.5)])
def test_the_user_decides_the_share_and_else_the_weights(asked: float, found: float) -> None:
    assert as_trained(get_method("pfsr").settings(strength=asked), {"strength": 0.2}).strength == found
