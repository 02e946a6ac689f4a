"""The console script in environments that public reports come from."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ..bids.conftest import LOW, make_tree

__all__ = ["make_tree"]


def test_ascii_a_closed_pipe_and_a_notebook_have_no_effect(make_tree: Any, tmp_path: Path) -> None:
    """MPLBACKEND stopped a run: https://github.com/spinalcordtoolbox/spinalcordtoolbox/issues/4523; and its kind."""
    root = make_tree({"01/A/acq-axi_T1w": LOW, "01/A/acq-cor_T1w": LOW})
    command = [sys.executable, "-m", "bids_lfenhance", str(root), str(tmp_path / "out"), "participant", "--dry-run"]
    environment = os.environ | {
        "PYTHONIOENCODING": "ascii",
        "MPLBACKEND": "module://a_notebook.that_is_not_here",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    one, two = (
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    )
    assert two.stdout is not None
    two.stdout.close()
    said, errors = one.communicate(timeout=120)
    assert said.startswith("Plan: 1 subject ? 1 low-field session")
    assert two.stderr is not None
    with two.stderr:
        errors_two = two.stderr.read()
    for process, words in ((one, errors), (two, errors_two)):
        assert process.wait(timeout=120) == 0
        assert "Error" not in words
        assert "Traceback" not in words
