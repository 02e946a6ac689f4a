"""One scan without a dataset, as a step for the graphs of others."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, InputMultiObject, TraitedSpec, traits

from .base import Step, StepInputs


class EnhanceScansInputs(StepInputs):
    scans = InputMultiObject(File(exists=True), mandatory=True, desc="the stacks of one contrast, NIfTI")
    suffix = traits.Enum("T1w", "T2w", "FLAIR", desc="contrast, where names do not say it")
    keep_geometry = traits.Bool(False, usedefault=True, desc="results on the voxels of the first scan")
    target_contrast = traits.Enum("auto", "own", "high-field", "learned", usedefault=True)
    precision = traits.Enum("bf16", "fp32", usedefault=True)
    device = traits.Str("auto", usedefault=True, desc="auto, cpu, cuda or cuda:N")
    weights = traits.Str("auto", usedefault=True, desc="of fusionnet")


class EnhanceScansOutputs(TraitedSpec):
    image = File(exists=True, desc="the enhanced image")
    std = File(exists=True, desc="standard deviation of its error")
    mask = File(exists=True, desc="the brain")
    regions = File(exists=True, desc="labels of 32 regions, FreeSurfer's numbers")
    volumes = File(exists=True, desc="volumes of the regions, .tsv")
    qc = File(exists=True, desc="page with the verdict and pictures, .html")


class EnhanceScans(Step):
    """The stacks of one contrast → enhanced image, error, mask, regions, volumes and page."""

    input_spec = EnhanceScansInputs
    output_spec = EnhanceScansOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The paths of the outputs, in ``cwd``."""
        from ..api import enhance
        from ..outputs import OUTPUTS

        given = self.inputs.get_traitsfree()
        scans = given.pop("scans")
        given.pop("sloppy")
        paths = {name: str(cwd / f"{name}{endings[0]}") for name, endings in OUTPUTS.items()}
        enhance(*scans, **given).save(**paths)
        return paths
