"""Steps for graphs that need no image; in a module of their own, as workers must import them."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from nipype import Merge, Node, Workflow
from nipype.interfaces.base import File, TraitedSpec, traits

from bids_lfenhance.errors import InputError
from bids_lfenhance.interfaces.base import Step, StepInputs


class ToyInputs(StepInputs):
    """A fate and something to wait for."""

    fate = traits.Str("well")
    after = traits.Any()
    use_gpu = traits.Bool(False, usedefault=True, desc="takes the slot of the GPU, as nipype has it")
    seconds = traits.Float(0.0, usedefault=True)


class ToyOutputs(TraitedSpec):
    """A word."""

    word = traits.Str()
    file = File(exists=True)


class Toy(Step):
    """A step that ends as it is told; it counts its runs in its working folder's parent."""

    input_spec = ToyInputs
    output_spec = ToyOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """A word, if the fate allows."""
        with (cwd.parent / "runs.txt").open("a") as file:
            file.write(f"{cwd.name}\n")
        if self.inputs.fate == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.inputs.seconds:
            began = time.time()
            time.sleep(self.inputs.seconds)  # a device is busy; the processor is not
            with (cwd.parents[1] / "device.txt").open("a") as file:
                file.write(f"{cwd.parent.name} {cwd.name} {os.getpid()} {began} {time.time()}\n")
        if self.inputs.fate == "slow":
            time.sleep(60)
        if self.inputs.fate == "refused":
            raise InputError("Expected something else, found this; do that.")
        if self.inputs.fate == "hungry":
            raise MemoryError("Unable to allocate 7 TiB")
        if self.inputs.fate == "broken":
            raise KeyError("nobody thought of this")
        return {"word": "done"}


def toy_subject(label: str, fate: str = "well", processors: int = 1, merged: bool = False) -> Workflow:
    """A graph of three steps, the middle one with a fate and a need of its own; ``merged`` as the app's graphs are."""
    workflow = Workflow(name=f"sub_{label}_wf")
    first, middle, last = (Node(Toy(), name=name) for name in ("first", "middle", "report"))
    middle.inputs.fate, middle.n_procs = fate, processors
    workflow.connect(first, "word", middle, "after")
    if merged:
        written = Node(Merge(1), name="written", run_without_submitting=True)
        workflow.connect([(middle, written, [("word", "in1")]), (written, last, [("out", "after")])])
    else:
        workflow.connect(middle, "word", last, "after")
    return workflow


def device_subject(label: str, seconds: float) -> Workflow:
    """A graph whose middle step has a stand-in for a GPU busy, between two short steps of the processor."""
    workflow = toy_subject(label, merged=True)
    for name, share, gpu in (("first", 0.2, False), ("middle", 1.0, True), ("report", 0.1, False)):
        workflow.get_node(name).inputs.trait_set(seconds=share * seconds, use_gpu=gpu)
    return workflow
