"""A graph to use within other workflows: the stacks of one contrast to one enhanced image, without a dataset."""

from typing import Any

from nipype import IdentityInterface, Node, Workflow

from ..interfaces.scans import EnhanceScans
from ..outputs import OUTPUTS


def init_enhance_wf(name: str = "enhance_wf", *, mem_gb: float = 5.0, threads: int = 1, **settings: Any) -> Workflow:
    """A graph with the nodes ``inputnode``, ``enhance`` and ``outputnode``.

    Parameters
    ----------
    name : of the graph
    mem_gb, threads : what the scheduler reserves for the step; the networks use as many threads. With a ``device`` that
        is named, "cuda" or "cuda:N", nipype waits for a GPU (``plugin_args={"n_gpu_procs": 1}``)
    settings : ``suffix``, ``keep_geometry``, ``target_contrast``, ``precision``, ``device``, ``weights``, as of
        ``bids_lfenhance.enhance``

    Input ``scans``: NIfTI files, the stacks of one contrast. Outputs, all of them files: ``image``, ``std``, ``mask``,
    ``regions`` (.nii.gz), ``volumes`` (.tsv) and ``qc`` (.html).

    >>> init_enhance_wf(suffix="T1w").list_node_names()
    ['enhance', 'inputnode', 'outputnode']
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(["scans"]), name="inputnode")
    use_gpu = settings.get("device", "auto").startswith("cuda")
    interface = EnhanceScans(**settings, threads=threads, use_gpu=use_gpu)
    # nipype takes the processors of a step with a GPU for as many GPUs
    enhance = Node(interface, name="enhance", mem_gb=mem_gb, n_procs=1 if use_gpu else threads)
    outputnode = Node(IdentityInterface(list(OUTPUTS)), name="outputnode")
    workflow.connect(inputnode, "scans", enhance, "scans")
    workflow.connect([(enhance, outputnode, [(output, output) for output in OUTPUTS])])
    return workflow
