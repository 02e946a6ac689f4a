"""The graphs of the participant level: wiring only."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nipype import IdentityInterface, Merge, Node, Workflow

from ..bids.sessions import LowFieldSession
from ..config import RunSpec
from ..derivatives.layout import segmentations, segments_low_field, segments_restored, split_space
from ..interfaces.assess import CompareImages, CompareLabels, MapRisk, Normalise, SegmentTissue
from ..interfaces.enhance import Enhance, Restore
from ..interfaces.lesions import MeasureLesions
from ..interfaces.prepare import FindAnatomy, PrepareReference, PrepareSession
from ..interfaces.regions import SegmentBySynthSeg, SegmentRegions
from ..interfaces.write import WriteReference, WriteReport, WriteSession, WriteVolumes
from .inputs import derive_seed, graph_label, reference_key, scan_input, session_key

MEMORY_GB = {
    "prepare": 2.0,
    "anatomy": 2.5,
    "tissue": 1.5,
    "enhance": 4.0,
    "restore": 4.0,
    "regions": 3.2,
    "risk": 2.0,
    "compare": 2.0,
    "write": 1.5,
}
"""Memory that the scheduler reserves for a step at the full size of a head, GiB (measured: docs/results.md)."""

SEGMENTED_OF_PAIR = 3
"""Volumes of which regions are found where there is high field: that, the low field, the enhanced image."""

CHAINS_OF_PAIR = 2
"""Chains of steps at once where there is high field: the image is enhanced while low field is segmented."""

OF_REFERENCE = ("reference", "qc", "anatomy", "quality", "tissue", "regions")
"""What a session takes from its high field; the last only if segmentation of regions is enabled."""

SLOPPY_MEMORY_GB = 1.0
"""As ``MEMORY_GB``, for any step of a ``--sloppy`` run: an eighth of the voxels, and the libraries (0.7 measured)."""


def init_subject_wf(subject: str, sessions: Sequence[LowFieldSession], spec: RunSpec, run_dir: str) -> Workflow:
    """The graph of one subject: its high-field references, its low-field sessions, its report.

    Parameters
    ----------
    subject : label without ``sub-``
    sessions : its low-field sessions that are to be made; those with the same reference share its preparation
    spec : settings of the run, which every step is given
    run_dir : log folder of this run, where the report finds its settings
    """
    workflow = Workflow(name=f"sub_{graph_label(subject)}_wf")
    # the report is the last step of all: high field must be written too, and intermediate files are removed after it
    paired_with = {reference_key(session) for session in sessions} - {""}
    written = Node(Merge(max(1, len(sessions) + len(paired_with))), name="written", run_without_submitting=True)
    references: dict[str, Workflow] = {}
    for number, session in enumerate(sessions, start=1):
        session_wf = init_session_wf(session, spec, Path(run_dir).name)
        workflow.add_nodes([session_wf])
        if key := reference_key(session):
            references[key] = references.get(key) or init_reference_wf(session, spec)
            outputs = [(f"outputnode.{name}", f"inputnode.{name}") for name in OF_REFERENCE]
            workflow.connect([(references[key], session_wf, outputs)])
        workflow.connect(session_wf, "outputnode.files", written, f"in{number}")
    for number, reference_wf in enumerate(references.values(), start=1 + len(sessions)):
        workflow.connect(reference_wf, "outputnode.files", written, f"in{number}")
    report = _step(WriteReport(out_dir=spec.out_dir, subject=subject, run_dir=run_dir), "report", spec)
    volumes = _step(WriteVolumes(out_dir=spec.out_dir, subject=subject), "volumes", spec)
    workflow.connect([(written, volumes, [("out", "written")]), (volumes, report, [("files", "written")])])
    return workflow


def init_reference_wf(session: LowFieldSession, spec: RunSpec) -> Workflow:
    """The graph of one high-field session: canonical grid, brain, tissue, its derivatives.

    Outputs: ``reference`` volume with mask and tissue, ``qc``, ``anatomy``, ``quality``, labels of ``tissue`` and of
    ``regions``.
    """
    workflow = Workflow(name=f"reference_{reference_key(session)}_wf")
    prepare = _step(PrepareReference(scans=[scan_input(scan) for scan in session.reference]), "prepare", spec)
    anatomy = _step(FindAnatomy(), "anatomy", spec)
    tissue = _step(SegmentTissue(), "tissue", spec)
    write = _step(WriteReference(session=session, spec=spec.without_resources), "write", spec)
    outputnode = Node(IdentityInterface([*OF_REFERENCE, "files"]), name="outputnode")
    workflow.connect(
        [
            (prepare, anatomy, [("volume", "volume"), ("qc", "qc")]),
            (prepare, tissue, [("volume", "volume")]),
            (anatomy, tissue, [("anatomy", "anatomy")]),
            (tissue, write, [("volume", "volume"), ("labels", "labels"), ("volumes", "volumes")]),
            (anatomy, write, [("quality", "quality"), ("anatomy", "anatomy")]),
            (prepare, write, [("qc", "qc")]),
            (tissue, outputnode, [("volume", "reference"), ("labels", "tissue")]),
            (prepare, outputnode, [("qc", "qc")]),
            (anatomy, outputnode, [("anatomy", "anatomy"), ("quality", "quality")]),
            (write, outputnode, [("files", "files")]),
        ]
    )
    for regions in _connect_regions(workflow, {"": prepare}, anatomy, write, spec, paired=True):
        workflow.connect(regions, "labels", outputnode, "regions")
    return workflow


def init_session_wf(session: LowFieldSession, spec: RunSpec, run: str = "") -> Workflow:
    """The graph of one low-field session: align, fuse, enhance, segment, evaluate, write.

    Inputs (connected only if the session is paired): those of ``OF_REFERENCE``. Outputs: ``files``, the paths written.
    ``run``: name of the run, which the sidecars tell.
    """
    workflow = Workflow(name=f"session_{session_key(session)}_wf")
    inputnode = Node(IdentityInterface([*OF_REFERENCE]), name="inputnode")
    outputnode = Node(IdentityInterface(["files"]), name="outputnode")
    prepare = _step(PrepareSession(scans=[scan_input(scan) for scan in session.stacks]), "prepare", spec)
    tissue = _step(SegmentTissue(), "tissue", spec)
    enhance = _init_enhance(session, spec)
    enhanced_tissue = _step(SegmentTissue(), "enhanced_tissue", spec)
    risk = _step(MapRisk(), "risk", spec)
    write = _step(WriteSession(session=session, spec=spec.without_resources, run=run), "write", spec)
    anatomy = inputnode if session.paired else _step(FindAnatomy(), "anatomy", spec)
    if session.paired:
        workflow.connect(inputnode, "reference", prepare, "reference")
    else:
        workflow.connect(prepare, "volume", anatomy, "volume")
    workflow.connect(
        [
            (prepare, tissue, [("volume", "volume")]),
            (anatomy, tissue, [("anatomy", "anatomy")]),
            (tissue, enhance, [("volume", "volume")]),
            (enhance, enhanced_tissue, [("volume", "volume")]),
            (anatomy, enhanced_tissue, [("anatomy", "anatomy")]),
            (enhance, risk, [("volume", "enhanced"), ("std", "std")]),
            (tissue, risk, [("volume", "acquired")]),
            (prepare, write, [("qc", "qc")]),
            (anatomy, write, [("quality", "quality"), ("anatomy", "anatomy")]),
            (tissue, write, [("volume", "acquired"), ("labels", "labels"), ("volumes", "volumes")]),
            (enhance, write, [("volume", "enhanced"), *((name, name) for name in ("std", "provenance", "maps"))]),
            (enhanced_tissue, write, [("labels", "enhanced_labels"), ("volumes", "enhanced_volumes")]),
            (risk, write, [("volume", "risk"), ("record", "risk_record"), ("error", "error")]),
            (write, outputnode, [("files", "files")]),
        ]
    )
    _connect_spaces(workflow, enhance, write, spec)
    segmented = {"": prepare} if segments_low_field("regions", session) else {}
    regions = _connect_regions(workflow, segmented | {"enhanced_": enhance}, anatomy, write, spec, session.paired)
    _connect_restored(workflow, session, tissue, regions, spec)
    images = {"acquired": (tissue, "volume"), "enhanced": (enhance, "volume"), "tissue": (enhanced_tissue, "labels")}
    images |= {"reference": (inputnode, "reference")} if session.paired else {}
    _connect_lesions(workflow, session, images, write, spec)
    if session.paired:
        volumes = {"baseline": tissue, "enhanced": enhance}
        labels = {"tissue": (tissue, enhanced_tissue), "regions": regions}
        _connect_evaluation(workflow, inputnode, volumes, labels, write, spec)
    return workflow


def _init_enhance(session: LowFieldSession, spec: RunSpec) -> Node:
    interface = Enhance(
        method=spec.method,
        method_settings=dict(spec.method_settings),
        seed=derive_seed(spec.seed, session.subject, session_key(session), "enhance"),
        n_samples=spec.n_samples,
        mem_gb=spec.enhance_gb or spec.mem_gb,
        use_gpu=spec.device.startswith("cuda"),
    )
    return _step(interface, "enhance", spec, CHAINS_OF_PAIR if session.paired else 1)


def _connect_restored(
    workflow: Workflow, session: LowFieldSession, tissue: Node, regions: Sequence[Node], spec: RunSpec
) -> None:
    """The session in high-field contrast, in which the last of ``regions``, of the enhanced image, are found too."""
    if not segments_restored(session, spec):
        return
    own = spec.method_settings
    interface = Restore(
        weights=own.get("estimate", own["weights"]),
        precision=own["precision"],
        device=spec.device,
        mem_gb=spec.enhance_gb or spec.mem_gb,
        use_gpu=spec.device.startswith("cuda"),
    )
    restore = _step(interface, "restore", spec, CHAINS_OF_PAIR if session.paired else 1)
    workflow.connect([(tissue, restore, [("volume", "volume")]), (restore, regions[-1], [("volume", "restored")])])


def _connect_lesions(
    workflow: Workflow, session: LowFieldSession, sources: Mapping[str, tuple[Node, str]], write: Node, spec: RunSpec
) -> None:
    """The contrast of lesions where the session has masks of them; ``sources`` by input: node and output."""
    if not session.lesions:
        return
    lesions = _step(MeasureLesions(session=session, label=spec.label), "lesions", spec)
    for name, (node, output) in sources.items():
        workflow.connect(node, output, lesions, name)
    workflow.connect(lesions, "record", write, "lesions")


def _connect_spaces(workflow: Workflow, enhance: Node, write: Node, spec: RunSpec) -> None:
    """One registration per template asked for, whose resolutions share the transforms."""
    if not spec.spaces:
        return
    templates: dict[str, list[str]] = {}
    for space in spec.spaces:
        templates.setdefault(split_space(space)[0], []).append(space)
    merge = Node(Merge(len(templates)), name="spaces", run_without_submitting=True)
    for number, spaces in enumerate(templates.values(), start=1):
        normalise = _step(Normalise(spaces=spaces), f"normalise_{number}", spec)
        workflow.connect([(enhance, normalise, [("volume", "volume")])])
        workflow.connect(normalise, "transforms", merge, f"in{number}")
    workflow.connect(merge, "out", write, "space_transforms")


def _connect_evaluation(
    workflow: Workflow,
    inputnode: Node,
    volumes: Mapping[str, Node],
    labels: Mapping[str, Sequence[Node]],
    write: Node,
    spec: RunSpec,
) -> None:
    """The comparison with high field: of the volumes, and of the labels of (baseline, enhanced) by kind.

    Each is a step of its own, so that images are compared while regions are still being segmented.
    """
    kinds = segmentations(spec)
    images = _step(CompareImages(label=spec.label, protocols=list(spec.protocols)), "compare_images", spec)
    workflow.connect([(source, images, [("volume", name)]) for name, source in volumes.items()])
    workflow.connect(inputnode, "reference", images, "reference")
    merge = Node(Merge(1 + len(kinds)), name="metrics", run_without_submitting=True)
    workflow.connect(images, "metrics", merge, "in1")
    for number, (kind, seg) in enumerate(kinds.items(), start=2):
        compare = _step(CompareLabels(label=spec.label, seg=seg), f"compare_{kind}", spec)
        baseline, enhanced = labels[kind]
        workflow.connect(
            [
                (volumes["baseline"], compare, [("volume", "baseline")]),
                (baseline, compare, [("labels", "labels"), ("volumes", "volumes")]),
                (enhanced, compare, [("labels", "enhanced_labels")]),
                (inputnode, compare, [(kind, "reference_labels"), ("anatomy", "anatomy")]),
                (compare, merge, [("metrics", f"in{number}")]),
            ]
        )
    workflow.connect([(inputnode, write, [("qc", "reference_qc")]), (merge, write, [("out", "metrics")])])


def _connect_regions(
    workflow: Workflow, volumes: Mapping[str, Node], anatomy: Node, write: Node, spec: RunSpec, paired: bool
) -> list[Node]:
    """The segmentation of each volume, by the prefix of the writer's inputs; none if it is disabled.

    Those of a ``paired`` session and of its high field share the threads.
    """
    if spec.segmentation == "none":
        return []
    steps, use_gpu = [], spec.device.startswith("cuda")
    for prefix, source in volumes.items():
        if spec.segmentation == "synthseg":
            interface = SegmentBySynthSeg(use_gpu=use_gpu)
        else:
            interface = SegmentRegions(weights=spec.segmentation_weights, device=spec.device, use_gpu=use_gpu)
        regions = _step(interface, f"{prefix}regions", spec, SEGMENTED_OF_PAIR if paired else 1)
        outputs = [("labels", f"{prefix}regions"), ("volumes", f"{prefix}region_volumes")]
        workflow.connect([(source, regions, [("volume", "volume")]), (anatomy, regions, [("anatomy", "anatomy")])])
        workflow.connect([(regions, write, outputs)])
        steps.append(regions)
    return steps


def memory_gb(step: str, sloppy: bool) -> float:
    """What a step is estimated to need, GiB."""
    return SLOPPY_MEMORY_GB if sloppy else MEMORY_GB.get(step.removeprefix("enhanced_").split("_")[0], 1.0)


def _step(interface: Any, name: str, spec: RunSpec, together: int = 1) -> Node:
    """A node with the memory and threads it may use; ``together`` such steps can run at once."""
    if hasattr(interface.inputs, "sloppy"):
        interface.inputs.sloppy = spec.sloppy
    memory = min(memory_gb(name, spec.sloppy), spec.mem_gb)
    # only the networks use threads: two single-threaded steps at once finish sooner than one after the other in two
    networks = name in ("restore", "regions", "enhanced_regions")
    networks |= name == "enhance" and "device" in spec.method_settings
    threads = max(1, spec.threads // together) if networks and not interface.inputs.use_gpu else 1
    return Node(interface, name=name, mem_gb=memory, n_procs=threads)
