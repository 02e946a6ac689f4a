"""The Boutiques descriptor of the participant level, made from its options.

python containers/boutiques.py > containers/boutiques.json
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bids_lfenhance import __version__
from bids_lfenhance.cli.help import ABOUT
from bids_lfenhance.cli.parser import build_parser
from bids_lfenhance.config import flag

MADE = ("out_dir", "work_dir", "bids_database_dir")
"""Folders that need not be there yet, as a File must."""

LEFT_OUT = ("help", "version", "citation", "help_method", "level")
"""What prints and stops, and the level, which the command line names itself."""


def describe_option(action: argparse.Action) -> dict[str, Any]:
    """One input of the descriptor."""
    given = {"id": action.dest, "name": action.dest.replace("_", " ").capitalize(), "type": "String"}
    given |= {"description": (action.help or "").replace("%%", "%"), "value-key": f"[{action.dest.upper()}]"}
    if action.option_strings:
        given |= {"optional": True, "command-line-flag": flag(action.dest)}
    if action.nargs == 0:
        given["type"] = "Flag"
    elif action.type is Path and action.dest not in MADE:
        given["type"] = "File"
    elif action.type in (int, float):
        given["type"] = "Number"
        given |= {"integer": True} if action.type is int else {}
    if action.nargs == "+":
        given["list"] = True
    if action.choices:
        given["value-choices"] = list(action.choices)
    return given


def descriptor() -> dict[str, Any]:
    """The descriptor, by schema 0.5."""
    inputs = [describe_option(action) for action in build_parser()._actions if action.dest not in LEFT_OUT]
    keys = {one["id"]: one["value-key"] for one in inputs}
    options = " ".join(key for name, key in keys.items() if name not in ("bids_dir", "out_dir"))
    out = keys["out_dir"]
    return {
        "name": "bids_lfenhance",
        "tool-version": __version__,
        "schema-version": "0.5",
        "author": "The bids_lfenhance developers",
        "description": ABOUT["participant"],
        "command-line": f"bids_lfenhance {keys['bids_dir']} {out} participant {options}",
        "container-image": {"type": "docker", "image": "bids_lfenhance:cpu", "entrypoint": True},
        "tags": {"domain": ["neuroinformatics", "mri", "bids"], "toolType": ["image enhancement"]},
        "inputs": inputs,
        "output-files": [
            {"id": "derivative", "name": "Derivative", "path-template": out, "description": "a BIDS derivative"},
            {"id": "reports", "name": "Reports", "path-template": f"{out}/*.html", "optional": True, "list": True},
        ],
        "error-codes": [
            {"code": 1, "description": "some subject failed or is incomplete"},
            {"code": 2, "description": "the command or the input cannot be used"},
            {"code": 3, "description": "nothing to do: no low-field session matches"},
            {"code": 130, "description": "stopped by Ctrl-C or SIGTERM"},
        ],
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(descriptor(), indent=2, ensure_ascii=False) + "\n")
