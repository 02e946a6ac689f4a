"""Whole sessions: one pose, little motion, one draw of contrast; and every stack can be made again from its sidecar."""

import json

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.simulators import get_simulator
from bids_lfenhance.simulators.physics import PhysicsSettings
from bids_lfenhance.simulators.presets import get_preset, stack_geometry
from bids_lfenhance.simulators.session import record_json, replay, simulate_session
from bids_lfenhance.simulators.source import HighField
from tests.simulators.sources import phantom_source

PRESETS = [get_preset(contrast, plane) for contrast in ("T1w", "T2w") for plane in ("axi", "sag")]


@pytest.fixture(scope="module")
def sources() -> list[HighField]:
    return [phantom_source("T1w"), phantom_source("T2w")]


def test_a_session_has_one_pose_little_motion_and_one_contrast(sources):
    settings = PhysicsSettings(motion_mm=0.2, motion_deg=0.2)
    session = simulate_session(get_simulator("physics"), sources, PRESETS, settings, np.random.default_rng(2))
    assert [(stack.contrast, record.plane) for stack, record in session] == [(p.contrast, p.plane) for p in PRESETS]
    motions = [np.array(record.motion) for _, record in session]
    assert np.linalg.norm(motions[0][:3, 3]) > 2, "the pose of the session"
    for motion in motions[1:]:
        assert np.linalg.norm((np.linalg.inv(motions[0]) @ motion)[:3, 3]) < 2
        assert not np.array_equal(motion, motions[0])
    assert session[0][1].factor == session[1][1].factor
    assert session[2][1].factor == session[3][1].factor != session[0][1].factor
    assert session[0][1].seed != session[1][1].seed


def test_a_sidecar_is_enough_to_make_a_stack_again(sources):
    physics = get_simulator("physics")
    stack, record = simulate_session(physics, sources, PRESETS[2:3], PhysicsSettings(), np.random.default_rng(4))[0]
    text = json.dumps(record_json(physics, record))
    again = replay(text, sources[1], stack_geometry(PRESETS[2], sources[1].grid))
    assert again.data.tobytes() == stack.data.tobytes()
    assert np.array_equal(again.affine, stack.affine)


@pytest.mark.parametrize("text", ["", "{}", '{"Simulator": "magic"}', '{"Simulator": "physics", "mood": 1}', "[1]"])
def test_what_is_no_record_is_refused_in_a_sentence(sources, text):
    with pytest.raises(InputError, match="Expected"):
        replay(text, sources[0], sources[0].grid)


def test_weights_have_no_place_in_a_record_without_any(sources):
    physics = get_simulator("physics")
    _, record = simulate_session(physics, sources, PRESETS[2:3], PhysicsSettings(), np.random.default_rng(4))[0]
    with pytest.raises(InputError, match="no weights for physics, found somewhere"):
        replay(json.dumps(record_json(physics, record)), sources[1], sources[1].grid, weights="somewhere")


def test_a_contrast_without_high_field_is_refused(sources):
    with pytest.raises(InputError, match="T2w"):
        simulate_session(get_simulator("physics"), sources[:1], PRESETS, PhysicsSettings(), np.random.default_rng(0))
