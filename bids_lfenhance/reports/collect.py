"""What lies on disk for one subject, gathered by name: the report knows nothing else."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..bids.field_strength import HIGH_FIELD_FROM
from ..bids.names import sidecar_path
from ..bids.sidecars import optional_json, session_name, split_name
from ..bids.tables import read_columns
from ..config import CONTRASTS, DERIVED_MAPS, ENDINGS, MAP_ENDS, METHOD_MAPS, WHOLE
from ..evaluation.metric_definitions import DATA_DICTIONARY
from ..evaluation.volume_error import COLUMNS as ERROR_COLUMNS
from ..imaging.grid import Grid, canonical_zoom

GRID_LABELS = tuple(f"{canonical_zoom(sloppy):g}mm" for sloppy in (False, True))
"""The ``res-`` of the canonical grid, the finer first; what is in template spaces carries another or none."""

CRASH_TAIL = 6000
"""Characters of a crash text that are shown: the end, where the reason is."""

REGION_SEGMENTATIONS = ("regions", "synthseg")
"""The ``seg-`` of anatomical regions; where a contrast has both, the first is shown."""


@dataclass(frozen=True)
class Output:
    """One image of the derivative: ``entities`` by key, ``suffix``, and what its sidecar says (empty if unreadable)."""

    path: Path
    entities: Mapping[str, str]
    suffix: str
    sidecar: Mapping[str, Any]

    @property
    def desc(self) -> str:
        """The ``desc-`` label, or nothing."""
        return self.entities.get("desc", "")

    @property
    def is_high_field(self) -> bool:
        """Whether it was acquired at high field: by the sidecar's true field strength."""
        strength = self.sidecar.get("MagneticFieldStrength")
        return isinstance(strength, int | float) and strength >= HIGH_FIELD_FROM and not self.sidecar.get("Synthetic")


@dataclass(frozen=True)
class SegmentationOutputs:
    """A segmentation, and the volume of every tissue or region in mm³ by name (None where the table is missing).

    ``confidence`` of the regions, 0 to 1; empty where the table tells none. ``soft``: the volumes by posteriors.
    ``error``: expected error of the volumes, mm³ and %, empty where none is known. ``cut``: names of what has no
    volume, as the field of view ends in it.
    """

    output: Output
    volumes: Mapping[str, float] | None
    confidence: Mapping[str, float] = field(default_factory=dict)
    soft: Mapping[str, float] = field(default_factory=dict)
    error: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cut: tuple[str, ...] = ()

    @property
    def segmentation(self) -> str:
        """The ``seg-`` of its name."""
        return self.output.entities.get("seg", "")


@dataclass(frozen=True)
class Channel:
    """One contrast of a session; the dicts are keyed by the label of the result (``inr``).

    ``maps`` are further maps of each result, keyed by the kind (``DERIVED_MAPS`` and the method's own,
    ``METHOD_MAPS``); ``stacks`` the scans on their own voxels, by ``acq-``.
    """

    contrast: str
    low: Output | None = None
    high: Output | None = None
    enhanced: Mapping[str, Output] = field(default_factory=dict)
    std: Mapping[str, Output] = field(default_factory=dict)
    risk: Mapping[str, Output] = field(default_factory=dict)
    tissue: Mapping[str, SegmentationOutputs] = field(default_factory=dict)
    tissue_high: SegmentationOutputs | None = None
    regions: Mapping[str, SegmentationOutputs] = field(default_factory=dict)
    regions_high: SegmentationOutputs | None = None
    maps: Mapping[str, Mapping[str, Output]] = field(default_factory=dict)
    stacks: Mapping[str, Output] = field(default_factory=dict)


@dataclass(frozen=True)
class Session:
    """One low-field session: ``name`` (None where the dataset has no sessions), its contrasts, its record, its metrics.

    ``metric_columns`` are those of every ``_qc.tsv``, one after the other, numbers as floats; ``missing`` says what
    should be there and is not, ``other_grids`` which results are there on another grid than that of the last
    run, and so are not shown.
    """

    name: str | None
    labels: tuple[str, ...]
    channels: tuple[Channel, ...]
    mask: Output | None
    record: Mapping[str, Any]
    metric_columns: Mapping[str, list[Any]]
    missing: tuple[str, ...]
    other_grids: tuple[str, ...] = ()

    @cached_property
    def metrics(self) -> tuple[Mapping[str, Any], ...]:
        """The rows of ``metric_columns``."""
        return tuple(
            dict(zip(self.metric_columns, row, strict=True)) for row in zip(*self.metric_columns.values(), strict=True)
        )

    @property
    def enhanced(self) -> list[Output]:
        """The enhanced images."""
        return [output for channel in self.channels for output in channel.enhanced.values()]

    @property
    def scans(self) -> list[Mapping[str, Any]]:
        """What the record tells of each scan that was found."""
        scans = self.record.get("Scans")
        return [scan for scan in scans if isinstance(scan, Mapping)] if isinstance(scans, list) else []

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """The high-field session it was compared with, or None."""
        reference = self.record.get("Reference")
        return reference if isinstance(reference, Mapping) else None


@dataclass(frozen=True)
class Run:
    """The run that wrote it: ``config`` the text of its settings, ``crashes`` (name, text) of the steps that failed."""

    name: str
    config: str
    settings: Mapping[str, Any]
    crashes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Subject:
    """Everything the report of one subject is made from.

    ``run`` is the last one, whose crashes are reported; ``runs`` those that made the images shown, by their sidecars.
    """

    name: str
    out_dir: Path
    sessions: tuple[Session, ...]
    run: Run | None
    dataset: Mapping[str, Any]
    runs: tuple[Run, ...] = ()


def collect(out_dir: Path, subject: str, run_dir: Path | None = None) -> Subject:
    """Everything there is of a subject (label without ``sub-``), and what should be and is not."""
    outputs = list_outputs(out_dir / f"sub-{subject}")
    run = read_run(out_dir, subject, run_dir)
    wanted = _wanted_label(run)
    names = _low_field_sessions(out_dir, subject, outputs)
    sessions = tuple(_session(out_dir, subject, name, outputs, wanted) for name in names)
    runs = tuple(_runs_of(out_dir, subject, sessions))
    return Subject(subject, out_dir, sessions, run, optional_json(out_dir / "dataset_description.json"), runs)


def _runs_of(out_dir: Path, subject: str, sessions: Iterable[Session]) -> Iterable[Run]:
    """The runs that the sidecars of the enhanced images name, each once, as far as their folders are here."""
    runtimes = [output.sidecar.get("Runtime") for session in sessions for output in session.enhanced]
    for name in dict.fromkeys(str(about.get("Run") or "") for about in runtimes if isinstance(about, Mapping)):
        folder = out_dir / "logs" / Path(name).name
        if name and (run := read_run(out_dir, subject, folder)):
            yield run


def list_outputs(folder: Path) -> tuple[Output, ...]:
    """The images under a subject's folder, in the order of their names; figures and odd names are left out."""
    outputs = []
    for path in sorted([*folder.glob("anat/*.nii*"), *folder.glob("ses-*/anat/*.nii*")]):
        entities, suffix, end = split_name(path.name)
        if end in ENDINGS and suffix.isalnum() and 0 < len(entities) == path.name.count("_"):
            outputs.append(Output(path, entities, suffix, optional_json(sidecar_path(path))))
    return tuple(outputs)


def read_run(out_dir: Path, subject: str, run_dir: Path | None = None) -> Run | None:
    """The run in ``run_dir``, or the latest under ``logs/``; None if there is none."""
    if run_dir is None:
        runs = [path.parent for path in (out_dir / "logs").glob("*/config.toml")]
        run_dir = max(runs, key=lambda path: (path.stat().st_mtime, path.name), default=None)
    if run_dir is None or not run_dir.is_dir():
        return None
    config = run_dir / "config.toml"
    text = config.read_text(encoding="utf-8", errors="replace") if config.is_file() else ""
    try:
        settings = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        settings = {}
    return Run(run_dir.name, text, settings, tuple(_crashes(run_dir, subject)))


def _crashes(run_dir: Path, subject: str) -> Iterable[tuple[str, str]]:
    """Crash texts of this subject: the runner puts the step's full name (``….sub_01_wf.…``) into both name and text."""
    label = re.escape(subject).replace(r"\+", "[+_]")
    whose = re.compile(rf"sub[-_]{label}(?![0-9a-zA-Z+])")
    for path in sorted(run_dir.rglob("crash*")):
        if path.is_file() and path.suffix in (".txt", ".log", ".rst", ""):
            text = path.read_text(encoding="utf-8", errors="replace").strip()
            if whose.search(path.name if re.search("sub[-_]", path.name) else text):
                yield path.name, text[-CRASH_TAIL:]


def _wanted_label(run: Run | None) -> str | None:
    table = run.settings.get("run", run.settings) if run else {}
    label = table.get("output_label") or table.get("method") if isinstance(table, Mapping) else None
    return str(label) if label else None


def _low_field_sessions(out_dir: Path, subject: str, outputs: Iterable[Output]) -> list[str | None]:
    """The sessions that have a record, and those with images that are not high field and no session's reference."""
    folder = out_dir / f"sub-{subject}"
    recorded: set[str | None] = set()
    references: set[str | None] = set()
    for path in [*folder.glob("anat/*_desc-preproc_qc.json"), *folder.glob("ses-*/anat/*_desc-preproc_qc.json")]:
        match = re.search(r"_ses-([0-9a-zA-Z+]+)_", path.name)
        recorded.add(match[1] if match else None)
        reference = optional_json(path).get("Reference")
        if isinstance(reference, Mapping):
            references.add(str(reference.get("Session") or "") or None)
    return sorted(recorded | {o.entities.get("ses") for o in outputs if _is_low(o)} - references, key=str)


def _is_low(output: Output) -> bool:
    return output.suffix in CONTRASTS and output.entities.get("res") in GRID_LABELS and not output.is_high_field


def _session(out_dir: Path, subject: str, name: str | None, outputs: Iterable[Output], wanted: str | None) -> Session:
    folder = out_dir / f"sub-{subject}" / (f"ses-{name}" if name else "") / "anat"
    head = session_name(subject, name)
    record = optional_json(folder / f"{head}_desc-preproc_qc.json")
    record = record if isinstance(record.get("Scans") or [], list) else {}  # damaged, like what is no JSON
    paired_with = record.get("Reference")
    reference = paired_with if isinstance(paired_with, Mapping) else {}
    other = str(reference.get("Session") or "") or None
    grids = {o.entities["res"] for o in outputs if o.entities.get("ses") == name and "res" in o.entities}
    # the record is of the last run, and so are the images beside it
    last = (str(record.get("Resolution")), *GRID_LABELS)
    grid = next((label for label in last if label in grids), GRID_LABELS[0])
    in_session = [o for o in outputs if o.entities.get("ses") == name and o.entities.get("res") == grid]
    own = [o for o in in_session if not o.is_high_field]
    # where low and high field lie in one folder, low field has the space in its names
    of_other = [o for o in outputs if o.entities.get("ses") == other and o.entities.get("res") == grid]
    high = [o for o in of_other if "space" not in o.entities] if reference else []
    own = [o for o in own if "space" in o.entities] or own
    stacks = [o for o in outputs if o.entities.get("ses") == name and _is_scan(o)]
    channels = tuple(
        replace(_channel(contrast, own, high), stacks=_by_acquisition(stacks, contrast))
        for contrast in _contrasts(record, own)
    )
    labels = tuple(dict.fromkeys(label for channel in channels for label in channel.enhanced))
    labels = tuple(sorted(labels, key=lambda label: label != wanted))
    tables = [folder / f"{head}_desc-{label}_qc.tsv" for label in sorted(labels)]
    mask = next((o for o in own if o.suffix == "mask"), None)
    session = Session(name, labels, channels, mask, record, _metric_columns(tables), ())
    missing = tuple(_missing(session, head, wanted))
    return replace(session, missing=missing, other_grids=tuple(_other_grids(outputs, name, grid)))


def _metric_columns(tables: Iterable[Path]) -> dict[str, list[Any]]:
    metric_columns: dict[str, list[Any]] = {name: [] for name in DATA_DICTIONARY}
    for path in tables:
        columns = read_columns(path)
        rows = max(map(len, columns.values()), default=0)
        for name in metric_columns:
            metric_columns[name] += columns.get(name, [None] * rows)
    return metric_columns


def _is_scan(output: Output) -> bool:
    return output.desc == "preproc" and not {"res", "space", "seg"} & set(output.entities) and not output.is_high_field


def _by_acquisition(stacks: Iterable[Output], contrast: str) -> dict[str, Output]:
    """The scans of a contrast by what tells them apart in their names: ``axi``, or ``axi run-2``."""
    shared = ("sub", "ses", "acq", "desc")
    return {
        " ".join([o.entities.get("acq", "scan"), *(f"{k}-{v}" for k, v in o.entities.items() if k not in shared)]): o
        for o in stacks
        if o.suffix == contrast
    }


def _other_grids(outputs: Iterable[Output], name: str | None, grid: str) -> Iterable[str]:
    """The results of a session on another canonical grid: ``desc-fusionnet, res-2mm``."""
    others = [o for o in outputs if o.entities.get("ses") == name and _is_low(o) and o.entities.get("res") != grid]
    labels = {(o.desc, o.entities["res"]) for o in others if o.desc != "preproc" and not o.desc.endswith(MAP_ENDS)}
    return (f"desc-{label}, res-{res}" for label, res in sorted(labels))


def _contrasts(record: Mapping[str, Any], outputs: Iterable[Output]) -> list[str]:
    scans = record.get("Scans") or []
    available = {str(scan.get("Contrast")) for scan in scans if isinstance(scan, Mapping)} | {o.suffix for o in outputs}
    return [contrast for contrast in CONTRASTS if contrast in available]


def _channel(contrast: str, low: list[Output], reference: list[Output]) -> Channel:
    images = {o.desc: o for o in low if o.suffix == contrast}
    maps = {kind: {d[: -len(kind)]: o for d, o in images.items() if d.endswith(kind)} for kind in MAP_ENDS}
    enhanced = {d: o for d, o in images.items() if d != "preproc" and not d.endswith(MAP_ENDS)}
    high = next((o for o in reference if o.suffix == contrast and o.desc == "preproc" and o.is_high_field), None)
    seg_regions = next((seg for seg in REGION_SEGMENTATIONS if _segmented(low, contrast, seg)), REGION_SEGMENTATIONS[0])
    tissue, regions = (_segmented(low, contrast, seg) for seg in ("tissue", seg_regions))
    own_high = [next(iter(_segmented(reference, contrast, seg).values()), None) for seg in ("tissue", seg_regions)]
    of_high = own_high if high else [None, None]
    maps_of = maps["Std"], maps["Risk"]
    kinds = (*DERIVED_MAPS, *METHOD_MAPS)
    own = {label: {kind: maps[kind][label] for kind in kinds if label in maps[kind]} for label in enhanced}
    segmented = tissue, of_high[0], regions, of_high[1]
    return Channel(contrast, images.get("preproc"), high, enhanced, *maps_of, *segmented, own)


def _segmented(outputs: Iterable[Output], contrast: str, seg: str) -> dict[str, SegmentationOutputs]:
    """The segmentations of one kind of the images of a contrast, by what the image is called."""
    return {
        o.desc[: -len(contrast)]: _tissue(o)
        for o in outputs
        if o.suffix == "dseg" and o.entities.get("seg") == seg and o.desc.endswith(contrast)
    }


def _tissue(output: Output) -> SegmentationOutputs:
    columns = read_columns(sidecar_path(output.path).with_suffix(".tsv"))
    whole = output.sidecar.get(WHOLE)  # the row of all regions together, which is no label
    for key, value in (whole if isinstance(whole, Mapping) else {}).items():
        columns.setdefault(key, []).append("n/a" if value is None else value)
    names = list(map(str, columns.get("name", ())))
    volumes, confidence, soft, error, percent = (
        {name: value for name, value in zip(names, columns.get(key, ()), strict=False) if isinstance(value, float)}
        for key in ("volume_mm3", "confidence", "volume_soft_mm3", *ERROR_COLUMNS)
    )
    errors = {name: (error[name], percent[name]) for name in error.keys() & percent.keys()}
    cut = tuple(name for name, value in zip(names, columns.get("volume_mm3", ()), strict=False) if value == "n/a")
    return SegmentationOutputs(output, volumes if volumes or cut else None, confidence, soft, errors, cut)


def _missing(session: Session, head: str, wanted: str | None) -> Iterable[str]:
    if session.record.get("Failure"):  # which says it
        return
    if not session.record:
        yield f"{head}_desc-preproc_qc.json: the record of the scans"
    if session.mask is None:
        yield f"{head}_…_desc-brain_mask.nii.gz: the brain mask"
    labels = session.labels or ((wanted,) if wanted else ())
    if not labels:
        yield f"{head}_…_desc-<method>_…: any enhanced image"
    for channel in session.channels:
        yield from _missing_of(channel, head, labels, bool(session.reference))
    measured = set(map(str, session.metric_columns["image"]))
    unmeasured = [label for label in labels if session.reference and label not in measured]
    yield from (f"{head}_desc-{label}_qc.tsv: metrics against high field" for label in unmeasured)


def _missing_of(channel: Channel, head: str, labels: Iterable[str], paired: bool) -> Iterable[str]:
    name = channel.contrast
    if channel.low is None:
        yield f"{head}_…_desc-preproc_{name}.nii.gz: the fused low field"
    if "preproc" not in channel.tissue:
        yield f"{head}_…_desc-preproc{name}_dseg.nii.gz: tissue of the low field"
    for label in labels:
        image = channel.enhanced.get(label)
        if image is None:
            yield f"{head}_…_desc-{label}_{name}.nii.gz: the enhanced image"
        if label not in channel.risk:
            yield f"{head}_…_desc-{label}Risk_{name}.nii.gz: the risk map"
        if label not in channel.std and image is not None and "ErrorStdPercent" in image.sidecar:
            yield f"{head}_…_desc-{label}Std_{name}.nii.gz: the standard deviation of the error"
        if label not in channel.tissue:
            yield f"{head}_…_desc-{label}{name}_dseg.nii.gz: tissue of the enhanced image"
    if paired and channel.high is None:
        yield f"high-field {name}: none beside this session's, so {name} has no comparison"


def load(output: Output) -> tuple[np.ndarray, Grid]:
    """An image in RAS voxel order: (X, Y, Z) float32, NaN where unknown, and its grid; raises if it is unreadable."""
    import nibabel as nib

    image = nib.as_closest_canonical(nib.load(output.path))
    data = np.asarray(image.dataobj, dtype=np.float32)
    if data.ndim != 3:
        raise ValueError(f"expected three axes, found {data.ndim}")
    return np.where(np.isinf(data), np.float32(np.nan), data), Grid(image.affine, data.shape)
