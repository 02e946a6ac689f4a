"""Steps from raw scans to a volume with anatomy on the canonical grid."""

from pathlib import Path
from typing import Any

from nipype.interfaces.base import File, TraitedSpec, isdefined, traits

from .base import Step, StepInputs


class ScanInputs(StepInputs):
    scans = traits.List(traits.Dict, desc="one {name, contrast, plane, thickness, path} per scan")
    reference = File(exists=True, desc="the high-field volume that gives the frame, if there is one")


class VolumeOutputs(TraitedSpec):
    volume = File(exists=True)
    qc = traits.Dict()


class PrepareReference(Step):
    """High-field scans → one volume on the canonical grid."""

    input_spec = ScanInputs
    output_spec = VolumeOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The volume and its quality record."""
        from ..imaging.preprocess import prepare_reference
        from ..imaging.volume import save_volume

        opened_scans, notes = opened(self.inputs.scans)
        scans = [(name, contrast, image) for name, contrast, _, image in opened_scans]
        volume, xfms, qc = prepare_reference(scans, sloppy=self.inputs.sloppy)
        qc |= {"Warnings": notes + qc["Warnings"], "Transforms": {name: xfm.tolist() for name, xfm in xfms.items()}}
        return {"volume": str(save_volume(volume, cwd / "reference.npz")), "qc": qc}


class PrepareSession(Step):
    """Low-field stacks → one volume with its aligned stacks."""

    input_spec = ScanInputs
    output_spec = VolumeOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The volume and its quality record."""
        from ..imaging.anatomy import stack_warnings
        from ..imaging.preprocess import prepare_session
        from ..imaging.volume import load_volume, save_volume

        scans, notes = opened(self.inputs.scans)
        reference = load_volume(self.inputs.reference) if isdefined(self.inputs.reference) else None
        thickness = {scan["name"]: scan["thickness"] for scan in self.inputs.scans if scan.get("thickness")}
        volume, qc = prepare_session(scans, reference, thickness=thickness, sloppy=self.inputs.sloppy)
        tissue = None if reference is None else reference.tissue  # where there is none, the anatomy is still to come
        doubts = [] if reference is None or tissue is None else stack_warnings(volume, tissue, reference.brain)
        qc["Warnings"] = notes + qc["Warnings"] + doubts
        return {"volume": str(save_volume(volume, cwd / "session.npz")), "qc": qc}


def opened(scans: list[dict[str, Any]]) -> tuple[list[tuple[str, str, str | None, Any]], list[str]]:
    """(name, contrast, plane, image) of every scan after its header check, and what the checks had to say."""
    from ..imaging.headers import copies, open_scan

    images: list[tuple[str, str, str | None, Any]] = []
    notes: list[str] = []
    for scan in scans:
        image, warnings = open_scan(Path(scan["path"]))
        images.append((scan["name"], scan["contrast"], scan["plane"] or None, image))
        notes += warnings
    return images, notes + copies({name: image for name, *_, image in images})


class AnatomyInputs(StepInputs):
    volume = File(exists=True, mandatory=True, desc="the volume of which the brain is segmented")
    qc = traits.Dict(desc="of high field alone: it tells what its scans show")


class AnatomyOutputs(TraitedSpec):
    anatomy = File(
        exists=True,
        desc="mask, priors, affine of the template, points of the expected brain; what cut high field shows",
    )
    quality = traits.Dict()


class FindAnatomy(Step):
    """A volume → its brain mask and tissue priors, from the first contrast (T1w, T2w, FLAIR) that is not cut."""

    input_spec = AnatomyInputs
    output_spec = AnatomyOutputs

    def run_step(self, cwd: Path) -> dict[str, Any]:
        """The anatomy and how well it fitted."""
        from ..imaging.anatomy import anatomy_of
        from ..imaging.volume import load_volume, save_arrays

        volume = load_volume(self.inputs.volume)
        qc = self.inputs.qc if isdefined(self.inputs.qc) else {}
        anatomy, cut = anatomy_of(volume, qc, sloppy=self.inputs.sloppy)
        arrays = {"mask": anatomy.mask, "priors": anatomy.priors, "affine": anatomy.warp.affine}
        arrays |= {"expected": anatomy.expected, **cut}
        path = save_arrays(cwd / "anatomy.npz", {"contrast": anatomy.quality["Contrast"]}, arrays)
        return {"anatomy": str(path), "quality": anatomy.quality}
