"""The graphs build, whatever the session, and every input of the writers is connected or set."""

import networkx as nx
import pytest
from nipype.pipeline.engine.utils import generate_expanded_graph

from bids_lfenhance.workflows.participant import init_subject_wf
from bids_lfenhance.workflows.run_spec import RunSpec, derive_seed

SCAN = {
    "name": "sub-01_ses-HFC_acq-axi_T1w",
    "path": "/raw/sub-01/ses-HFC/anat/sub-01_ses-HFC_acq-axi_T1w.nii.gz",
    "contrast": "T1w",
    "plane": "axi",
    "entities": {"acq": "axi"},
    "field_strength": 0.0635,
    "state": [1, 2],
}


def spec(**changes) -> RunSpec:
    values = {
        "bids_dir": "/raw",
        "out_dir": "/out",
        "method": "interp",
        "label": "interp",
        "method_settings": {"fusion": "mean"},
        "synthetic": False,
        "settings_hash": "0",
        "budget": "cpu",
        "n_samples": 1,
        "seed": 0,
        "sloppy": True,
        "resolution": "2mm",
        "spaces": (),
        "device": "cpu",
        "threads": 2,
        "mem_gb": 8.0,
    }
    return RunSpec(**(values | changes))


def session(label: str, paired: bool) -> dict:
    return {
        "subject": "01",
        "session": label,
        "key": label,
        "reference_session": "GE" if paired else "",
        "reference_session_key": "GE" if paired else "",
        "space": "GE" if paired else None,
        "scans": [SCAN],
        "reference_scans": [SCAN] if paired else [],
        "missing": [],
        "warnings": [],
    }


def nodes(workflow) -> dict[str, object]:
    return {node.fullname.removeprefix(workflow.name + "."): node for node in workflow._get_all_nodes()}


@pytest.mark.parametrize("spaces", [(), ("MNI152NLin2009cAsym:res-1", "MNI152NLin6Asym")])
@pytest.mark.parametrize("paired", [True, False])
def test_every_graph_builds_and_is_acyclic(paired, spaces):
    workflow = init_subject_wf("01", [session("HFC", paired)], spec(spaces=spaces), "/out/logs/x")
    graph = workflow._create_flat_graph()
    assert nx.is_directed_acyclic_graph(graph)
    assert ("session_HFC_wf.anatomy" in nodes(workflow)) is not paired
    assert ("session_HFC_wf.evaluate" in nodes(workflow)) is paired
    assert len([name for name in nodes(workflow) if "normalise" in name]) == len(spaces)


def test_sessions_share_one_reference():
    workflow = init_subject_wf("01", [session("HFC", True), session("HFE", True)], spec(), "/out/logs/x")
    names = nodes(workflow)
    assert [name for name in names if name.endswith("anatomy")] == ["reference_GE_wf.anatomy"]
    assert {"session_HFC_wf.enhance", "session_HFE_wf.enhance"} <= set(names)


def test_a_gpu_node_takes_one_slot():
    workflow = init_subject_wf("01", [session("HFC", True)], spec(device="cuda:0"), "/out/logs/x")
    enhance = nodes(workflow)["session_HFC_wf.enhance"]
    assert enhance.is_gpu_node()
    assert enhance.n_procs == 1


def test_seeds_differ_by_step_and_not_by_order():
    seeds = {derive_seed(0, "01", "HFC", step) for step in ("enhance", "prepare", "anatomy")}
    assert len(seeds) == 3
    assert derive_seed(0, "01", "HFC", "enhance") != derive_seed(1, "01", "HFC", "enhance")


def test_the_report_comes_after_every_other_step():
    """A subject's intermediate files go when its report is done: no step may then still have to read them."""
    sessions = [session("HFC", paired=True), session("HFE", paired=True), session("HFA", paired=False)]
    workflow = init_subject_wf("01", sessions, spec(segmentation="builtin"), "/out/logs/x")
    graph = generate_expanded_graph(workflow._create_flat_graph())  # as it is run: without the nodes that pass through
    (report,) = [node for node in graph.nodes if node.name == "report"]
    before = nx.ancestors(graph, report)
    assert {node.fullname for node in graph.nodes} == {node.fullname for node in [*before, report]}
    assert len(graph.nodes) > 20
