"""One scan without a dataset, as an interface for other people's nipype workflows."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, File, InputMultiObject, TraitedSpec, traits

from .base import Step


class EnhanceScansInputs(BaseInterfaceInputSpec):
    scans = InputMultiObject(File(exists=True, resolve=True), mandatory=True, desc="the stacks of one contrast, NIfTI")
    suffix = traits.Enum("T1w", "T2w", "FLAIR", desc="contrast, where names do not say it")
    keep_geometry = traits.Bool(False, usedefault=True, desc="results on the voxels of the first scan")
    target_contrast = traits.Enum("auto", "own", "high-field", "learned", usedefault=True)
    precision = traits.Enum("bf16", "fp32", usedefault=True)
    device = traits.Str("auto", usedefault=True, desc="auto, cpu, cuda or cuda:N")
    weights = traits.Str("auto", usedefault=True, desc="of fusionnet")
    threads = traits.Int(1, usedefault=True, nohash=True, desc="of the network")
    use_gpu = traits.Bool(False, usedefault=True, nohash=True, desc="nipype then waits for a GPU that is free")


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

    def __init__(self, **inputs: Any) -> None:
        super().__init__(**inputs)
        self.inputs.on_trait_change(self._name_weights, "weights")
        self._name_weights()

    def _name_weights(self) -> None:
        """Replace a path of weights by the file itself, whose content nipype hashes; a name of the registry stays."""
        from ..nn.weights import WEIGHTS, registry

        given = Path(self.inputs.weights)
        file = given / WEIGHTS if given.is_dir() else given
        if file.is_file() and self.inputs.weights not in ("auto", *registry()):
            self.inputs.weights = str(file.resolve())

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The paths of the outputs, in ``cwd``."""
        from ..api import enhance
        from ..outputs import OUTPUTS

        given = self.inputs.get_traitsfree()
        scans = given.pop("scans")
        given.pop("use_gpu")
        paths = {name: str(cwd / f"{name}{endings[0]}") for name, endings in OUTPUTS.items()}
        enhance(*scans, **given).save(**paths)
        return paths
