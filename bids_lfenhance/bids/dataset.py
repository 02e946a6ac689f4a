"""Files at the root of the derivative, kept up to date by every process that writes there."""

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from ..config import CONTRASTS, DERIVED_MAPS, METHOD_MAPS, TISSUES
from ..errors import InputError, usable_paths
from .atomic import atomic_write, locked
from .participants import columns_of, merged_participants
from .sidecars import decoded, optional_json, read_json
from .tables import read_table, table_text

APP = "bids_lfenhance"
BIDS_VERSION = "1.10.0"
TEMPLATEFLOW = "https://github.com/templateflow/templateflow"
LOCK = Path("logs", ".lock")
NAME_SUFFIX = ": enhanced low field"
"""What the name of a derivative has after that of its source."""

_RELEASE = re.compile(r"^[#\s]*\[?v?(\d+(?:\.\d+)+\S*?)\]?\s*[-–(]*\s*(?:\d{4}-\d\d-\d\d|$)", re.MULTILINE)
IMAGE_VARIABLE = "BIDS_LFENHANCE_IMAGE"
"""Environment variable that the container's recipe sets to the tag of the image."""

BIDSIGNORE = ("*.html", "figures", "group", "*_xfm.*", "*_morph.*", "*_qc.*")
"""What the schema does not know. "figures", not "figures/": the slash form does not silence the validator."""

FREESURFER_NAME = "Name of the region in FreeSurfer's colour table"

OWN_DESCRIPTIONS = {
    "preproc": "Bias-corrected images as acquired; with res-, stacks fused by their plain mean on the canonical grid",
    "brain": "Mask of the brain",
    "volumes": "Volumes of all tissues and regions of a subject in one table",
    "comparison": "Figure: low field, enhanced and high field",
    "registration": "Figure: scans with the edges of all scans together",
    "tissue": "Figure: outlines of tissue and brain mask",
    "regions": "Figure: regions in colour",
    "thumbnail": "Figure: a small picture for the page of the group",
}
MAPS = {
    "": "",
    "Std": ": standard deviation of its error",
    "Maps": ": figure of its maps",
    "Risk": ": re-degraded against acquired, in noise units",
    **DERIVED_MAPS,
}

README = """\
# Enhanced low-field MRI

Written by {app} from the dataset "{name}".
Research use only: an enhanced image is an estimate, never a basis for a diagnosis.

- `sub-*.html`: one report per subject. Start here.
- `*_desc-preproc_T1w`: what was acquired (with `res-`: all stacks of the session fused by their plain mean).
- `*_desc-<method>_T1w`: the enhanced image; `<method>Std` the standard deviation of its error, `<method>Error` the
  error to expect; `<method>Change` what was changed; `<method>Risk` the output degraded again against what was
  acquired, in noise units: large values mark what the scan does not support. Methods
  that draw add `<method>Sample`, one possible image, and `<method>DrawsStd`: the sidecars say what these are.
- `*_desc-brain_mask`, `*_seg-tissue_*_dseg` with volumes in mm³ in the `.tsv`; labels in `seg-tissue_dseg.tsv`.
- `*_seg-regions_*_dseg` (or `seg-synthseg`): anatomical regions, their volumes and how sure the network is of each.
- `sub-*/sub-*_desc-volumes_morph.tsv`: all volumes of a subject in one table.
- `*_qc.*`: quality of the input, and metrics against high field where there is one.
- `*_xfm.txt`: rigid transforms (ITK) of each stack to the canonical grid, of high field to its T2w.
- `descriptions.tsv`: what each `desc-` means. `logs/`: settings of every run.
"""


def write_dataset_files(
    out_dir: str | Path,
    bids_dir: str | Path,
    methods: Mapping[str, str],
    version: str,
    *,
    subjects: Iterable[str] = (),
    labels: Mapping[str, Iterable[tuple[str, str, str, str]]] | None = None,
    maps: Iterable[str] = (),
) -> tuple[Path, ...]:
    """Paths of the files at the root of the derivative, written or brought up to date.

    ``methods`` maps the ``desc-`` label of each method to one sentence about it; ``subjects`` are those of this
    run, their rows taken from the source's participants.tsv; ``labels`` maps the ``seg-`` of a segmentation to the
    index, name, colour and FreeSurfer's name of its labels; ``maps`` names the further maps that the methods write
    (``METHOD_MAPS``). Rows already there stay, so runs of several methods and of several subjects share one
    derivative; a lock lets one process at a time merge.
    """
    out, source = Path(out_dir), Path(bids_dir)
    check_ours(out)
    description = source_description(source)
    texts: dict[str, str] = {
        "dataset_description.json": json_text(derivative_description(out, source, description, version)),
        "seg-tissue_dseg.tsv": table_text(["index", "name"], [[str(i + 1), name] for i, name in enumerate(TISSUES)]),
    }
    for name, rows in (labels or {}).items():
        texts[f"seg-{name}_dseg.tsv"] = table_text(["index", "name", "color", "freesurfer_name"], rows)
        texts[f"seg-{name}_dseg.json"] = json_text({"freesurfer_name": {"Description": FREESURFER_NAME}})
    with locked(out / LOCK):
        check_ours(out)
        texts[".bidsignore"] = _merged_lines(out / ".bidsignore", BIDSIGNORE)
        texts["descriptions.tsv"] = _merged_descriptions(out / "descriptions.tsv", methods, maps)
        texts["participants.tsv"] = merged_participants(out / "participants.tsv", source, subjects)
        if not (out / "README.md").exists():  # a person may have added to it
            texts["README.md"] = README.format(app=APP, name=description.get("Name", source.name))
        if columns := columns_of(source):
            texts["participants.json"] = json_text(columns)
        for name, text in texts.items():
            write_changed(out / name, text)
    return tuple(out / name for name in texts)


@usable_paths()
def check_source(bids_dir: Path) -> None:
    """Raise ``InputError`` if the folder does not declare itself a raw BIDS dataset.

    The whole validator is not run: what of the dataset is used is checked when it is used, file by file.
    """
    advice = "correct it, or give --skip-bids-validation to take the folder as it is."
    path = bids_dir / "dataset_description.json"
    if not path.is_file():
        message = f"Expected a BIDS dataset with dataset_description.json, found none in {bids_dir}; {advice}"
        raise InputError(message, code="not-bids", path=bids_dir)
    description = read_json(path)
    for key in ("Name", "BIDSVersion"):
        if not isinstance(description.get(key), str):
            message = f"Expected a text for '{key}' in {path}, found {description.get(key)!r}; {advice}"
            raise InputError(message, code="not-bids", path=path, key=key)
    if description.get("DatasetType", "raw") != "raw":
        message = (
            f"Expected a raw dataset in {bids_dir}, found DatasetType '{description['DatasetType']}'; "
            "give the folder with the scans as they were acquired."
        )
        raise InputError(message, code="not-raw", path=bids_dir)


def ignore_own_files(out_dir: Path) -> None:
    """Add everything of ours that the schema does not know to the .bidsignore of a derivative."""
    with locked(out_dir / LOCK):
        write_changed(out_dir / ".bidsignore", _merged_lines(out_dir / ".bidsignore", BIDSIGNORE))


@usable_paths()
def check_ours(out_dir: Path, kind: str = "derivative") -> None:
    """Raise ``InputError`` if the folder already is another program's dataset or of another type."""
    path = out_dir / "dataset_description.json"
    if not path.exists():
        return
    description = read_json(path)
    makers = description.get("GeneratedBy") or [{}]
    names = [maker.get("Name") for maker in makers if isinstance(maker, dict)]
    if APP not in names:
        existing = f"a dataset made by {names[0]}" if names and names[0] else "another dataset"
        message = (
            f"Expected an empty OUT_DIR or an earlier output of {APP}, found {existing} in {out_dir}; "
            "give a folder of its own."
        )
        raise InputError(message, code="out-dir-taken", path=out_dir)
    if (existing := description.get("DatasetType", "raw")) != kind:
        message = (
            f"Expected an empty OUT_DIR or a {kind} dataset, found a {existing} dataset of another level of {APP} "
            f"in {out_dir}; give a folder of its own."
        )
        raise InputError(message, code="out-dir-taken", path=out_dir)


def source_description(bids_dir: Path) -> dict[str, Any]:
    """The source's dataset_description.json; empty where there is none to be read (planning has warned of it)."""
    return optional_json(bids_dir / "dataset_description.json")


def check_same_source(out_dir: Path, bids_dir: Path, link: str = "raw", suffix: str = NAME_SUFFIX) -> str:
    """Raise ``InputError`` if OUT_DIR was made of another dataset: of another name, at another place.

    ``link`` is the source's name in OUT_DIR's ``DatasetLinks``, ``suffix`` what follows the source's name in that of
    OUT_DIR. Returns a warning where only the name differs (it was changed, or another dataset is mounted at the same
    place now), or only the place though the old one is still there; else "". A name that was never filled in tells no
    datasets apart.
    """
    before, source = optional_json(out_dir / "dataset_description.json"), source_description(bids_dir)
    links = before.get("DatasetLinks")
    places = [links.get(link) if isinstance(links, dict) else None, raw_link(out_dir, bids_dir)]
    names = [str(before.get("Name")).removesuffix(suffix), str(source.get("Name", bids_dir.name))]
    same, unnamed, there = names[0] == names[1], names[0].upper().startswith("TODO"), _is_there(places[0])
    if not before or (same and (places[0] == places[1] or not (there or unnamed))):
        return ""
    where = [f" at {place}" if same else "" for place in places]
    sentence = f"OUT_DIR {out_dir} holds what was made of the dataset '{names[0]}'{where[0]}, BIDS_DIR is "
    sentence += f"'{names[1]}'{where[1]}"
    if places[0] != places[1] and (not same or (unnamed and there)):
        message = f"{sentence}: people of the same label would become one; give each dataset an OUT_DIR of its own"
        renamed = f", or, if it is the same one, set Name in OUT_DIR's dataset_description.json to '{names[1]}'"
        message += f"{'' if same else renamed}."
        raise InputError(message, code="out-dir-taken", path=out_dir)
    return f"{sentence}; if that is not the same dataset, give it an OUT_DIR of its own."


def _is_there(place: object) -> bool:
    """Whether a folder that a file: URI names is there."""
    if not isinstance(place, str) or not place.startswith("file:"):
        return False
    try:
        return Path(url2pathname(urlparse(place).path)).is_dir()
    except OSError:  # in a folder that only somebody else may read
        return False


def derivative_description(out_dir: Path, bids_dir: Path, source: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The dataset_description.json of the derivative."""
    description: dict[str, Any] = {
        "Name": f"{source.get('Name', bids_dir.name)}{NAME_SUFFIX}",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [generated_by(version, os.environ)],
        "DatasetLinks": {"raw": raw_link(out_dir, bids_dir), "templateflow": TEMPLATEFLOW},
    }
    if isinstance(source.get("License"), str):
        description["License"] = source["License"]
    if isinstance(source.get("HowToAcknowledge"), str):
        description["HowToAcknowledge"] = source["HowToAcknowledge"]
    if origin := source_dataset(bids_dir, source):
        description["SourceDatasets"] = [origin]
    return description


def raw_link(out_dir: Path, bids_dir: Path) -> str:
    """Where the raw dataset is: relative for a derivative inside it, so the two can move together, else absolute.

    >>> raw_link(Path("/data/derivatives/lf"), Path("/data"))
    '../..'
    """
    out, source = out_dir.resolve(), bids_dir.resolve()
    if out.is_relative_to(source):
        return os.path.relpath(source, out).replace(os.sep, "/")
    return source.as_uri()


def source_dataset(bids_dir: Path, description: Mapping[str, Any]) -> dict[str, str]:
    """URL, DOI and version of the source, each where known.

    The version is that of the DOI (OpenNeuro's end in ``.v1.0.2``), else the newest entry of CHANGES.
    """
    doi = description.get("DatasetDOI")
    known: dict[str, str] = {}
    if isinstance(doi, str) and (doi_match := re.search(r"10\.\d{4,9}/\S+", doi)):
        known = {"URL": f"https://doi.org/{doi_match[0]}", "DOI": f"doi:{doi_match[0]}"}
        if version := re.search(r"\.v(\d+(?:\.\d+)*)$", doi_match[0]):
            known["Version"] = version[1]
    if "Version" not in known and (newest := newest_change(bids_dir)):
        known["Version"] = newest
    return known


def newest_change(bids_dir: Path) -> str | None:
    """The version that heads the source's CHANGES (CPAN convention: ``1.0.2 2025-09-29``), or None."""
    for name in ("CHANGES", "CHANGES.md"):
        try:
            text = (bids_dir / name).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError):
            continue
        if release := _RELEASE.search(text):
            return release[1]
    return None


def generated_by(version: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """Who made the derivative; ``Container`` only where the environment says that there is one."""
    maker: dict[str, Any] = {"Name": APP, "Version": version, "Description": "Enhancement of ultra-low-field MRI"}
    file = environment.get("APPTAINER_CONTAINER") or environment.get("SINGULARITY_CONTAINER")
    tag = environment.get(IMAGE_VARIABLE)
    if file:
        maker["Container"] = {"Type": "apptainer"} | ({"Tag": tag} if tag else {})
        # a sandbox or an image pulled at start has no file of its own
        if file.startswith("/"):
            maker["Container"]["URI"] = Path(file).as_uri()
    elif tag:
        maker["Container"] = {"Type": "docker", "Tag": tag}
    return maker


def _merged_descriptions(path: Path, methods: Mapping[str, str], maps: Iterable[str]) -> str:
    """descriptions.tsv with a row for every ``desc-`` that the methods write."""
    tails = MAPS | {kind: METHOD_MAPS[kind] for kind in maps}
    rows = {row["desc_id"]: row for row in read_table(path) if "desc_id" in row}
    sentences = dict(OWN_DESCRIPTIONS)
    for label, sentence in methods.items():
        sentences |= {label + kind: sentence + tail for kind, tail in tails.items()}
    for label in ("preproc", *methods):
        of_what = "the fused image" if label == "preproc" else f"the image enhanced by {label}"
        sentences |= {label + contrast: f"Made from {of_what}, contrast {contrast}" for contrast in CONTRASTS}
    rows |= {
        f"desc-{key}": {"desc_id": f"desc-{key}", "description": " ".join(text.split())}
        for key, text in sentences.items()
    }
    return table_text(
        ["desc_id", "description"], [[key, row.get("description", "n/a")] for key, row in sorted(rows.items())]
    )


def _merged_lines(path: Path, lines: Iterable[str]) -> str:
    before = decoded(path.read_bytes()).splitlines() if path.exists() else []
    return "\n".join(dict.fromkeys([*before, *lines])) + "\n"


def json_text(content: Mapping[str, Any]) -> str:
    """The JSON of a dataset's file, as text."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def write_changed(path: Path, text: str) -> None:
    """Write only what differs: a shared file is not touched by each of a thousand array tasks."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return
    except (OSError, UnicodeDecodeError):
        pass
    atomic_write(path, text)
