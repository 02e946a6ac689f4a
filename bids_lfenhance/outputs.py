"""The files that ``enhance`` writes: what they are named, and its images."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from .config import ENDINGS
from .errors import InputError, usable_paths

if TYPE_CHECKING:
    import nibabel as nib

OUTPUTS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("image", "std", "mask", "regions"), ENDINGS),
    "volumes": (".tsv", ".csv"),
    "qc": (".html",),
}
"""What ``EnhancedScan.save`` writes, and how the name of such a file ends."""


@usable_paths()
def check_outputs(paths: Mapping[str, Path], scans: Collection[Path] = ()) -> None:
    """Raise ``InputError`` for an output whose ending does not fit, that is named twice, is an input, or is a folder.

    ``paths`` by name as in ``OUTPUTS``; ``scans`` resolved.
    """
    resolved = [path.resolve() for path in paths.values()]
    for (name, path), place in zip(paths.items(), resolved, strict=True):
        if not path.name.endswith(tuple(OUTPUTS[name])):
            found = f"a file name that ends in {' or '.join(OUTPUTS[name])} for the output, found {path}; change it"
        elif resolved.count(place) > 1:
            found = f"another file for each output, found {path} twice; name another"
        elif place in scans:
            found = f"outputs that are no inputs, found {path} as both; name another"
        elif path.is_dir():
            found = f"a file to write, found the folder {path}; add a name"
        else:
            continue
        raise InputError(f"Expected {found}.", code="bad-output", path=path)


def write_image(path: Path, image: "nib.Nifti1Image") -> Path:
    """The path, now holding the image, packed where the name says so."""
    import gzip

    import numpy as np

    from .bids.atomic import atomic_write
    from .imaging.nifti import MADE_HERE, encode_nifti

    content = encode_nifti(np.asanyarray(image.dataobj), image.affine, about=MADE_HERE)
    return atomic_write(path, content if path.name.endswith(".gz") else gzip.decompress(content))
