"""Examples on disk: one folder per session, low and high field on one grid, read through memory maps."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..bids.atomic import atomic_folder
from ..errors import InputError
from ..imaging.grid import box_of, translation
from ..imaging.volume import Volume
from ..nn.crop import MARGIN
from ..nn.example import Example, Kind
from ..nn.intensity_scale import Scale
from ..nn.settings import JsonObject

RECORD = "example.json"
FIELDS = ("low", "high")


def write_example(
    folder: str | Path,
    low: Volume,
    high: Volume,
    mask: np.ndarray,
    to_template: np.ndarray,
    kind: Kind,
    subject: str,
    session: str,
    origin: JsonObject,
    *,
    dataset: str = "",
    sources: Sequence[tuple[str, str]] = (),
    alike: bool = False,
) -> Path:
    """The folder, written whole or not at all.

    Parameters
    ----------
    low, high : the session at both fields on one grid, in any units; ``present`` says which contrasts each has
    mask : (X, Y, Z) bool, brain; the arrays are cropped to its box and ``crop.MARGIN`` voxels more
    to_template : (4, 4) voxel of that grid → common-space coordinates in about [−1, 1]
    kind : "simulated" where ``low`` was made from ``high``, "pairs" where both were acquired
    origin : plain JSON: how it came about; ``licence`` is for cards, ``trained_on`` (whom a simulator saw) bars leaks
    dataset : name of the dataset the person belongs to; a simulated session keeps that of its high field
    sources : (path, sha256) of the files behind it
    alike : a network that learns from it shall aim at high field in the contrast of this low field (``curves``)
    """
    if low.grid != high.grid or mask.shape != low.grid.shape:
        raise ValueError(f"low, high and mask must share one grid, found {low.grid}, {high.grid}, mask {mask.shape}")
    if not mask.any() or not low.present.any() or not high.present.any():
        raise InputError(f"Expected a brain and images at both fields for {subject}, found none; check the scans.")
    box = box_of(mask, MARGIN)
    shift = translation([part.start for part in box])
    inside = np.asarray(mask, bool)[box]
    record: dict[str, object] = {"kind": kind, "dataset": dataset, "subject": subject, "session": session}
    record |= {"to_template": (to_template @ shift).tolist(), "affine": (low.grid.affine @ shift).tolist()}
    arrays = {"mask": inside}
    channels: dict[str, dict[str, np.ndarray]] = {}
    for name, volume in zip(FIELDS, (low, high), strict=True):
        image = volume.image[(slice(None), *box)]
        scale = Scale.of(image, inside)
        arrays[name] = scale.apply(image, inside)[volume.present].astype(np.float16)
        channels[name] = dict(zip(volume.contrasts, arrays[name], strict=True))
        record[name] = {"contrasts": list(volume.contrasts), "scales": scale.values[volume.present].tolist()}
    record |= {"origin": dict(origin), "sources": [list(source) for source in sources]}
    if alike:
        record["curves"] = _curves(channels["low"], channels["high"], inside)
    return _write(folder, arrays, record)


def _curves(
    low: Mapping[str, np.ndarray], high: Mapping[str, np.ndarray], inside: np.ndarray
) -> dict[str, list[list[float]]]:
    """``contrast_matching.contrast_curve`` of every contrast that both fields have: contrast → (X, Y, Z) scaled."""
    from .contrast_matching import contrast_curve  # here, so that examples are read without scipy

    return {name: contrast_curve(image, high[name], inside).tolist() for name, image in low.items() if name in high}


def write_labels(
    folder: str | Path,
    labels: np.ndarray,
    template_coordinates: np.ndarray,
    to_template: np.ndarray,
    affine: np.ndarray,
    subject: str,
    *,
    dataset: str,
    origin: JsonObject,
    sources: Sequence[tuple[str, str]] = (),
) -> Path:
    """The folder of a label map, written whole or not at all.

    ``labels`` (X, Y, Z) uint8, ``template_coordinates`` (W, 3, X/2, Y/2, Z/2) float16, the rest as ``Example``.
    """
    record: dict[str, object] = {"kind": "labels", "dataset": dataset, "subject": subject, "session": ""}
    record |= {"to_template": to_template.tolist(), "affine": affine.tolist(), "origin": dict(origin)}
    record |= {name: {"contrasts": [], "scales": []} for name in FIELDS}
    return _write(
        folder,
        {"labels": labels, "template_coordinates": template_coordinates},
        record | {"sources": [list(source) for source in sources]},
    )


def write_head(
    folder: str | Path,
    images: np.ndarray,
    contrasts: Sequence[str],
    subject: str,
    session: str = "",
    *,
    dataset: str,
    origin: Mapping[str, object],
    sources: Sequence[tuple[str, str]] = (),
) -> Path:
    """The folder of a head that low field is simulated from, written whole or not at all.

    ``images`` (n, X, Y, Z) uint8 in ``contrasts``, or (X, Y, Z) uint8 labels, from which any of ``contrasts`` is
    painted; see ``training.heads``. The rest as ``Example``.
    """
    labelled = images.ndim == 3
    known = {"contrasts": list(contrasts), "scales": []}
    record: dict[str, object] = {"kind": "maps" if labelled else "heads", "dataset": dataset}
    record |= {"subject": subject, "session": session, "to_template": np.eye(4).tolist(), "affine": np.eye(4).tolist()}
    record |= {"low": known, "high": known, "origin": {"simulator": "online", **origin}}
    return _write(
        folder, {"labels" if labelled else "high": images}, record | {"sources": [list(source) for source in sources]}
    )


def write_stacks(
    folder: str | Path,
    arrays: Mapping[str, np.ndarray],
    curves: Mapping[str, np.ndarray],
    contrasts: Sequence[str],
    subject: str,
    session: str,
    *,
    dataset: str,
    origin: JsonObject,
    sources: Sequence[tuple[str, str]] = (),
) -> Path:
    """The folder of an acquired pair with its stacks, written whole or not at all.

    ``arrays`` and ``curves`` as of ``training.acquired``; the rest as ``Example``.
    """
    known = {"contrasts": list(contrasts), "scales": []}
    record: dict[str, object] = {"kind": "stacks", "dataset": dataset, "subject": subject, "session": session}
    record |= {"to_template": np.eye(4).tolist(), "affine": np.eye(4).tolist(), "low": known, "high": known}
    record |= {"resolution": arrays["resolution"].tolist(), "origin": dict(origin)}
    record |= {"curves": {name: curve.tolist() for name, curve in curves.items()}}
    kept = {name: array for name, array in arrays.items() if name != "resolution"}
    return _write(folder, kept, record | {"sources": [list(source) for source in sources]})


def _write(folder: str | Path, arrays: Mapping[str, np.ndarray], record: Mapping[str, object]) -> Path:
    def fill(draft: Path) -> None:
        for name, array in arrays.items():
            np.save(draft / f"{name}.npy", array)
        (draft / RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

    return atomic_folder(folder, fill)


def read_example(folder: str | Path) -> Example:
    """The example of a folder that ``write_example`` wrote; its arrays are opened when first used."""
    folder = Path(folder)
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        return Example(
            folder,
            record["kind"],
            record["dataset"],
            record["subject"],
            record["session"],
            {name: tuple(record[name]["contrasts"]) for name in FIELDS},
            np.array(record["to_template"]),
            np.array(record["affine"]),
            {name: tuple(record[name]["scales"]) for name in FIELDS},
            record["origin"],
            tuple((path, digest) for path, digest in record["sources"]),
            {name: np.array(curve) for name, curve in record.get("curves", {}).items()},
            np.array(record.get("resolution", []), np.float32),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected an example in {folder}, found no {RECORD} that can be read ({error}); write it again."
        ) from error


def list_examples(root: str | Path) -> list[Example]:
    """All examples at or below a folder, in the order of their paths."""
    folders = sorted(path.parent for path in Path(root).rglob(RECORD) if not path.parent.name.startswith(".tmp-"))
    return [read_example(folder) for folder in folders]
