"""High-field files as the simulators take them: one grid, brain and tissue found once."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..bids.scans import sha256
from ..bids.sidecars import read_json, split_name
from ..bids.simulated import SOURCE
from ..errors import InputError
from ..imaging.headers import open_scan, thick_voxels
from ..imaging.preprocess import prepare_reference
from ..imaging.volume import Stack
from ..simulators.presets import named_preset, stack_geometry
from ..simulators.session import replay
from ..simulators.source import HighField, high_field_sources


def load_high_field(scans: Sequence[tuple[str, str, Path]]) -> tuple[list[HighField], tuple[str, ...]]:
    """The contrasts of one high-field session on one RAS grid of 1 mm, each interpolated once; and warnings.

    Parameters
    ----------
    scans : (name, contrast, file), one per contrast

    Raise ``InputError`` if a file cannot be read, shows no brain, or has the contrast of another sequence.
    """
    opened = [(name, contrast, *open_scan(path)) for name, contrast, path in scans]
    volume, _, quality = prepare_reference([(name, contrast, image) for name, contrast, image, _ in opened])
    sources = high_field_sources(volume, {contrast: name for name, contrast, *_ in opened})
    warnings = [sentence for *_, own in opened for sentence in own]
    warnings += [sentence for name, _, image, _ in opened for sentence in thick_voxels(name, image.affine)]
    return sources, (*warnings, *quality["Warnings"])


def replay_scan(sidecar: Path, source_dir: Path, weights: str | Path | None = None) -> Stack:
    """The simulated scan that a sidecar is of, made again from its sources, bit for bit.

    ``source_dir`` is the high-field dataset; ``weights`` (folder, file or name) are those of a learned simulator, where
    they have moved since. Raise ``InputError`` if files or weights are not those that were simulated from.
    """
    about = read_json(sidecar)
    contrast = split_name(sidecar.name)[1]
    try:
        paths = [source_dir / uri.partition(f"bids:{SOURCE}:")[2] for uri in about["Sources"]]
        hashes, record, word = about["SourceSha256"], json.dumps(about["Simulation"]), about["SimulationPreset"]
    except (KeyError, TypeError, AttributeError) as error:
        message = f"Expected {sidecar} to be of a simulated scan, found no {error}; give another."
        raise InputError(message, code="not-simulated", path=sidecar) from error
    for path, known in zip(paths, hashes, strict=True):
        if sha256(path) != known:
            message = f"Expected {path} as it was simulated from, found another file; restore it."
            raise InputError(message, code="other-file", path=path)
    sources, _ = load_high_field([(path.name, split_name(path.name)[1], path) for path in paths])
    source = next(one for one in sources if one.contrast == contrast)
    return replay(record, source, stack_geometry(named_preset(word, contrast), source.grid), weights)
