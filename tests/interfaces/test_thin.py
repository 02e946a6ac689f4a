"""Interfaces stay wrappers: few lines, and what they wrap is imported only when they run."""

import ast
from pathlib import Path
from typing import get_args

import pytest

import bids_lfenhance.interfaces
from bids_lfenhance.interfaces.scans import EnhanceScans
from bids_lfenhance.methods.options import TargetContrast

FILES = sorted(Path(bids_lfenhance.interfaces.__file__).parent.glob("*.py"))
MOST_STATEMENTS = 10


def steps(path: Path) -> list[ast.FunctionDef]:
    return [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef) and n.name == "run_step"]


def test_there_are_steps_to_look_at():
    assert sum(len(steps(path)) for path in FILES) > 8


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_step_is_ten_statements_at_most(path):
    for step in steps(path):
        body = [n for n in step.body if not isinstance(n, (ast.Import, ast.ImportFrom, ast.Expr))]
        inner = sum(isinstance(n, ast.stmt) for part in body for n in ast.walk(part))
        assert inner <= MOST_STATEMENTS, f"{path.name}: {inner} statements"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_of_ours_is_imported_at_the_top(path):
    tops = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.ImportFrom) and n.level]
    assert {n.module for n in tops} <= {"base", "bids.sessions", "config"}, "records that are traits, and nothing heavy"


def test_a_step_takes_the_contrasts_that_the_methods_know():
    """Written out there, as nothing of ours is imported at the top."""
    choices = EnhanceScans.input_spec().trait("target_contrast").trait_type.values
    assert tuple(choices) == get_args(TargetContrast)
