"""The enhancement step: from low field to high-field-like."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import File, TraitedSpec, traits
from numpy.random import default_rng

from .base import Step, StepInputs


class EnhanceInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="low-field volume with stacks, mask and tissue")
    method = traits.Str(mandatory=True)
    method_settings = traits.Dict(desc="values for the fields of the method's settings")
    seed = traits.Int(0, usedefault=True, desc="the step's own, derived from --random-seed")
    n_samples = traits.Int(desc="draws to average; 0 takes the method's own number")
    mem_gb = traits.Float(
        nohash=True, desc="memory of the step, GiB; 0: what is free; it decides only how much at once"
    )
    use_gpu = traits.Bool(False, usedefault=True, desc="nipype gives a GPU slot to a node that has this set")


class EnhanceOutputs(TraitedSpec):
    volume = File(exists=True)
    std = traits.Either(File(exists=True), None)
    provenance = traits.Dict()
    maps = traits.Dict(desc="the method's own, by kind")


def _show_draws(done: int, draws: int) -> None:
    """A line for each draw, with ``-v``: the published networks take minutes for one on a processor."""
    if draws > 1:
        logging.getLogger("nipype.interface").info("enhance: draw %d of %d is done", done, draws)


class Enhance(Step):
    """A low-field volume → the enhanced volume."""

    input_spec = EnhanceInputs
    output_spec = EnhanceOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The enhanced volume, the SD of its error or None, the provenance, and the method's own maps."""
        from ..imaging.volume import load_volume, save_volume
        from ..methods import get_method
        from ..methods.enhance import enhance
        from ..resources import track_usage

        volume, method = load_volume(self.inputs.volume), get_method(self.inputs.method)
        settings, rng = method.about.sampling(**self.inputs.method_settings), default_rng(self.inputs.seed)
        draws, memory = self.inputs.n_samples or None, self.inputs.mem_gb or None
        with track_usage() as usage:
            result = enhance(volume, method, settings, rng, draws, progress=_show_draws, memory_gb=memory)

        def save(image: np.ndarray, name: str) -> str:
            return str(save_volume(replace(volume, image=image, stacks=(), tissue=None), cwd / f"{name}.npz"))

        return {
            "volume": save(result.image, "enhanced"),
            "std": None if result.std is None else save(result.std, "std"),
            "provenance": {**result.provenance, "Runtime": usage.sidecar()},
            "maps": {kind: save(image, kind.lower()) for kind, image in result.maps.items()},
        }


class RestoreInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="low-field volume with stacks and mask")
    weights = traits.Str("auto", usedefault=True, desc="of fusionnet")
    precision = traits.Str("bf16", usedefault=True)
    device = traits.Str("cpu", usedefault=True)
    mem_gb = traits.Float(nohash=True, desc="as of Enhance")
    use_gpu = traits.Bool(False, usedefault=True, desc="nipype gives a GPU slot to a node that has this set")


class RestoreOutputs(TraitedSpec):
    volume = traits.Either(File(exists=True), None)


class Restore(Step):
    """A low-field volume → the same with the contrast of high field, in which regions are segmented too."""

    input_spec = RestoreInputs
    output_spec = RestoreOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The volume, or None where none of its scans can be given the contrast of high field."""
        from ..imaging.volume import load_volume, save_volume
        from ..methods import get_method
        from ..methods.residual_options import ESTIMATE
        from ..methods.restored import restore

        given = self.inputs
        options = {"weights": given.weights, "device": given.device, "precision": given.precision}
        sampling = get_method(ESTIMATE).about.sampling(**options)
        made = restore(load_volume(given.volume), sampling, given.mem_gb or None)
        return {"volume": None if made is None else str(save_volume(made, cwd / "restored.npz"))}
