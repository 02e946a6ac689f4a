"""Images as the bytes of a NIfTI file."""

import gzip

import numpy as np

SCANNER, ALIGNED, MNI = 1, 2, 4
"""NIfTI codes of a frame: the scanner's own, that of another image, or that of MNI's templates."""


MADE_HERE = b"made by bids_lfenhance"
"""Description in the header of images that ``enhance`` writes, so that it does not read them as scans."""


def encode_nifti(data: np.ndarray, affine: np.ndarray, frame: int = SCANNER, about: bytes = b"") -> bytes:
    """The bytes of a ``.nii.gz``: the same array gives the same bytes, as no time stamp is written.

    Parameters
    ----------
    data : (X, Y, Z) image; written in its own type, bool as uint8
    affine : (4, 4) voxel → RAS+ mm, written as sform and qform alike
    frame : NIfTI code of both forms
    about : description kept in the header, up to 80 bytes
    """
    import nibabel as nib

    data = data.astype(np.uint8) if data.dtype == bool else data
    image = nib.Nifti1Image(data, affine)
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = about
    image.set_sform(affine, frame)
    image.set_qform(affine, frame, strip_shears=True)
    return gzip.compress(image.to_bytes(), compresslevel=4, mtime=0)
