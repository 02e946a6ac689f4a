"""Inputs of the steps: they name graphs, and their hashes tell when a scan was replaced."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from bids_lfenhance.bids.scans import file_state
from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.interfaces.write import WriteSession
from bids_lfenhance.workflows.inputs import reference_key, scan_input, session_key
from bids_lfenhance.workflows.participant import init_subject_wf

from ..derivatives.sessions import KINDS, LOW, make_scan, make_session
from ..derivatives.sessions import make_spec as spec
from .test_participant import nodes

RAW = Path("/raw")


@pytest.mark.parametrize(
    ("kind", "key", "reference"),
    [
        ("paired", "HFC", "GE"),
        ("unpaired", "HFC", ""),
        ("no sessions", "no_session", "no_session"),
        ("no sessions, unpaired", "no_session", ""),
        ("both fields in one session", "A", "A"),
        ("unusual labels", "HF__C", "G__E"),
    ],
)
def test_keys(kind, key, reference):
    session = make_session(RAW, kind)
    assert (session_key(session), reference_key(session)) == (key, reference)


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_every_kind_of_session_build(kind):
    session = make_session(RAW, kind, subject="0+1")
    workflow = init_subject_wf("0+1", [session], spec(), "/out/logs/x")
    words = {word for node in workflow._get_all_nodes() for word in node.fullname.split(".")}
    assert [word for word in words if not re.fullmatch(r"[0-9a-zA-Z_]+", word)] == []
    assert (f"session_{session_key(session)}_wf.compare_images" in nodes(workflow)) is session.paired


def test_sessions_alike_but_for_the_plus_stay_apart():
    scans = {label: make_scan(RAW, "01", label, "T1w", LOW) for label in ("AB", "A+B", "AB+")}
    sessions = [LowFieldSession("01", label, (scan,)) for label, scan in scans.items()]
    workflow = init_subject_wf("01", sessions, spec(), "/out/logs/x")
    assert len([name for name in nodes(workflow) if name.endswith(".enhance")]) == 3


def test_a_replaced_file_changes_what_the_steps_are_given(tmp_path):
    scan = make_session(tmp_path, "paired").reference[0]
    scan.path.parent.mkdir(parents=True)
    assert file_state(scan.path) == ()
    states = []
    for content in (b"old", b"longer"):
        scan.path.write_bytes(content)
        states.append(scan_input(replace(scan, state=file_state(scan.path)))["state"])
    assert states[0] != states[1]


def write_hash(**changes) -> str:
    """nipype's hash of a writing step."""
    session, run = make_session(RAW, "paired"), spec(**changes)
    return WriteSession(session=session, spec=run.without_resources).inputs.get_hashval()[1]


def test_the_hash_of_a_session_is_the_same_in_every_process_and_with_any_resources():
    code = "from tests.workflows.test_inputs import write_hash; print(write_hash())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == write_hash() == write_hash(threads=7, mem_gb=1.0, enhance_gb=0.5)
    assert write_hash(seed=1) != write_hash()
    stack = make_session(RAW, "paired").stacks[0]
    assert repr(replace(stack, state=(1, 2))) != repr(stack)
