"""The Boutiques descriptor: the rules of its schema (0.5), the options there are, a command that is understood."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bids_lfenhance.cli.parser import build_parser, parse

ROOT = Path(__file__).resolve().parents[1]
FILE = ROOT / "containers" / "boutiques.json"

REQUIRED = {"name", "description", "command-line", "schema-version", "inputs", "tool-version"}
INPUT = {"id", "name", "type", "description", "value-key", "optional", "command-line-flag", "list", "value-choices"}
INPUT |= {"integer"}


@pytest.fixture(scope="module")
def descriptor() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def test_it_is_that_of_the_options_there_are(descriptor: dict[str, Any]) -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "containers" / "boutiques.py"], capture_output=True, text=True, check=True
    )
    assert json.loads(made.stdout) == descriptor, "python containers/boutiques.py > containers/boutiques.json"
    flags = {one.get("command-line-flag") for one in descriptor["inputs"]} - {None}
    options = {action.option_strings[-1] for action in build_parser()._actions if action.option_strings}
    assert len(flags) == len(options) - 4, "all but those that print and stop"


def test_the_rules_of_the_schema_hold(descriptor: dict[str, Any]) -> None:
    assert set(descriptor) >= REQUIRED
    assert descriptor["schema-version"] == "0.5"
    ids = [one["id"] for one in [*descriptor["inputs"], *descriptor["output-files"]]]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9_a-zA-Z]+", one) for one in ids)
    for one in descriptor["inputs"]:
        assert {"id", "name", "type"} <= set(one) <= INPUT
        assert one["type"] in ("String", "File", "Flag", "Number")
        assert descriptor["command-line"].split().count(one["value-key"]) == 1
        assert "command-line-flag" in one or one["type"] != "Flag"
        assert not one.get("list") or one["type"] != "Flag"
        assert "value-choices" not in one or one["type"] in ("String", "Number")
        assert "integer" not in one or one["type"] == "Number"
    keys = {one["value-key"] for one in descriptor["inputs"]}
    assert set(re.findall(r"\[\w+\]", descriptor["command-line"])) == keys
    for one in descriptor["output-files"]:
        assert set(one) <= {"id", "name", "description", "path-template", "optional", "list"}


def command(descriptor: dict[str, Any], given: dict[str, Any]) -> list[str]:
    """The words that a runner of Boutiques would call: keys replaced by flags and values, or by nothing."""
    line = descriptor["command-line"]
    for one in descriptor["inputs"]:
        words = [one["command-line-flag"]] if "command-line-flag" in one and one["id"] in given else []
        value = given.get(one["id"], [])
        if one["type"] != "Flag":
            words += [str(word) for word in value] if isinstance(value, list) else [str(value)]
        line = line.replace(one["value-key"], shlex.join(words))
    return shlex.split(line)


def test_the_command_that_comes_of_it_is_understood(descriptor: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "raw data").mkdir()
    given = {"bids_dir": tmp_path / "raw data", "out_dir": tmp_path / "out", "participant_label": ["01", "02"]}
    given |= {"method": "interp", "set": ["fusion=mean"], "mem_gb": 8, "sloppy": True, "random_seed": 3}
    program, *words = command(descriptor, given)
    settings = parse(words)
    assert program == "bids_lfenhance"
    assert (settings.bids_dir, settings.participant_label) == (tmp_path / "raw data", ("01", "02"))
    assert (settings.method, settings.method_options, settings.random_seed) == ("interp", {"fusion": "mean"}, 3)
    assert (settings.mem_gb, settings.sloppy, settings.dry_run) == (8.0, True, False)


def test_boutiques_itself_accepts_it() -> None:
    bosh = shutil.which("bosh")
    if bosh is None:
        pytest.skip("needs bosh, of the package boutiques")
    subprocess.run([bosh, "validate", str(FILE)], check=True)
