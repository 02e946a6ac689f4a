"""What every simulator promises."""

import dataclasses
import json
from importlib.util import find_spec

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.simulators import SIMULATORS, get_simulator
from bids_lfenhance.simulators.presets import named_preset, preset_names, stack_geometry
from bids_lfenhance.simulators.session import record_json, replay, simulate_session
from bids_lfenhance.simulators.simulator import Simulator
from bids_lfenhance.simulators.source import HighField
from tests.simulators.sources import phantom_source


@pytest.fixture(params=SIMULATORS)
def simulator(request) -> Simulator:
    if request.param == "h2lo":
        if find_spec("bids_lfenhance.simulators.h2lo") is None or find_spec("torch") is None:
            pytest.skip("h2lo is not here")
        pytest.skip("h2lo needs weights: tests/simulators/h2lo")
    return get_simulator(request.param)


@pytest.fixture(scope="module")
def source() -> HighField:
    return phantom_source()


def test_the_record_tells_of_every_setting(simulator):
    for item in dataclasses.fields(simulator.settings):
        assert item.metadata["help"]
        assert item.metadata["source"]
    assert set(simulator.shared) <= {item.name for item in dataclasses.fields(simulator.record)}


@pytest.mark.parametrize("word", ["hyperfine-sag", "iqt-hcp", "55mT"])
def test_the_same_record_gives_the_same_bytes(simulator, source, word):
    preset = named_preset(word, source.contrast)
    record = simulator.draw(source, preset, simulator.settings(), np.random.default_rng(1))
    assert type(record).of(json.loads(json.dumps(dataclasses.asdict(record)))) == record
    geometry = stack_geometry(preset, source.grid)
    text = json.dumps(record_json(simulator, record))
    first, second = simulator.apply(source, geometry, record), replay(text, source, geometry)
    assert first.data.tobytes() == second.data.tobytes()
    assert first.data.shape == geometry.shape
    assert first.data.dtype == np.float32
    assert np.isfinite(first.data).all()
    assert first.sigma > 0
    np.testing.assert_allclose(first.native_affine, geometry.affine)
    np.testing.assert_allclose(first.lf2hf_xfm, record.motion, atol=1e-12)


def test_a_width_is_recorded_as_it_is_drawn(simulator, source):
    """Nothing finer than the high field can be drawn from it."""
    finer = dataclasses.replace(named_preset("hyperfine-axi", source.contrast), fwhm=(0.4, 0.4, 5.0))
    record = simulator.draw(source, finer, simulator.settings(), np.random.default_rng(1))
    assert min(record.fwhm) == min(source.grid.zooms)
    stack = simulator.apply(source, stack_geometry(finer, source.grid), record)
    assert stack.fwhm == record.fwhm


def test_settings_out_of_range_are_refused(simulator):
    with pytest.raises(InputError, match="motion_mm"):
        simulator.settings(motion_mm=-1)


def test_the_generator_decides(simulator, source):
    preset = named_preset("hyperfine-axi", source.contrast)
    one, again, other = (
        simulator.draw(source, preset, simulator.settings(), np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one == again != other


def test_the_units_of_high_field_do_not_matter(simulator, source):
    preset = named_preset("hyperfine-axi", source.contrast)
    scaled = dataclasses.replace(source, image=source.image * 8)
    stacks = [
        simulator.apply(
            one,
            stack_geometry(preset, one.grid),
            simulator.draw(one, preset, simulator.settings(), np.random.default_rng(1)),
        )
        for one in (source, scaled)
    ]
    np.testing.assert_allclose(stacks[1].data, 8 * stacks[0].data, rtol=1e-3, atol=1e-3 * stacks[1].data.max())


def test_the_head_moves_with_the_motion_of_the_record(simulator, source):
    """A stack shifted by its own voxels sees the same head, displaced by as many."""
    preset = named_preset("hyperfine-axi", source.contrast).on(source.grid)
    record = simulator.draw(source, preset, simulator.settings(), np.random.default_rng(1))
    geometry = stack_geometry(preset, source.grid)
    still, moved = np.eye(4), np.eye(4)
    moved[:3, 3] = geometry.affine[:3, 0] * 4
    values = {"snr": 0.0, "noise": 0.0, "bias": (0.0,) * 9} | ({"snr": (1e4, 9e3)} if simulator.name == "iqt" else {})
    quiet = {key: value for key, value in values.items() if hasattr(record, key)}
    images = [
        simulator.apply(
            source, geometry, dataclasses.replace(record, motion=tuple(map(tuple, motion.tolist())), **quiet)
        )
        for motion in (still, moved)
    ]
    np.testing.assert_allclose(images[1].data[:-4], images[0].data[4:], atol=2e-3 * images[0].data.max())


@pytest.mark.parametrize("words", [("hyperfine-axi", "hyperfine-cor")])
def test_every_simulator_makes_sessions(simulator, words):
    sources = [phantom_source("T1w"), phantom_source("FLAIR")]
    presets = [named_preset(word, one.contrast) for one in sources for word in words]
    session = simulate_session(simulator, sources, presets, simulator.settings(), np.random.default_rng(0))
    assert [(record.contrast, record.plane) for _, record in session] == [(p.contrast, p.plane) for p in presets]
    for field in simulator.shared:
        assert getattr(session[0][1], field) == getattr(session[1][1], field)


def test_unknown_words_are_refused_with_what_there_is():
    with pytest.raises(InputError, match="physics"):
        get_simulator("magic")
    with pytest.raises(InputError, match="hyperfine-axi"):
        named_preset("hyperfine", "T1w")
    assert all(named_preset(word, contrast) for word in preset_names() for contrast in ("T1w", "T2w", "FLAIR"))
