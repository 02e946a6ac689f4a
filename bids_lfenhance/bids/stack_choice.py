"""Which low-field stacks of a session are fused: none with contrast agent beside plain ones of its contrast, no
acquisition twice.
"""

import re
from collections import Counter
from collections.abc import Sequence

from .scans import PLANES, Scan, shorten

_REFORMATS = {"MPR", "REFORMATTED", "MPR_THICK", "RESAMPLED", "PROJECTION IMAGE"}
"""Words of DICOM's ImageType by which an image was computed from a volume that was acquired."""

_ONE_ACQUISITION = {
    "rec": "reconstructions",
    "echo": "echoes",
    "inv": "inversions",
    "flip": "flip angles",
    "part": "parts",
}
"""Entities by which images of one acquisition differ."""


def choose_stacks(stacks: Sequence[Scan]) -> tuple[tuple[Scan, ...], tuple[str, ...]]:
    """The stacks that are fused, in their order, at least one; and a sentence on each choice."""
    plain = {scan.contrast for scan in stacks if not scan.contrast_agent}
    agent = [scan for scan in stacks if scan.contrast_agent and scan.contrast in plain]
    used, notes = tuple(scan for scan in stacks if scan not in agent), []
    if agent:
        notes.append(
            f"{len(agent)} stacks with contrast agent (ce-, or ContrastBolusAgent in the sidecar) were left out: "
            f"{shorten((scan.name for scan in agent), 3)}."
        )
    used, sentences = _without_reformats(used)
    return used, (*notes, *sentences, *_several_of_one(used))


def _without_reformats(stacks: Sequence[Scan]) -> tuple[tuple[Scan, ...], list[str]]:
    """The stacks without those computed from others: of each contrast what was acquired, else one reformat."""
    left_out: list[Scan] = []
    for contrast in dict.fromkeys(scan.contrast for scan in stacks):
        own = [scan for scan in stacks if scan.contrast == contrast]
        computed = [scan for scan in own if is_reformat(scan)]
        if len(computed) == len(own):  # the acquisition itself is not there
            best = min(computed, key=lambda scan: {"iso": 0, "axi": 1}.get(scan.plane or "", len(PLANES)))
            computed.remove(best)
        left_out += computed
    if not left_out:
        return tuple(stacks), []
    names = shorten((scan.name for scan in left_out), 3)
    return tuple(scan for scan in stacks if scan not in left_out), [
        f"{len(left_out)} reformats (ImageType DERIVED, MPR) were left out: {names}; each shows an acquisition that "
        "is there already."
    ]


def is_reformat(scan: Scan) -> bool:
    """Whether the sidecar says that the image was computed from another by resampling."""
    kind = scan.sidecar.get("ImageType") or []
    words = {str(word).strip().upper() for word in (kind if isinstance(kind, list) else re.split(r"\\+|,", str(kind)))}
    return "DERIVED" in words and bool(words & _REFORMATS)


def _several_of_one(stacks: Sequence[Scan]) -> list[str]:
    """A sentence where one acquisition is fused several times: its noise is then taken for independent in each."""
    sentences = []
    for key, noun in _ONE_ACQUISITION.items():
        bare = Counter(scan.name.replace(f"{key}-{scan.entities.get(key)}_", "") for scan in stacks)
        sentences += [
            f"{name} is there in several {noun} ({key}-), all are used; choose one in a BIDS filter file, key lf."
            for name in sorted(name for name, count in bare.items() if count > 1)
        ]
    return sentences
