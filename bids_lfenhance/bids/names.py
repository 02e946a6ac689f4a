"""Names of the derivative: where each output of the app lies. The contract of the files is docs/outputs."""

import re
from pathlib import Path

from ..errors import InputError
from .scans import LABEL, Scan
from .units import Unit

ORDER = (
    *("sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo"),
    *("flip", "inv", "mt", "part", "proc", "hemi", "from", "to", "mode", "space", "split", "recording", "chunk"),
    *("atlas", "seg", "scale", "res", "den", "label", "desc"),
)
"""Entities after ``sub`` and ``ses`` in the order the BIDS schema demands; ``from, to, mode`` are NiPreps' own."""

HIGH_FIELD_SPACE = "HF"
"""``space-`` of the reference's grid where its session's label cannot tell it from the low field's."""

_SUFFIX = re.compile(r"[0-9a-zA-Z]+")
_EXTENSION = re.compile(r"(?:\.[0-9a-zA-Z]+)+")

Owner = Unit | Scan | tuple[str, str | None]


def derivative_name(out_dir: str | Path, owner: Owner, suffix: str, extension: str, **entities: str | None) -> Path:
    """Path of one derivative of a unit, a scan or a (subject, session), its entities in the order of the schema.

    An entity that is None is left out. Labels are letters, digits and ``+`` only, so no name leaves ``out_dir``.

    >>> derivative_name("out", ("01", "HFC"), "T1w", ".nii.gz", desc="inr", res="1mm").as_posix()
    'out/sub-01/ses-HFC/anat/sub-01_ses-HFC_res-1mm_desc-inr_T1w.nii.gz'
    """
    subject, session = owner if isinstance(owner, tuple) else (owner.subject, owner.session)
    pairs = [("sub", subject)] + ([("ses", session)] if session is not None else [])
    given = {key.rstrip("_"): value for key, value in entities.items() if value is not None}
    if unknown := sorted(set(given) - set(ORDER)):
        raise InputError(f"Expected BIDS entities in a name, found {unknown}; choose among {', '.join(ORDER)}.")
    pairs += [(key, given[key]) for key in ORDER if key in given]
    for key, value in pairs:
        _check(LABEL, value, f"a label of letters, digits and + for {key}-")
    _check(_SUFFIX, suffix, "a suffix of letters and digits")
    _check(_EXTENSION, extension, "an extension such as .nii.gz")
    folder = Path(out_dir, *(f"{key}-{value}" for key, value in pairs if key in ("sub", "ses")), "anat")
    return folder / ("_".join([*(f"{key}-{value}" for key, value in pairs), suffix]) + extension)


def _check(pattern: re.Pattern[str], value: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(f"Expected {expected}, found {value!r}; rename it.")


def sidecar_path(image: Path) -> Path:
    """The JSON beside an image.

    >>> sidecar_path(Path("sub-01_T1w.nii.gz")).name
    'sub-01_T1w.json'
    """
    return image.with_name(image.name.partition(".")[0] + ".json")


def space_of(unit: Unit) -> str | None:
    """The ``space-`` label of the canonical grid: the reference session's, or None where there is no reference.

    >>> space_of(Unit("01", "HFC", ()))
    """
    if not unit.paired:
        return None
    session = unit.reference_session
    return session if session is not None and session != unit.session else HIGH_FIELD_SPACE


def source_entities(scan: Scan) -> dict[str, str]:
    """What a derivative of one scan keeps of its name: every raw entity, so two scans never share a name."""
    return {key: value for key, value in scan.entities.items() if key not in ("sub", "ses")}


def fused_path(out_dir: str | Path, unit: Unit, contrast: str, res: str | None = "1mm") -> Path:
    """``desc-preproc_T1w.nii.gz``: the fused low field, plain mean of the stacks."""
    return enhanced_path(out_dir, unit, contrast, "preproc", res=res)


def enhanced_path(
    out_dir: str | Path,
    unit: Unit,
    contrast: str,
    method: str,
    kind: str = "",
    *,
    space: str | None = None,
    res: str | None = "1mm",
) -> Path:
    """``desc-inr_T1w.nii.gz``: an image of the session; ``kind`` ``"Std"`` or ``"Risk"`` for its maps.

    ``space`` names a template; left out, it is that of the unit's grid.
    """
    space = space or space_of(unit)
    return derivative_name(out_dir, unit, contrast, ".nii.gz", space=space, res=res, desc=method + kind)


def mask_path(out_dir: str | Path, unit: Unit, *, space: str | None = None, res: str | None = "1mm") -> Path:
    """``desc-brain_mask.nii.gz`` of the low-field session."""
    return derivative_name(out_dir, unit, "mask", ".nii.gz", space=space or space_of(unit), res=res, desc="brain")


def dseg_path(
    out_dir: str | Path,
    unit: Unit,
    contrast: str,
    image: str = "preproc",
    extension: str = ".nii.gz",
    *,
    space: str | None = None,
    res: str | None = "1mm",
) -> Path:
    """``seg-tissue_desc-inrT1w_dseg.nii.gz`` (or ``.tsv``): tissue of the fused image or of a method's."""
    space, desc = space or space_of(unit), image + contrast
    return derivative_name(out_dir, unit, "dseg", extension, space=space, seg="tissue", res=res, desc=desc)


def stack_path(out_dir: str | Path, scan: Scan) -> Path:
    """``acq-axi_desc-preproc_T1w.nii.gz``: one bias-corrected stack in its own space."""
    return derivative_name(out_dir, scan, scan.contrast, ".nii.gz", **source_entities(scan), desc="preproc")


def stack_xfm_path(out_dir: str | Path, unit: Unit, scan: Scan) -> Path:
    """``acq-axi_from-T1w_to-GE_mode-image_xfm.txt``: from a stack to the canonical frame (``to-session`` unpaired)."""
    to = space_of(unit) or "session"
    ends = {"from": scan.contrast, "to": to, "mode": "image"}
    return derivative_name(out_dir, unit, "xfm", ".txt", **source_entities(scan), **ends)


def template_xfm_path(out_dir: str | Path, owner: Owner, start: str, end: str, extension: str = ".h5") -> Path:
    """``from-GE_to-MNI152NLin2009cAsym_mode-image_xfm.h5``: a transform between two spaces."""
    ends = {"from": start, "to": end, "mode": "image"}
    return derivative_name(out_dir, owner, "xfm", extension, **ends)


def qc_path(out_dir: str | Path, unit: Unit, desc: str = "preproc", extension: str = ".json") -> Path:
    """``desc-preproc_qc.json`` of a session, or a method's metrics ``desc-inr_qc.tsv``."""
    return derivative_name(out_dir, unit, "qc", extension, desc=desc)


def reference_path(out_dir: str | Path, scan: Scan, res: str | None = "1mm") -> Path:
    """``acq-MPRAGE_res-1mm_desc-preproc_T1w.nii.gz``: a high-field image on the canonical grid."""
    return derivative_name(out_dir, scan, scan.contrast, ".nii.gz", **source_entities(scan), res=res, desc="preproc")


def reference_mask_path(out_dir: str | Path, unit: Unit, res: str | None = "1mm") -> Path:
    """``desc-brain_mask.nii.gz`` of the high-field session a unit is paired with."""
    return derivative_name(out_dir, _reference_owner(unit), "mask", ".nii.gz", res=res, desc="brain")


def reference_dseg_path(
    out_dir: str | Path, unit: Unit, contrast: str, extension: str = ".nii.gz", res: str | None = "1mm"
) -> Path:
    """``seg-tissue_desc-preprocT1w_dseg.nii.gz`` of the high-field session a unit is paired with."""
    owner, desc = _reference_owner(unit), f"preproc{contrast}"
    return derivative_name(out_dir, owner, "dseg", extension, seg="tissue", res=res, desc=desc)


def _reference_owner(unit: Unit) -> tuple[str, str | None]:
    return unit.subject, unit.reference_session


def report_path(out_dir: str | Path, subject: str) -> Path:
    """``sub-01.html``."""
    _check(LABEL, subject, "a label of letters, digits and + for sub-")
    return Path(out_dir, f"sub-{subject}.html")


def figures_dir(out_dir: str | Path, subject: str) -> Path:
    """``sub-01/figures``."""
    _check(LABEL, subject, "a label of letters, digits and + for sub-")
    return Path(out_dir, f"sub-{subject}", "figures")
