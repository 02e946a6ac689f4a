"""Sessions as plain values: they name graphs, and tell when a scan was replaced."""

import json
import re
from pathlib import Path

import pytest

from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.workflows.participant import init_subject_wf
from bids_lfenhance.workflows.run_spec import session_record

from ..derivatives.sessions import KINDS, LOW, PLACES, make_scan, make_session
from .test_participant import nodes, spec

RAW = Path("/raw")


@pytest.mark.parametrize(
    ("kind", "key", "reference"),
    [
        ("paired", "HFC", "GE"),
        ("unpaired", "HFC", ""),
        ("no sessions", "LF", "HF"),
        ("no sessions, unpaired", "LF", ""),
        ("both fields in one session", "A", "A"),
        ("unusual labels", "HF_C", "G_E"),
    ],
)
def test_keys(kind, key, reference):
    record = session_record(make_session(RAW, kind))
    assert (record["key"], record["reference_session_key"]) == (key, reference)
    assert (record["session"], record["reference_session"]) == tuple(label or "" for label in PLACES[kind][:2])


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_of_every_kind_of_session_build(kind):
    record = session_record(make_session(RAW, kind, subject="0+1"))
    workflow = init_subject_wf("0+1", [record], spec(), "/out/logs/x")
    words = {word for node in workflow._get_all_nodes() for word in node.fullname.split(".")}
    assert [word for word in words if not re.fullmatch(r"[0-9a-zA-Z_]+", word)] == []
    assert (f"session_{record['key']}_wf.evaluate" in nodes(workflow)) is bool(record["reference_scans"])


def test_sessions_alike_but_for_the_plus_stay_apart():
    sessions = [
        LowFieldSession("01", label, (make_scan(RAW, "01", label, "T1w", LOW),)) for label in ("AB", "A+B", "AB+")
    ]
    workflow = init_subject_wf("01", [session_record(session) for session in sessions], spec(), "/out/logs/x")
    assert len([name for name in nodes(workflow) if name.endswith(".enhance")]) == 3


def test_a_record_is_plain_and_sees_a_replaced_file(tmp_path):
    session = make_session(tmp_path, "paired")
    path = session.reference[0].path
    absent = session_record(session)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    first = session_record(session)
    path.write_bytes(b"longer")
    second = session_record(session)
    states = [record["reference_scans"][0]["state"] for record in (absent, first, second)]
    assert states[0] == []
    assert states[1] != states[2]
    assert json.loads(json.dumps(second)) == second
