"""Names every layer shares, and the settings of one run."""

CONTRASTS = ("T1w", "T2w", "FLAIR")
"""Channel order of every (C, X, Y, Z) array: the BIDS suffix of each contrast."""

TISSUES = ("CSF", "GM", "WM")
"""Order of every (3, X, Y, Z) posterior; label ``i + 1`` in a dseg is ``TISSUES[i]``, 0 is background."""
