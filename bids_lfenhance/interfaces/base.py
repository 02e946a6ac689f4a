"""Base of all interfaces."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import BaseInterfaceInputSpec, SimpleInterface, TraitedSpec, traits


class StepInputs(BaseInterfaceInputSpec):
    """Inputs every step has."""

    sloppy = traits.Bool(False, usedefault=True, desc="quick and rough")


class Step(SimpleInterface):
    """A ``SimpleInterface`` whose body is ``run_step() -> {output: value}``."""

    input_spec = StepInputs
    output_spec = TraitedSpec

    def _run_interface(self, runtime: Any) -> Any:
        self._results.update(self.run_step(Path(runtime.cwd)))
        return runtime

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The outputs of the step, by name; files are written in ``cwd``."""
        raise NotImplementedError
