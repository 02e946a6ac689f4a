"""The regions of the segmentation, and how label maps are read as them."""

import json
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..data import read_text
from ..errors import InputError


@dataclass(frozen=True)
class Region:
    """``index`` and ``freesurfer`` its number and name in FreeSurfer's colour table; ``mirror`` the number of the other
    side, its own in the middle; ``tissue`` (3,) shares of CSF, GM, WM; ``colour`` "#rrggbb".
    """

    index: int
    name: str
    mirror: int
    tissue: tuple[float, float, float]
    colour: str
    freesurfer: str


@dataclass(frozen=True)
class Kind:
    """Labels that are synthesised alike: ``labels`` of a label map, the ``region`` they belong to (0: none), and the
    ``group`` of kinds that share one intensity.
    """

    labels: frozenset[int]
    region: int
    group: str
    brain: bool


@cache
def regions() -> tuple[Region, ...]:
    """The regions in the order of the network's channels; channel 0 is none of them, so a region's is its place + 1.

    >>> len(regions()), regions()[0].name
    (32, 'left cerebral white matter')
    """
    rows = json.loads(read_text("regions.json"))["regions"]
    return tuple(
        Region(r["index"], r["name"], r["mirror"], tuple(r["tissue"]), r["colour"], r["freesurfer"]) for r in rows
    )


@cache
def kinds() -> tuple[Kind, ...]:
    """What label maps are painted as; kind 0 is background, so a kind's number is its place + 1."""
    rows = json.loads(read_text("regions.json"))["kinds"]
    return tuple(
        Kind(frozenset(r["labels"]), r["region"], r["group"], bool(r["region"]) or r.get("brain", False)) for r in rows
    )


def indices() -> np.ndarray:
    """(33,) int: FreeSurfer's number of each channel, 0 first.

    >>> indices()[:4].tolist()
    [0, 2, 3, 4]
    """
    return np.array([0, *(region.index for region in regions())])


def mirrored_channels() -> np.ndarray:
    """(33,) int: the channel of the other side, for each channel; its own inverse."""
    channel = {number: place for place, number in enumerate(indices().tolist())}
    return np.array([0, *(channel[region.mirror] for region in regions())])


def read_kinds(labels: np.ndarray) -> np.ndarray:
    """(X, Y, Z) uint8 kinds, 0 for background, of a map of FreeSurfer's numbers; numbers that are no kind count as 0.

    ``InputError`` where a region of the list has no label: a network would learn that it does not exist.
    """
    rounded = np.rint(labels).astype(np.int32)
    number = np.zeros(max(int(rounded.max()), 0) + 1, np.uint8)
    for place, kind in enumerate(kinds(), start=1):
        number[[label for label in kind.labels if label < number.size]] = place
    read = number[np.maximum(rounded, 0)]
    found = {kinds()[place - 1].region for place in np.flatnonzero(np.bincount(read.ravel())).tolist() if place}
    missing = [region.name for region in regions() if region.index not in found]
    if missing:
        raise InputError(
            f"Expected labels of all {len(regions())} regions by FreeSurfer's numbers, found none of "
            f"{', '.join(missing)}; give a segmentation of the whole head (SynthSeg's training maps have them)."
        )
    return read


def channels_of_kinds() -> np.ndarray:
    """(1 + kinds,) uint8: the network's channel of each kind."""
    channel = {number: place for place, number in enumerate(indices().tolist())}
    return np.array([0, *(channel[kind.region] for kind in kinds())], np.uint8)


def groups_of_channels() -> np.ndarray:
    """(33,) int64: which channels are equally bright, as the label maps are painted; the background is a group alone.

    >>> groups = groups_of_channels()
    >>> bool(groups[1] == groups[19]), int(groups[0])
    (True, 0)
    """
    names = ["", *({kind.region: kind.group for kind in reversed(kinds())}[region.index] for region in regions())]
    order = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], np.int64)


def label_table() -> list[tuple[str, str, str, str]]:
    """(index, name, colour, name in FreeSurfer's colour table) of each region, as a table of labels wants them.

    >>> label_table()[0]
    ('2', 'left cerebral white matter', '#f28585', 'Left-Cerebral-White-Matter')
    """
    return [(str(region.index), region.name, region.colour, region.freesurfer) for region in regions()]
