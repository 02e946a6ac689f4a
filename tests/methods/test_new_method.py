"""Adding a method touches one folder and one row of one table: proved on a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import bids_lfenhance

from ..dataset import write_dataset

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(bids_lfenhance.__file__).parent

SETTINGS = '''"""Settings of ``smooth``; no torch."""

from dataclasses import dataclass, field
from typing import ClassVar

from ...nn.method import Description
from ...nn.settings import Checked, setting


@dataclass(frozen=True)
class SmoothSettings(Checked):
    """Options of ``smooth``."""


    sigma: float = field(default=0.6, metadata=setting("SD of the Gaussian, voxels", above=0))


ABOUT = Description(
    "smooth", "lf2hf", "nothing", SmoothSettings, SmoothSettings,
    gives_error_std=True, budgets={"sloppy": {"sigma": 0.5}, "cpu": {}, "gpu": {}},
    sentence="smoothing, after", references=("Gauss CF. Theoria motus, 1809",),
)
'''

METHOD = '''"""The record of ``smooth``."""

import numpy as np
from scipy import ndimage

from ...nn.method import Draw, Enhancer, Prepared
from .settings import ABOUT, SmoothSettings


def sample(prepared: Prepared[SmoothSettings], generator: np.random.Generator) -> Draw:
    """The plain mean of the stacks, smoothed; its error is said to be a tenth of it."""
    sigma = prepared.settings.sigma
    image = np.stack([ndimage.gaussian_filter(channel, sigma) for channel in prepared.volume.image])
    return Draw(image, {"nfe": 0, "warnings": []}, scale=image / 10)


ENHANCER = Enhancer(ABOUT, Prepared, sample)
'''


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package in it, and one method more."""
    root = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, root / "bids_lfenhance", ignore=shutil.ignore_patterns("__pycache__", "data"))
    (root / "bids_lfenhance" / "data").symlink_to(PACKAGE / "data")
    folder = root / "bids_lfenhance" / "methods" / "smooth"
    folder.mkdir()
    for name, text in (("__init__", '"""``smooth``: for a test."""\n'), ("settings", SETTINGS), ("method", METHOD)):
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    table = root / "bids_lfenhance" / "methods" / "__init__.py"
    row = '    "interp": ".interp",\n'
    text = table.read_text(encoding="utf-8")
    assert row in text
    table.write_text(text.replace(row, row + '    "smooth": ".smooth",\n'), encoding="utf-8")
    shutil.copytree(ROOT / "tests", root / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def run(root: Path, *words: str) -> str:
    env = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=root, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_contract_tests_apply_to_it_by_themselves(copy: Path) -> None:
    out = run(copy, "pytest", "-q", "-p", "no:cacheprovider", "tests/methods/test_contract.py", "-k", "smooth")
    assert "failed" not in out
    assert int(out.split(" passed")[0].split()[-1]) >= 7


def test_the_command_line_knows_its_options(copy: Path) -> None:
    assert "sigma" in run(copy, "bids_lfenhance", "--help-method", "smooth")


def test_a_participant_is_enhanced_by_it(copy: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "bids")
    words = ["--method", "smooth", "--sloppy", "--segmentation", "none", "--participant-label", "02"]
    run(
        copy,
        "bids_lfenhance",
        str(tmp_path / "bids"),
        str(tmp_path / "out"),
        "participant",
        "-w",
        str(tmp_path / "work"),
        *words,
    )
    assert list((tmp_path / "out").rglob("*_desc-smooth_T1w.nii.gz"))
    assert list((tmp_path / "out").rglob("*_desc-smoothStd_T1w.nii.gz")), "a method may say its own error"
    assert "Gauss" in (tmp_path / "out" / "sub-02.html").read_text(encoding="utf-8")
    assert "note = {Gauss" in (tmp_path / "out" / "logs" / "CITATION.bib").read_text(encoding="utf-8")
