"""Steps that write to OUT_DIR."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from ..bids.sessions import LowFieldSession
from ..config import RunSpec
from .base import Step, StepInputs


class WriteInputs(StepInputs):
    session = traits.Instance(LowFieldSession, mandatory=True)
    spec = traits.Instance(RunSpec, mandatory=True, desc="without resources, which change no file")
    qc = traits.Dict(mandatory=True)
    quality = traits.Dict(mandatory=True, desc="of the anatomy")
    anatomy = File(exists=True, mandatory=True, desc="where the template expects the brain; what cut high field shows")
    labels = File(exists=True, mandatory=True)
    volumes = traits.Dict(mandatory=True)
    regions = File(exists=True, desc="only if segmentation of regions is enabled, like the next")
    region_volumes = traits.Dict()


class WriteOutputs(TraitedSpec):
    files = traits.List(traits.Str)


class WriteReferenceInputs(WriteInputs):
    volume = File(exists=True, mandatory=True)


class WriteReference(Step):
    """The high-field session → its derivatives."""

    input_spec = WriteReferenceInputs
    output_spec = WriteOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The paths written."""
        from ..derivatives.reference import write_reference
        from ..imaging.volume import load_arrays, load_volume

        given = self.inputs
        tissue = load_arrays(given.labels)[1], given.volumes
        volume = load_volume(given.volume)
        seen = load_arrays(given.anatomy)[1].get("seen")
        regions = load_arrays(given.regions)[1] if isdefined(given.regions) else None
        rows, quality = given.region_volumes if regions else None, (given.qc, given.quality)
        return {"files": write_reference(given.session, given.spec, volume, *tissue, *quality, regions, rows, seen)}


class WriteSessionInputs(WriteInputs):
    acquired = File(exists=True, mandatory=True)
    enhanced = File(exists=True, mandatory=True)
    enhanced_labels = File(exists=True, mandatory=True)
    enhanced_volumes = traits.Dict(mandatory=True)
    enhanced_regions = File(exists=True, desc="only if segmentation of regions is enabled, like the next")
    enhanced_region_volumes = traits.Dict()
    std = traits.Either(File(exists=True), None)
    error = traits.Either(File(exists=True), None, desc="expected, where there is a std")
    maps = traits.Dict(desc="file of each of the method's own maps, by kind")
    risk = File(exists=True, mandatory=True)
    risk_record = traits.Dict(mandatory=True)
    provenance = traits.Dict(mandatory=True)
    metrics = traits.List(traits.Dict, desc="only of a paired session")
    reference_qc = traits.Dict(desc="only of a paired session")
    space_transforms = traits.List(traits.Dict, desc="of each output space")
    lesions = traits.Dict(desc="only of a session with masks of lesions")
    run = traits.Str("", usedefault=True, nohash=True, desc="name of the run; no output depends on it")


class WriteSession(Step):
    """The low-field session → its derivatives."""

    input_spec = WriteSessionInputs
    output_spec = WriteOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The paths written."""
        from ..derivatives.session import SessionContent, write_session
        from ..imaging.volume import load_arrays, load_volume

        names = {f.name for f in fields(SessionContent)} & set(self.inputs.copyable_trait_names())
        given = {name: value for name in names if isdefined(value := getattr(self.inputs, name))}
        for name in ("acquired", "enhanced", "risk", "std", "error"):
            given[name] = load_volume(given[name]) if given.get(name) else None
        anatomy = load_arrays(self.inputs.anatomy)[1]
        given |= {"expected": anatomy["expected"], "reference_seen": anatomy.get("seen")}
        given["maps"] = {kind: load_volume(path) for kind, path in given.get("maps", {}).items()}
        for name in {"labels", "enhanced_labels", "regions", "enhanced_regions"} & set(given):
            given[name] = load_arrays(given[name])[1]
        return {"files": write_session(self.inputs.session, self.inputs.spec, SessionContent(**given))}


class WriteVolumesInputs(StepInputs):
    out_dir = traits.Str(mandatory=True)
    subject = traits.Str(mandatory=True)
    written = traits.List(traits.Any, desc="makes the step wait for the files that it reads")


class WriteVolumes(Step):
    """A subject's segmentations → one table of all volumes."""

    input_spec = WriteVolumesInputs
    output_spec = WriteOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The path of the table."""
        from ..derivatives.volumes import write_volumes

        return {"files": [str(write_volumes(Path(self.inputs.out_dir), self.inputs.subject))]}


class WriteReportInputs(WriteVolumesInputs):
    run_dir = traits.Str(mandatory=True)


class WriteReport(Step):
    """A subject's derivatives → its HTML report."""

    input_spec = WriteReportInputs
    output_spec = WriteOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The path of the page."""
        from ..reports.page import write_report

        return {"files": [str(write_report(Path(self.inputs.out_dir), self.inputs.subject, Path(self.inputs.run_dir)))]}
