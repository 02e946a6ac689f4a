"""High-field files as the simulators take them: one grid, brain and tissue found once."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..bids.sidecars import read_json, split_name
from ..bids.simulated import SOURCE
from ..derivatives.simulated import sha256
from ..errors import InputError, MethodError
from ..imaging.anatomy import CORRELATION, VOLUME_ML, Anatomy, find_anatomy
from ..imaging.headers import open_scan
from ..imaging.preprocess import prepare_reference
from ..imaging.tissue import segment_tissue
from ..imaging.volume import Stack
from ..simulators.presets import check_order, named_preset, stack_geometry
from ..simulators.session import replay
from ..simulators.source import HighField, common_place


def load_heads(scans: Sequence[tuple[str, str, Path]]) -> tuple[list[HighField], tuple[str, ...]]:
    """The contrasts of one high-field session on one RAS grid of 1 mm, each interpolated once; and warnings.

    Parameters
    ----------
    scans : (name, contrast, file), one per contrast

    An ``InputError`` where a file cannot be read, shows no brain, or has the contrast of another sequence.
    """
    opened = [(name, contrast, *open_scan(path)) for name, contrast, path in scans]
    volume, _, quality = prepare_reference([(name, contrast, image) for name, contrast, image, _ in opened])
    first = volume.contrasts[0]
    anatomy = find_anatomy(volume.channel(first), volume.grid, first)
    check_brain(anatomy, next(name for name, contrast, *_ in opened if contrast == first))
    place = common_place(anatomy.warp.affine, volume.grid)
    # one anatomy for all contrasts: they are of one head, and the first shows grey and white matter best
    tissue, _ = segment_tissue(volume.channel(first), anatomy.mask, anatomy.priors)
    names = {contrast: name for name, contrast, *_ in opened}
    heads = []
    for contrast in volume.contrasts:
        head = HighField(volume.channel(contrast), contrast, tissue, anatomy.mask, volume.grid, place)
        check_contrast(head, names[contrast])
        heads.append(head)
    said = [*quality["Warnings"], *anatomy.quality["Warnings"]]
    return heads, (*(sentence for *_, warnings in opened for sentence in warnings), *said)


def replay_scan(sidecar: Path, source_dir: Path) -> Stack:
    """The simulated scan that a sidecar is of, made again from its sources, bit for bit.

    ``source_dir`` is the high-field dataset; an ``InputError`` where its files are not those that were simulated from.
    """
    about = read_json(sidecar)
    contrast = split_name(sidecar.name)[1]
    try:
        paths = [source_dir / uri.partition(f"bids:{SOURCE}:")[2] for uri in about["Sources"]]
        hashes, record, word = about["SourceSha256"], json.dumps(about["Simulation"]), about["SimulationPreset"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"Expected {sidecar} to be of a simulated scan, found no {error}; give another.") from error
    for path, known in zip(paths, hashes, strict=True):
        if sha256(path) != known:
            raise InputError(f"Expected {path} as it was simulated from, found another file; restore it.")
    heads, _ = load_heads([(path.name, split_name(path.name)[1], path) for path in paths])
    head = next(head for head in heads if head.contrast == contrast)
    return replay(record, head, stack_geometry(named_preset(word, contrast), head.grid))


def check_contrast(head: HighField, name: str) -> None:
    """Nothing, or an ``InputError`` where the tissues are not as bright as the file's name has it."""
    try:
        check_order(head.tissue_means(), head.contrast)
    except MethodError as error:
        raise InputError(f"Expected {name} to be of the contrast it is named after, found another: {error}.") from error


def check_brain(anatomy: Anatomy, name: str) -> None:
    """Nothing, or an ``InputError`` where what was found is no brain: low field made of it would teach nonsense."""
    volume, correlation = anatomy.quality["MaskVolumeMl"], anatomy.quality["TemplateCorrelation"]
    low, high = VOLUME_ML
    if not low <= volume <= high or correlation < CORRELATION:
        raise InputError(
            f"Expected a brain of {low:.0f} to {high:.0f} ml in {name}, correlating with the template's tissues by "
            f"{CORRELATION} or more, found {volume:.0f} ml and {correlation:.2f}; look at the image, or leave it out."
        )
