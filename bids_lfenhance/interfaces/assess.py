"""Steps that segment, compare and register an image."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from ..config import PROTOCOLS
from .base import Step, StepInputs


class SegmentInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="the volume to segment, each contrast for itself")
    anatomy = File(exists=True, mandatory=True, desc="brain mask and tissue priors on the same grid")


class SegmentOutputs(TraitedSpec):
    volume = File(exists=True, desc="the volume, now with mask and tissue posteriors")
    labels = File(exists=True, desc="one label image per contrast")
    volumes = traits.Dict(desc="rows of tissue volumes, by contrast")


class SegmentTissue(Step):
    """A volume and its anatomy → tissue labels and volumes."""

    input_spec = SegmentInputs
    output_spec = SegmentOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The volume with tissue, the labels, the volumes."""
        from ..imaging.tissue import segment_session
        from ..imaging.volume import load_arrays, load_volume, save_arrays, save_volume

        volume, (_, anatomy) = load_volume(self.inputs.volume), load_arrays(self.inputs.anatomy)
        segmented, labels, rows = segment_session(volume, anatomy["mask"], anatomy["priors"])
        return {
            "volume": str(save_volume(segmented, cwd / "volume.npz")),
            "labels": str(save_arrays(cwd / "labels.npz", {}, labels)),
            "volumes": rows,
        }


class RiskInputs(StepInputs):
    enhanced = File(exists=True, mandatory=True)
    acquired = File(exists=True, mandatory=True, desc="low-field volume with stacks, mask and tissue")
    std = traits.Either(File(exists=True), None, desc="SD of the error, of methods that tell it")


class RiskOutputs(TraitedSpec):
    volume = File(exists=True, desc="risk in noise units, as the image of a volume")
    error = traits.Either(File(exists=True), None)
    record = traits.Dict(desc="by contrast: band limit, fitted contrast, residual")


class MapRisk(Step):
    """How far the enhanced volume, degraded again, differs from what was acquired."""

    input_spec = RiskInputs
    output_spec = RiskOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The maps and the record of the first."""
        from ..evaluation.session import compute_expected_error, compute_risk
        from ..imaging.volume import load_volume, save_volume

        enhanced, acquired = load_volume(self.inputs.enhanced), load_volume(self.inputs.acquired)
        risk, record = compute_risk(enhanced, acquired)
        outputs = {"volume": str(save_volume(risk, cwd / "risk.npz")), "record": record, "error": None}
        if isdefined(self.inputs.std) and self.inputs.std:
            error = compute_expected_error(load_volume(self.inputs.std), risk, record, acquired.brain)
            outputs["error"] = str(save_volume(error, cwd / "error.npz"))
        return outputs


class CompareInputs(StepInputs):
    baseline = File(exists=True, mandatory=True, desc="volume: plain mean of the stacks")
    label = traits.Str(mandatory=True, desc="name of the enhanced image in the table")


class CompareImagesInputs(CompareInputs):
    enhanced = File(exists=True, mandatory=True, desc="volume")
    reference = File(exists=True, mandatory=True, desc="volume of high field")
    protocols = traits.List(traits.Str, list(PROTOCOLS[:1]), usedefault=True, desc="those of the table")


class CompareLabelsInputs(CompareInputs):
    anatomy = File(exists=True, mandatory=True, desc="what high field that is cut shows")
    seg = traits.Str(mandatory=True, desc="its seg- in file names")
    labels = File(exists=True, mandatory=True, desc="labels of the baseline by contrast")
    enhanced_labels = File(exists=True, mandatory=True)
    reference_labels = File(exists=True, mandatory=True)
    volumes = traits.Dict(mandatory=True, desc="rows of volumes, which name the labels")


class CompareOutputs(TraitedSpec):
    metrics = traits.List(traits.Dict)


class CompareImages(Step):
    """Metrics of the baseline and of the enhanced volume against high field."""

    input_spec = CompareImagesInputs
    output_spec = CompareOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The rows of the table."""
        from ..evaluation.session import evaluate_session
        from ..imaging.volume import load_volume

        given, baseline = self.inputs, load_volume(self.inputs.baseline)
        images = {"preproc": baseline, given.label: load_volume(given.enhanced)}
        reference = load_volume(given.reference)
        return {"metrics": evaluate_session(images, reference, baseline.brain, given.protocols)}


class CompareLabels(Step):
    """Agreement of the labels of the baseline and of the enhanced volume with those of high field."""

    input_spec = CompareLabelsInputs
    output_spec = CompareOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The rows of the table."""
        from ..evaluation.session import compute_overlap
        from ..imaging.field_of_view import seen_in
        from ..imaging.volume import load_arrays, load_volume

        given, baseline = self.inputs, load_volume(self.inputs.baseline)
        shown = load_arrays(given.anatomy)[1].get("seen", True)
        seen = {contrast: seen_in(baseline, contrast) & shown for contrast in baseline.contrasts}
        files = given.labels, given.enhanced_labels, given.reference_labels
        low, enhanced, high = (load_arrays(file)[1] for file in files)
        images = {"preproc": low, given.label: enhanced}
        return {"metrics": compute_overlap(images, high, given.volumes, given.seg, seen)}


class NormaliseInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="the volume that is registered to the template")
    spaces = traits.List(traits.Str, mandatory=True, desc="one TemplateFlow name, e.g. MNI152NLin2009cAsym:res-1")


class NormaliseOutputs(TraitedSpec):
    transforms = traits.List(traits.Dict, desc="of each space: its name, and paths by direction")


class Normalise(Step):
    """A volume → the transforms between it and a template."""

    input_spec = NormaliseInputs
    output_spec = NormaliseOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The paths of the transforms."""
        from ..imaging.spatial_normalisation import register_to_template
        from ..imaging.volume import load_volume

        volume = load_volume(self.inputs.volume)
        return {"transforms": register_to_template(volume, self.inputs.spaces, cwd, sloppy=self.inputs.sloppy)}
