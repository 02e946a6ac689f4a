"""A training in one small folder, for a machine with a GPU and little else: heads, weights to start from, settings.

``python -m bids_lfenhance.training FOLDER`` trains there, where only torch, numpy and safetensors are installed.
"""

import io
import json
import lzma
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from ..bids.atomic import atomic_folder
from ..errors import InputError
from ..methods.residual_options import ESTIMATE
from ..nn.example import Example
from ..nn.settings import JsonObject
from ..nn.weights import LoadedWeights, load_weights
from .examples import RECORD, read_example
from .split import Split

LIMIT_MB = 60
"""Largest size of a pack, MB: small enough to upload to a GPU machine at every call."""

PACK, HEADS, START, ESTIMATE_WEIGHTS = "pack.json", "heads", "start.safetensors", "estimate.safetensors"
"""What is to be done; a folder for each head; weights to begin with, and of the estimate that a flow builds on."""


@dataclass(frozen=True)
class Pack:
    """A training as it was packed: ``settings`` of the method, and ``options`` of ``TrainOptions``, plain values."""

    method: str
    settings: JsonObject
    split: Split
    options: JsonObject
    examples: Sequence[Example]
    start: LoadedWeights | None = None


def write_pack(folder: str | Path, pack: Pack, weights_name: str) -> Path:
    """The folder, written whole or not at all; raise InputError where it would be larger than ``LIMIT_MB``.

    Test people stay behind. ``settings`` without the device.
    """
    kept = [one for one in pack.examples if one.person in (*pack.split.train, *pack.split.validation)]
    files = {f"{HEADS}/{one.folder.name}/{name}": content for one in kept for name, content in _files(one).items()}
    if pack.start is not None:
        files[START] = pack.start.path.read_bytes()
    if "estimate_weights" in pack.settings:
        files[ESTIMATE_WEIGHTS] = load_weights(pack.settings["estimate_weights"], ESTIMATE, ()).path.read_bytes()
    about = {
        "method": pack.method,
        "weights_name": weights_name,
        "settings": dict(pack.settings),
        "split": asdict(replace(pack.split, test=())),
        "options": dict(pack.options),
        "start": pack.start is not None,
        "heads": [one.folder.name for one in kept],
    }
    files[PACK] = json.dumps(about, indent=1).encode()
    size = sum(map(len, files.values())) / 1e6
    if size > LIMIT_MB:
        raise InputError(
            f"Expected a pack of at most {LIMIT_MB} MB, found {size:.0f} MB in {len(kept)} heads; leave some out with "
            "--participant-label or --split.",
            code="pack-too-large",
        )

    def fill(draft: Path) -> None:
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)

    return atomic_folder(folder, fill)


def read_pack(folder: str | Path) -> Pack:
    """The pack; its heads are unpacked beside it the first time, into ``examples``."""
    folder = Path(folder)
    try:
        about = json.loads((folder / PACK).read_text(encoding="utf-8"))
        settings, options = about["settings"], about["options"]
        given = about["split"]
        split = Split(tuple(given["train"]), tuple(given["validation"]), how=given["how"])
        names, has_start = about["heads"], about["start"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"Expected a pack in {folder}, written by train --pack, found no {PACK} that can be read ({error})."
        ) from error
    examples = [_unpacked(folder / HEADS / name, folder / "examples" / name) for name in names]
    if "estimate_weights" in settings:
        settings["estimate_weights"] = str(folder / ESTIMATE_WEIGHTS)
    start = load_weights(folder / START, about["weights_name"], ()) if has_start else None
    return Pack(about["method"], settings, split, options, examples, start)


def _files(example: Example) -> dict[str, bytes]:
    """The record of a head or of a pair, and its arrays in few bytes."""
    arrays = {path.stem: np.load(path, allow_pickle=False) for path in sorted(example.folder.glob("*.npy"))}
    packed = {f"{name}.xz": compressed(array.astype(np.uint8)) for name, array in arrays.items()}
    return {RECORD: (example.folder / RECORD).read_bytes(), **packed}


def compressed(array: np.ndarray) -> bytes:
    """An array of bytes (…, X, Y, Z) as differences along X, which compress better."""
    content = io.BytesIO()
    np.save(content, np.diff(array, axis=-3, prepend=np.zeros_like(array[..., :1, :, :])))
    return lzma.compress(content.getvalue())


def expanded(content: bytes) -> np.ndarray:
    """The array of ``compressed``."""
    steps = np.load(io.BytesIO(lzma.decompress(content)), allow_pickle=False)
    return np.cumsum(steps, axis=-3, dtype=np.uint8)


def _unpacked(source: Path, target: Path) -> Example:
    if not target.is_dir():

        def fill(draft: Path) -> None:
            json.loads((source / RECORD).read_bytes())
            for path in source.iterdir():
                if path.suffix == ".xz":
                    np.save(draft / f"{path.stem}.npy", expanded(path.read_bytes()))
                else:
                    (draft / path.name).write_bytes(path.read_bytes())

        try:
            atomic_folder(target, fill)
        except InputError:  # of where it is written to
            raise
        except (OSError, EOFError, ValueError, lzma.LZMAError) as error:
            raise InputError(
                f"Expected a whole head in {source}, found one that cannot be read ({error}); copy the pack again.",
                code="bad-pack",
                path=source,
            ) from error
    return read_example(target)
