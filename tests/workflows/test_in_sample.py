"""Subjects whom weights have seen are told from others, in the plan and in what a session's record takes from it."""

from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.bids.plan import make_plan
from bids_lfenhance.cli.run import main
from bids_lfenhance.config import Settings
from bids_lfenhance.methods import get_trainable
from bids_lfenhance.nn.weights import save_weights
from bids_lfenhance.workflows.in_sample import with_seen_subjects
from bids_lfenhance.workflows.run import make_run_spec

from ..bids.conftest import LOW, make_tree

__all__ = ["make_tree"]


@pytest.fixture
def dataset(make_tree: Any) -> Path:
    root: Path = make_tree({f"{person}/A/acq-axi_T1w": LOW for person in ("01", "02")})
    (root / "dataset_description.json").write_text('{"Name": "Own", "BIDSVersion": "1.10.0"}')
    return root


def weights_of(name: str, folder: Path, *people: str, **sizes: int) -> str:
    about = get_trainable(name).about
    nets = get_trainable(name).build(about.settings(**sizes))
    recipe = {"method": name, "contrasts": ["T1w"], "settings": sizes, "trained_on": list(people)}
    return str(save_weights(folder, nets, recipe, "drawn, not learned"))


def test_the_plan_names_whom_the_weights_have_seen(dataset: Path, tmp_path: Path, capsys) -> None:
    seen = weights_of("fusionnet", tmp_path / "weights", "Own/02", "Other/01", width=8, levels=2)
    words = ["participant", "--weights", seen, "--segmentation", "none", "--dry-run"]
    assert main([str(dataset), str(tmp_path / "out"), *words]) == 0
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "fusionnet were trained" in line]
    assert "sub-02" in said
    assert "sub-01" not in said


def test_those_of_the_segmentation_count_too(dataset: Path, tmp_path: Path) -> None:
    own = weights_of("regions", tmp_path / "regions", "Own/01", width=4, levels=2, patch=16)
    settings = Settings(dataset, tmp_path / "out", method="interp", segmentation_weights=own)
    plan = make_plan(dataset)
    one, two = with_seen_subjects(plan, make_run_spec(settings, {"fusion": "mean"}, "cpu")).sessions
    assert any("regions" in sentence for sentence in one.warnings)
    assert two == plan.sessions[1]
