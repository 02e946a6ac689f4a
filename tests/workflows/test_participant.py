"""The graphs build, whatever the session, and every input of the writers is connected or set."""

from dataclasses import MISSING, fields, replace
from pathlib import Path

import networkx as nx
import pytest
from nipype.pipeline.engine.utils import generate_expanded_graph

from bids_lfenhance.bids.sessions import LowFieldSession
from bids_lfenhance.derivatives.session import SessionContent
from bids_lfenhance.workflows.inputs import derive_seed
from bids_lfenhance.workflows.participant import init_session_wf, init_subject_wf

from ..derivatives.sessions import HIGH, LOW, make_scan
from ..derivatives.sessions import make_spec as spec

RAW = Path("/raw")


def session(label: str, paired: bool) -> LowFieldSession:
    high = (make_scan(RAW, "01", "GE", "T1w", HIGH),) if paired else ()
    return LowFieldSession(
        "01", label, (make_scan(RAW, "01", label, "T1w", LOW, acq="axi"),), high, "GE" if paired else None
    )


def nodes(workflow) -> dict[str, object]:
    return {node.fullname.removeprefix(workflow.name + "."): node for node in workflow._get_all_nodes()}


@pytest.mark.parametrize("spaces", [(), ("MNI152NLin2009cAsym:res-1", "MNI152NLin6Asym")])
@pytest.mark.parametrize("paired", [True, False])
def test_every_graph_builds_and_is_acyclic(paired, spaces):
    workflow = init_subject_wf("01", [session("HFC", paired)], spec(spaces=spaces), "/out/logs/x")
    graph = workflow._create_flat_graph()
    assert nx.is_directed_acyclic_graph(graph)
    assert ("session_HFC_wf.anatomy" in nodes(workflow)) is not paired
    assert ("session_HFC_wf.compare_images" in nodes(workflow)) is paired
    assert len([name for name in nodes(workflow) if "normalise" in name]) == len(spaces)


def test_sessions_share_one_reference():
    workflow = init_subject_wf("01", [session("HFC", True), session("HFE", True)], spec(), "/out/logs/x")
    names = nodes(workflow)
    assert [name for name in names if name.endswith("anatomy")] == ["reference_GE_wf.anatomy"]
    assert {"session_HFC_wf.enhance", "session_HFE_wf.enhance"} <= set(names)


def test_brain_extraction_of_high_field_knows_what_its_scans_show():
    workflow = init_subject_wf("01", [session("HFC", True)], spec(), "/out/logs/x")
    graph = workflow._create_flat_graph()
    given = {
        target
        for source, step, edge in graph.edges(data=True)
        if step.fullname.endswith("reference_GE_wf.anatomy")
        for _, target in edge["connect"]
    }
    assert given == {"volume", "qc"}


def test_a_gpu_node_takes_one_slot():
    workflow = init_subject_wf("01", [session("HFC", True)], spec(device="cuda:0"), "/out/logs/x")
    enhance = nodes(workflow)["session_HFC_wf.enhance"]
    assert enhance.is_gpu_node()
    assert enhance.n_procs == 1


def test_three_segmentations_of_a_pair_share_the_threads_and_a_single_one_has_them_all():
    for paired, threads in ((True, 2), (False, 6)):
        workflow = init_subject_wf(
            "01", [session("HFC", paired)], spec(threads=6, segmentation="builtin"), "/out/logs/x"
        )
        steps = {name: node for name, node in nodes(workflow).items() if name.endswith("regions")}
        found = {name: node.n_procs for name, node in steps.items() if not name.endswith("compare_regions")}
        assert set(found.values()) == {threads}, found


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


@pytest.mark.parametrize("paired", [True, False])
def test_what_a_session_consists_of_is_given_to_its_writer(paired):
    """Each field without a default has an input, and an edge of the graph or a value; two are read of the anatomy."""
    write = nodes(init_session_wf(session("HFC", paired), spec(), "run1"))["write"]
    given = {
        "anatomy" if f.name == "expected" else f.name: f.default is MISSING and f.default_factory is MISSING
        for f in fields(SessionContent)
        if f.name != "reference_seen"  # the anatomy of a session without high field has none
    }
    assert set(given) <= set(write.inputs.copyable_trait_names())
    connected = {
        name for _, _, edge in write_edges(init_session_wf(session("HFC", paired), spec())) for _, name in edge
    }
    assert {name for name, needed in given.items() if needed} <= connected
    assert write.inputs.run == "run1"


@pytest.mark.parametrize("paired", [True, False])
def test_lesions_are_measured_where_somebody_outlined_them(paired):
    without = session("HFC", paired)
    mask = replace(make_scan(RAW, "01", "HFC", "mask", LOW, label="lesion"))
    found = init_session_wf(replace(without, lesions=(mask,)), spec())
    assert "lesions" not in nodes(init_session_wf(without, spec()))
    edges = found._graph.edges(data=True)
    (given,) = [about["connect"] for _, end, about in edges if end.name == "write" and _.name == "lesions"]
    assert given == [("record", "lesions")]
    inputs = {name for _, end, about in edges if end.name == "lesions" for _, name in about["connect"]}
    assert inputs == {"acquired", "enhanced", "tissue"} | ({"reference"} if paired else set())


def write_edges(workflow) -> list[tuple]:
    """The edges that lead to the node that writes: (from, to, [(output, input)])."""
    edges = workflow._graph.edges(data=True)
    return [(start, end, about["connect"]) for start, end, about in edges if end.name == "write"]


def wiring(workflow) -> dict[tuple[str, str], tuple[str, str]]:
    """(Step, input) → (step, output) that it comes from."""
    edges = workflow._create_flat_graph().edges(data=True)
    return {
        (step.name, given): (source.name, output) for source, step, edge in edges for output, given in edge["connect"]
    }


@pytest.mark.parametrize(
    ("step", "given", "source"),
    [
        ("enhance", "volume", ("tissue", "volume")),
        ("enhanced_tissue", "volume", ("enhance", "volume")),
        ("risk", "enhanced", ("enhance", "volume")),
        ("risk", "acquired", ("tissue", "volume")),
        ("risk", "std", ("enhance", "std")),
        ("normalise_1", "volume", ("enhance", "volume")),
        ("compare_images", "baseline", ("tissue", "volume")),
        ("compare_images", "enhanced", ("enhance", "volume")),
        ("compare_tissue", "labels", ("tissue", "labels")),
        ("compare_tissue", "enhanced_labels", ("enhanced_tissue", "labels")),
        ("compare_regions", "labels", ("regions", "labels")),
        ("compare_regions", "enhanced_labels", ("enhanced_regions", "labels")),
        ("write", "acquired", ("tissue", "volume")),
        ("write", "enhanced", ("enhance", "volume")),
        ("write", "volumes", ("tissue", "volumes")),
        ("write", "enhanced_volumes", ("enhanced_tissue", "volumes")),
    ],
)
def test_what_is_said_of_the_enhanced_image_is_measured_on_it(step, given, source):
    made = spec(spaces=("MNI152NLin2009cAsym:res-1",), segmentation="builtin")
    workflow = init_subject_wf("01", [session("HFC", True)], made, "/out/logs/x")
    workflow.remove_nodes([node for node in workflow._graph.nodes() if node.name.startswith("reference")])
    assert wiring(workflow)[step, given] == source


def test_no_two_sessions_share_their_noise():
    seeds = set()
    for subject in ("01", "02"):
        own = [replace(session(label, False), subject=subject) for label in ("HFC", "HFE")]
        steps = nodes(init_subject_wf(subject, own, spec(), "/out/logs/x"))
        seeds |= {steps[f"session_{one.session}_wf.enhance"].interface.inputs.seed for one in own}
    assert len(seeds) == 4
