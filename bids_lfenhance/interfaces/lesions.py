"""The step that says how well lesions stand out in each image."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from ..bids.sessions import LowFieldSession
from .base import Step, StepInputs


class LesionInputs(StepInputs):
    session = traits.Instance(LowFieldSession, mandatory=True, desc="with masks of lesions")
    acquired = File(exists=True, mandatory=True, desc="low-field volume with its stacks")
    enhanced = File(exists=True, mandatory=True)
    reference = File(exists=True, desc="only of a paired session")
    tissue = File(exists=True, mandatory=True, desc="labels of the enhanced image, which say where white matter is")
    label = traits.Str(mandatory=True, desc="name of the enhanced image")


class LesionOutputs(TraitedSpec):
    record = traits.Dict()


class MeasureLesions(Step):
    """Masks of lesions → their volume, and their contrast in every image."""

    input_spec = LesionInputs
    output_spec = LesionOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The record, or why there is none."""
        from ..errors import InputError
        from ..evaluation.lesions import lesions_session
        from ..imaging.volume import load_arrays, load_volume

        given, session = self.inputs, self.inputs.session
        acquired = load_volume(given.acquired)
        images = {"preproc": acquired, given.label: load_volume(given.enhanced)}
        images |= {"high": load_volume(given.reference)} if isdefined(given.reference) else {}
        names = [scan.path.name for scan in session.lesions]
        try:
            masks = {scan.path: session.stack_of(scan) for scan in session.lesions}
            record = lesions_session(masks, acquired, images, load_arrays(given.tissue)[1])
        except InputError as error:
            return {"record": {"Masks": names, "Failure": str(error)}}
        return {"record": {"Masks": names, **record}}
