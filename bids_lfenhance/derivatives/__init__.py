"""What lands in OUT_DIR: which files, with which sidecars, written in which order."""
