"""A graph for the workflows of others: the stacks of one scan to one enhanced image, without a dataset."""

from typing import Any

from nipype import IdentityInterface, Node, Workflow

from ..interfaces.scans import EnhanceScans
from ..resources import has_gpu_driver

OUTPUTS = ("image", "std", "mask", "regions", "volumes", "qc")


def init_enhance_wf(name: str = "enhance_wf", *, mem_gb: float = 5.0, threads: int = 1, **settings: Any) -> Workflow:
    """A graph with the nodes ``inputnode``, ``enhance`` and ``outputnode``.

    Parameters
    ----------
    name : of the graph
    mem_gb, threads : what the scheduler reserves for the step; the network uses as many threads
    settings : ``suffix``, ``keep_geometry``, ``target_contrast``, ``precision``, ``device``, ``weights``, as of
        ``bids_lfenhance.enhance``

    Input ``scans``: NIfTI files, the stacks of one contrast. Outputs, all of them files: ``image``, ``std``, ``mask``,
    ``regions`` (.nii.gz), ``volumes`` (.tsv) and ``qc`` (.html).

    >>> init_enhance_wf(suffix="T1w").list_node_names()
    ['enhance', 'inputnode', 'outputnode']
    """
    workflow = Workflow(name=name)
    inputnode = Node(IdentityInterface(["scans"]), name="inputnode")
    device = settings.get("device", "auto")
    use_gpu = device.startswith("cuda") or (device == "auto" and has_gpu_driver())
    interface = EnhanceScans(**settings, threads=threads, use_gpu=use_gpu)
    enhance = Node(interface, name="enhance", mem_gb=mem_gb, n_procs=threads)
    outputnode = Node(IdentityInterface(list(OUTPUTS)), name="outputnode")
    workflow.connect(inputnode, "scans", enhance, "scans")
    workflow.connect([(enhance, outputnode, [(output, output) for output in OUTPUTS])])
    return workflow
