"""Names of the derivative: where each output of the app lies (docs/outputs.md)."""

import re
from pathlib import Path

from ..errors import InputError
from .scans import LABEL, ORDER, Scan
from .sessions import LowFieldSession

HIGH_FIELD_SPACE = "HF"
"""``space-`` of the reference's grid where its session's label cannot tell it from the low field's."""

LOW_FIELD_SPACE = "LF"
"""``space-`` of a low-field session without reference whose folder is also that of high field of another contrast."""

_SUFFIX = re.compile(r"[0-9a-zA-Z]+")
_EXTENSION = re.compile(r"(?:\.[0-9a-zA-Z]+)+")

Owner = LowFieldSession | Scan | tuple[str, str | None]


def derivative_name(
    out_dir: str | Path, owner: Owner, suffix: str, extension: str = ".nii.gz", **entities: str | None
) -> Path:
    """Path of one derivative of a session, a scan or a (subject, session), its entities in the order of the schema.

    An entity that is None is left out. Labels are letters, digits and ``+`` only, so no name leaves ``out_dir``.

    >>> derivative_name("out", ("01", "HFC"), "T1w", ".nii.gz", desc="inr", res="1mm").as_posix()
    'out/sub-01/ses-HFC/anat/sub-01_ses-HFC_res-1mm_desc-inr_T1w.nii.gz'
    """
    subject, session = owner if isinstance(owner, tuple) else (owner.subject, owner.session)
    pairs = [("sub", subject)] + ([("ses", session)] if session is not None else [])
    given = {key.rstrip("_"): value for key, value in entities.items() if value is not None}
    if unknown := sorted(set(given) - set(ORDER)):
        message = f"Expected BIDS entities in a name, found {unknown}; choose among {', '.join(ORDER)}."
        raise InputError(message, code="bad-label", value=unknown)
    pairs += [(key, given[key]) for key in ORDER if key in given]
    for key, value in pairs:
        _check(LABEL, value, f"a label of letters, digits and + for {key}-")
    _check(_SUFFIX, suffix, "a suffix of letters and digits")
    _check(_EXTENSION, extension, "an extension such as .nii.gz")
    folder = Path(out_dir, *(f"{key}-{value}" for key, value in pairs if key in ("sub", "ses")), "anat")
    return folder / ("_".join([*(f"{key}-{value}" for key, value in pairs), suffix]) + extension)


def _check(pattern: re.Pattern[str], value: str, expected: str) -> None:
    if not pattern.fullmatch(value):
        raise InputError(f"Expected {expected}, found {value!r}; rename it.", code="bad-label", value=value)


def sidecar_path(image: Path) -> Path:
    """The JSON beside an image.

    >>> sidecar_path(Path("sub-01_T1w.nii.gz")).name
    'sub-01_T1w.json'
    """
    return image.with_name(image.name.partition(".")[0] + ".json")


def space_of(session: LowFieldSession) -> str | None:
    """The ``space-`` label of the canonical grid: the reference session's, or None where there is no high field.

    >>> space_of(LowFieldSession("01", "HFC", ()))
    """
    if not session.paired:
        return LOW_FIELD_SPACE if session.beside_high_field else None
    reference = session.reference_session
    return reference if reference is not None and reference != session.session else HIGH_FIELD_SPACE


def source_entities(scan: Scan) -> dict[str, str]:
    """What a derivative of one scan keeps of its name: every raw entity, so two scans never share a name."""
    return {key: value for key, value in scan.entities.items() if key not in ("sub", "ses")}
