"""Scans: one frozen record per image of the requested subjects, made without opening an image."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config import CONTRASTS
from ..config.checks import LABEL
from ..errors import InputError
from .sidecars import SidecarFinder, merge_sidecars, split_name

ORDER = (
    *("sample", "task", "tracksys", "acq", "nuc", "voi", "ce", "trc", "stain", "rec", "dir", "run", "mod", "echo"),
    *("flip", "inv", "mt", "part", "proc", "hemi", "from", "to", "mode", "space", "split", "recording", "chunk"),
    *("atlas", "seg", "scale", "res", "den", "label", "desc"),
)
"""Entities after ``sub`` and ``ses`` in the order the BIDS schema demands; ``from, to, mode`` are NiPreps' own."""

PLANES = {
    "axi": ("axi", "ax", "axial", "tra", "transverse"),
    "cor": ("cor", "coronal"),
    "sag": ("sag", "sagittal"),
    "iso": ("iso", "isotropic"),
}
"""Spellings of the high-resolution plane; ``iso`` stands for a scan that resolves all three alike."""

_THICK_SLICE = 3.0  # mm; the isotropic protocols of the Hyperfine Swoop are 2.2-2.4 mm, its thick ones 5 mm


class Entities(Mapping[str, str]):
    """Entities of a file name by short key, in the order of the name: frozen, hashable, picklable."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple(dict(pairs).items())

    def __getitem__(self, key: str) -> str:
        for name, value in self._pairs:
            if name == key:
                return value
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)

    def __hash__(self) -> int:
        return hash(frozenset(self._pairs))

    def __repr__(self) -> str:
        return f"Entities({dict(self._pairs)})"


@dataclass(frozen=True)
class Scan:
    """One image of a subject.

    ``path`` absolute, perhaps an empty file or a dangling link; ``entities`` by short key (``sub, ses, acq, run``
    …); ``sidecars`` the JSON files that apply to it, least specific first; ``field_strength`` tesla, None until
    the plan has read it; ``state`` size in bytes and time of change in ns (empty where there is no file), so that a
    replaced file makes another scan.
    """

    path: Path
    entities: Entities
    contrast: str
    sidecars: tuple[Path, ...] = ()
    field_strength: float | None = None
    state: tuple[int, ...] = ()

    @property
    def subject(self) -> str:
        """Label of the subject, without ``sub-``."""
        return self.entities["sub"]

    @property
    def session(self) -> str | None:
        """Label of the session, without ``ses-``, or None where the dataset has no sessions."""
        return self.entities.get("ses")

    @property
    def stem(self) -> str:
        """File name without its extension."""
        return self.path.name.removesuffix(".gz").removesuffix(".nii")

    @property
    def tesla(self) -> float:
        """Field strength as derivatives give it: four decimals."""
        return round(self.field_strength or 0.0, 4)

    @property
    def name(self) -> str:
        """What tells the scan from its neighbours in the session: ``acq-axi_run-1_T1w``."""
        own = [f"{key}-{value}" for key, value in self.entities.items() if key not in ("sub", "ses")]
        return "_".join([*own, self.contrast])

    @cached_property
    def sidecar(self) -> Mapping[str, Any]:
        """What the sidecars say together, read when first asked for; empty where there is none."""
        return merge_sidecars(self.sidecars)

    @property
    def contrast_agent(self) -> bool:
        """Whether the name (``ce-``) or the sidecar (``ContrastBolusAgent`` …) says that an agent was given."""
        agents = (self.sidecar.get(key) for key in ("ContrastBolusAgent", "ContrastBolusIngredient"))
        return "ce" in self.entities or any(map(_names_agent, agents))

    @property
    def slice_thickness(self) -> float | None:
        """Thickness of the slices by the sidecar, mm; None where it gives no number."""
        try:
            thickness = float(str(self.sidecar.get("SliceThickness")).replace(",", "."))
        except ValueError:
            return None
        return thickness if math.isfinite(thickness) else None

    @property
    def plane(self) -> str | None:
        """High-resolution plane (``axi``, ``cor``, ``sag``, ``iso``): from ``acq-``, else from the sidecar."""
        return plane_in(self.entities.get("acq", "")) or plane_of_sidecar(self.sidecar)


_NO_AGENT = ("n/a", "na", "none", "no", "not", "without", "false", "null", "nil")
"""First words of what sidecars say where no contrast agent was given."""


def _names_agent(value: object) -> bool:
    """Whether what a sidecar says of a contrast agent means that one was given.

    >>> [_names_agent(value) for value in ("Gadovist", ["NONE"], "No contrast", "not applicable", "", None, ["Gd"])]
    [True, False, False, False, False, False, True]
    """
    values = value if isinstance(value, list) else [value]
    texts = [str(one).strip().lower() for one in values if one]
    return any(text and re.split(r"[\s:,(]", text)[0] not in _NO_AGENT for text in texts)


def plane_in(text: str) -> str | None:
    """The plane a label or a protocol name speaks of, or None.

    >>> plane_in("axi"), plane_in("T2Sagittal"), plane_in("rc86_T1_iso_2p34mm"), plane_in("MPRAGE")
    ('axi', 'sag', 'iso', None)
    """
    words = {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)}
    named = [plane for plane, spellings in PLANES.items() if words.intersection(spellings)]
    return named[0] if len(named) == 1 else None


def plane_of_sidecar(sidecar: Mapping[str, Any]) -> str | None:
    """The plane by protocol name, else, for thick slices, by the slice normal of the DICOM orientation."""
    for key in ("SeriesDescription", "ProtocolName"):
        if plane := plane_in(str(sidecar.get(key, ""))):
            return plane
    thickness, cosines = sidecar.get("SliceThickness"), sidecar.get("ImageOrientationPatientDICOM")
    if not isinstance(thickness, int | float) or thickness < _THICK_SLICE:
        return None
    if not isinstance(cosines, list) or len(cosines) != 6 or not all(isinstance(c, int | float) for c in cosines):
        return None
    (a, b, c), (d, e, f) = cosines[:3], cosines[3:]
    normal = (abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d))
    return ("sag", "cor", "axi")[normal.index(max(normal))]


def list_subjects(bids_dir: Path) -> tuple[str, ...]:
    """Labels of all subjects that have a folder, sorted."""
    if not bids_dir.is_dir():
        message = f"Expected a BIDS dataset at {bids_dir}, found no such folder; check BIDS_DIR."
        raise InputError(message, code="not-bids", path=bids_dir)
    try:
        names = [path.name for path in bids_dir.glob("sub-*") if path.is_dir()]
    except OSError as error:
        message = f"Expected to list {bids_dir}, found {error.strerror}; check its permissions."
        raise InputError(message, code="not-readable", path=bids_dir) from error
    subjects = sorted(label for name in names if LABEL.fullmatch(label := name.removeprefix("sub-")))
    if not subjects:
        odd = f"only {shorten(sorted(names), 3)}, of which none is letters and digits" if names else "none"
        message = f"Expected folders named sub-<label> in {bids_dir}, found {odd}; give {_root_nearby(bids_dir)}."
        raise InputError(message, code="no-subjects", path=bids_dir)
    return tuple(subjects)


def _root_nearby(folder: Path) -> str:
    """What should have been given: the dataset that lies in the folder, or around it, else words."""
    if folder.name.startswith("sub-") and any(folder.parent.glob("sub-*")):
        return f"the dataset it is a part of, {folder.parent}"
    with suppress(OSError):
        within = sorted({path.parent for path in folder.glob("*/sub-*") if path.is_dir()})
        if within:
            return f"one of the datasets in it, {shorten((str(path) for path in within), 3)}"
    return "the root of a BIDS dataset"


def choose_subjects(bids_dir: Path, participants: Iterable[str]) -> tuple[str, ...]:
    """The requested subjects (all of them where none is named), each known to have a folder."""
    known = list_subjects(bids_dir)
    asked = tuple(dict.fromkeys(label.removeprefix("sub-") for label in participants))
    if unknown := [label for label in asked if label not in known]:
        folders = [label for label in unknown if (bids_dir / f"sub-{label}").is_dir()]
        why = f" (sub-{folders[0]}: {why_no_label('sub-' + folders[0]).replace(';', ',')})" if folders else ""
        message = (
            f"Expected participants of {bids_dir}, found no sub-{', sub-'.join(unknown)}{why}; "
            f"there {'is' if len(known) == 1 else 'are'} {len(known)}: {shorten(known, 12)}."
        )
        raise InputError(message, code="unknown-subject", subjects=unknown)
    return asked or known


def why_no_label(name: str) -> str:
    """Why a folder is no subject or session, and what to do.

    >>> why_no_label("sub-pt-02")
    "a label is letters and digits only, and 'pt-02' holds '-'; rename the folder and its files, to sub-pt02 say"
    """
    key, _, label = name.partition("-")
    wrong = "".join(dict.fromkeys(character for character in label if not LABEL.fullmatch(character)))
    better = "".join(character for character in label if character not in wrong) or "01"
    reason = f"{label!r} holds {wrong!r}" if wrong else "there is none"
    return f"a label is letters and digits only, and {reason}; rename the folder and its files, to {key}-{better} say"


def shorten(items: Iterable[str], limit: int) -> str:
    """The items with commas between, those beyond ``limit`` only counted.

    >>> shorten("abcd", 2)
    'a, b and 2 more'
    """
    listed = list(items)
    more = len(listed) - limit
    return ", ".join(listed[:limit]) + (f" and {more} more" if more > 0 else "")


def make_scans(paths: Iterable[Path], finder: SidecarFinder) -> tuple[tuple[Scan, ...], tuple[str, ...]]:
    """The scans among the images of one subject, in a stable order, and a sentence on each that was left out."""
    scans: dict[str, Scan] = {}
    warnings: list[str] = []
    # ".nii.gz" comes before ".nii" when sorted backwards, so the compressed twin is met first
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        entities, suffix, extension = split_name(path.name)
        if reason := _unusable(entities, suffix, path):
            warnings.append(f"{path.name} was left out: {reason}.")
        elif (stem := path.name.removesuffix(extension)) in scans:
            warnings.append(f"{path.name} was left out: {scans[stem].path.name} is beside it.")
        else:
            scans[stem] = Scan(path, Entities(entities), suffix, finder.find(path), state=file_state(path))
    return tuple(sorted(scans.values(), key=scan_order)), tuple(reversed(warnings))


def file_state(path: Path) -> tuple[int, ...]:
    """Size (bytes) and time of change (ns) of a file; empty where there is none."""
    try:
        state = path.stat()
    except OSError:
        return ()
    return state.st_size, state.st_mtime_ns


def file_digest(path: Path) -> str:
    """The SHA-256 of a file; empty where it cannot be read."""
    try:
        return sha256(path)
    except InputError:
        return ""


def sha256(path: Path) -> str:
    """The SHA-256 of a file; raise ``InputError`` if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        message = (
            f"Expected to read {path}, found {error.strerror}; get its content (datalad get) or check its permissions."
        )
        raise InputError(message, code="not-readable", path=path) from error


def _unusable(entities: Mapping[str, str], suffix: str, path: Path) -> str | None:
    """Why an image cannot serve as a scan, or None where it can."""
    words = path.name.partition(".")[0].split("_")[:-1]
    if suffix not in CONTRASTS or len(words) != len(entities) or not all(map(LABEL.fullmatch, entities.values())):
        return "its name is not a BIDS name"
    if unknown := [f"{key}-{value}" for key, value in entities.items() if key not in ("sub", "ses", *ORDER)]:
        return f"{unknown[0]} is no entity of BIDS"
    around = "/".join(f"{key}-{entities[key]}" for key in ("sub", "ses") if key in entities)
    if not path.parent.as_posix().endswith(f"/{around}/anat"):
        return "it is named after another subject or session than its folder"
    if entities.get("part", "mag") != "mag":
        return f"it is the {entities['part']} part, and only magnitude images are enhanced"
    if derived := [f"{key}-{entities[key]}" for key in ("space", "res", "desc") if key in entities]:
        return f"{derived[0]} marks a derivative, and scans are raw"
    return None


def scan_order(scan: Scan) -> tuple[str, int, int, str]:
    """Sort key: session, contrast, plane in the order of ``PLANES``, name."""
    acq = plane_in(scan.entities.get("acq", ""))
    plane = list(PLANES).index(acq) if acq else len(PLANES)
    return scan.session or "", CONTRASTS.index(scan.contrast), plane, scan.name
