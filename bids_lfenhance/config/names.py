"""Names that every layer shares."""

CONTRASTS = ("T1w", "T2w", "FLAIR")
"""Channel order of every (C, X, Y, Z) array: the BIDS suffix of each contrast."""

TISSUES = ("CSF", "GM", "WM")
"""Order of every (3, X, Y, Z) posterior; label ``i + 1`` in a dseg is ``TISSUES[i]``, 0 is background."""

TOTAL_INTRACRANIAL = "total intracranial"
"""Name of the row of all regions together: no label, and no region."""

WHOLE = "TotalIntracranial"
"""Key, in the sidecar of a segmentation, of the row of all regions together, the CSF as far as the image shows it."""

CUT = "n/a where the field of view cuts it, or may hide it"
"""What tables of volumes say of structures that the scans do not show whole."""

METHOD_MAPS = {
    "Sample": ": one possible image, drawn around the enhanced one",
    "DrawsStd": ": standard deviation over draws, a check of that of the error",
}
"""Maps that a method may give of its own result: the end of their ``desc-``, and of their description."""

DERIVED_MAPS = {
    "Change": ": minus the plain mean of the scans, in the same units",
    "Error": ": expected absolute error, in the same units",
}
"""Maps made of any enhanced image, the second where its method tells the scale of its error; as ``METHOD_MAPS``."""

MAP_ENDS = ("Std", "Risk", *DERIVED_MAPS, *METHOD_MAPS)
"""How the ``desc-`` of every map beside an enhanced image ends: no result may have such a label."""

LEVELS = ("participant", "group", "simulate", "train")
"""The analysis levels, the default first."""

SEGMENTATIONS = ("builtin", "synthseg", "none")
"""Segmenters of the regions: the bundled network, FreeSurfer's mri_synthseg, none."""

PROTOCOLS = ("brain-fit", "max", "h2lo", "ulfenc-val", "ulfenc-final", "slice2d")
"""Protocols of the comparison with high field (``evaluation.protocols``); the first is the primary one."""

BUDGETS = ("sloppy", "cpu", "gpu")
"""How much computing a method may spend: a test, two cores, a GPU (the published size)."""

ENDINGS = (".nii.gz", ".nii")
"""How the name of an image ends."""
