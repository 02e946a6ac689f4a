"""Steps that find the anatomical regions of every contrast of a volume."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import CommandLine, CommandLineInputSpec, File, TraitedSpec, isdefined, traits

from .base import Step, StepInputs


class RegionsInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="the volume to segment, each contrast for itself")
    anatomy = File(exists=True, mandatory=True, desc="brain mask and registration of the template on the same grid")
    weights = traits.Str("auto", usedefault=True, desc="of the network")
    device = traits.Str("cpu", usedefault=True)
    use_gpu = traits.Bool(False, usedefault=True, desc="nipype gives a GPU slot to a node that has this set")


class RegionsOutputs(TraitedSpec):
    labels = File(exists=True, desc="one label image per contrast")
    volumes = traits.Dict(desc="rows of volumes, by contrast")


class SegmentRegionsInputs(RegionsInputs):
    restored = traits.Either(
        File(exists=True), None, desc="contrasts of the volume with that of high field, to be segmented together"
    )


class SegmentRegions(Step):
    """A volume and its anatomy → regions and their volumes, by the network of ``regions``."""

    input_spec = SegmentRegionsInputs
    output_spec = RegionsOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The labels and the volumes."""
        from ..imaging.volume import load_arrays, load_volume, save_arrays
        from ..segmentation.segment import predictor, segment_volume

        given, volume = self.inputs, load_volume(self.inputs.volume)
        about, anatomy = load_arrays(given.anatomy)
        restored = load_volume(given.restored) if isdefined(given.restored) and given.restored else None
        network = predictor(given.weights, given.device)
        head = volume, anatomy["mask"], anatomy["affine"]
        labels, rows = segment_volume(*head, network, by=about["contrast"], restored=restored, sloppy=given.sloppy)
        return {"labels": str(save_arrays(cwd / "regions.npz", {}, labels)), "volumes": rows}


class SynthSegInputs(CommandLineInputSpec):
    in_file = File(exists=True, mandatory=True, argstr="--i %s")
    out_file = File("labels.nii.gz", usedefault=True, argstr="--o %s", desc="labels, FreeSurfer's numbers")
    volumes_file = File("volumes.csv", usedefault=True, argstr="--vol %s", desc="mm³ by posteriors")
    robust = traits.Bool(True, usedefault=True, argstr="--robust", desc="made for scans of low quality")
    cpu = traits.Bool(argstr="--cpu", desc="leave the GPU alone")


class SynthSegOutputs(TraitedSpec):
    out_file = File(exists=True)
    volumes_file = File(exists=True)


class SynthSeg(CommandLine):
    """FreeSurfer's ``mri_synthseg`` (Billot et al. 2023), on one image."""

    _cmd = "mri_synthseg"
    input_spec = SynthSegInputs
    output_spec = SynthSegOutputs

    def _list_outputs(self) -> dict[str, str]:
        return {name: str(Path(getattr(self.inputs, name)).absolute()) for name in ("out_file", "volumes_file")}


class SegmentBySynthSeg(Step):
    """The regions of each image by ``mri_synthseg``; the anatomy is not needed."""

    input_spec = RegionsInputs
    output_spec = RegionsOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The labels and the volumes."""
        from ..bids.atomic import atomic_write
        from ..imaging.nifti import SCANNER, encode_nifti
        from ..imaging.volume import load_volume, save_arrays
        from ..segmentation.synthseg import read_synthseg

        volume, labels, rows = load_volume(self.inputs.volume), {}, {}
        for name in volume.contrasts:
            image = cwd / f"{name}.nii.gz"
            atomic_write(image, encode_nifti(volume.channel(name), volume.grid.affine, SCANNER))
            made, table = cwd / f"{name}_labels.nii.gz", cwd / f"{name}_volumes.csv"
            SynthSeg(in_file=str(image), out_file=str(made), volumes_file=str(table), cpu=not self.inputs.use_gpu).run()
            labels[name], rows[name] = read_synthseg(made, table, volume.grid)
        return {"labels": str(save_arrays(cwd / "regions.npz", {}, labels)), "volumes": rows}
