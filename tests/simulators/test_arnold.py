"""The four-parameter baseline: what it fits, what it stores, what it cannot do."""

from pathlib import Path

import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.simulators.arnold import (
    SIMULATOR,
    ArnoldRecord,
    ArnoldSettings,
    Parameters,
    _Case,
    curve,
    fit_arnold,
    load_parameters,
    save_parameters,
)
from bids_lfenhance.simulators.presets import get_preset, stack_geometry
from bids_lfenhance.simulators.simulator import rows
from tests.simulators.sources import phantom_source

TRUTH = Parameters(noise=0.12, in_plane=2.0, through_plane=6.0, gamma=0.5)


def pair(seed: int):
    source = phantom_source(seed=seed)
    geometry = stack_geometry(get_preset("T1w", "axi"), source.grid)
    width = (TRUTH.in_plane, TRUTH.in_plane, TRUTH.through_plane)
    record = ArnoldRecord("T1w", "axi", rows(np.eye(4)), TRUTH.noise, TRUTH.gamma, width, seed)
    stack = SIMULATOR.apply(source, geometry, record)
    return source, type(stack)(**vars(stack) | {"fwhm": (1.6, 1.6, 5.0)})


def test_the_fit_finds_noise_and_curve_and_brings_the_histograms_together():
    pairs = [pair(seed) for seed in (3, 4)]
    found = fit_arnold(pairs)
    assert found.gamma == pytest.approx(TRUTH.gamma, rel=0.15)
    assert found.noise == pytest.approx(TRUTH.noise, rel=0.2)
    case = _Case.of(*pair(5), np.random.default_rng(0))

    def distance(parameters: Parameters) -> float:
        return case.between(case.clean(parameters), parameters.noise)

    assert distance(found) < 0.5 * distance(Parameters(0.08, 1.6, 5.0, 0.8))
    assert distance(found) < distance(TRUTH) + 0.01


def test_the_curve_is_monotone_so_tissues_never_change_places():
    source = phantom_source()
    for gamma in (0.2, 1.0, 3.0):
        curved = curve(source, gamma)
        assert np.all(np.diff(curved.ravel()[np.argsort(source.image.ravel())]) >= 0)
        assert curved[source.mask].mean() == pytest.approx(1, rel=1e-4)


def test_parameters_come_back_from_their_file_and_decide_the_draw(tmp_path: Path, rng):
    path = save_parameters(tmp_path / "arnold.json", {"T1w": TRUTH})
    assert load_parameters(path, "T1w") == TRUTH
    record = SIMULATOR.draw(
        phantom_source(), get_preset("T1w", "axi"), ArnoldSettings(noise=9.0, parameters=str(path)), rng
    )
    assert (record.noise, record.gamma, record.fwhm) == (TRUTH.noise, TRUTH.gamma, (2.0, 2.0, 6.0))


@pytest.mark.parametrize("text", ["", "[]", '{"T2w": {}}', '{"T1w": {"noise": -1}}', '{"T1w": 3}'])
def test_a_file_without_parameters_is_refused_in_a_sentence(tmp_path: Path, text: str):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match="Expected"):
        load_parameters(tmp_path / "bad.json", "T1w")
    with pytest.raises(InputError, match="no such file; let train --augment arnold fit"):
        load_parameters(tmp_path / "absent.json", "T1w")


def test_pairs_must_be_few_and_of_one_contrast():
    with pytest.raises(InputError, match="1 to 3"):
        fit_arnold([])
    source, stack = pair(3)
    with pytest.raises(InputError, match="check the alignment"):
        fit_arnold(
            [
                (
                    source,
                    type(stack)(**vars(stack) | {"affine": stack.affine + 1000 * np.eye(4)[:, [3]] @ [[0, 0, 0, 1]]}),
                )
            ]
        )
