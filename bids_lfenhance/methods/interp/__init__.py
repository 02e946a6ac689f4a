"""The honest baseline: resample, fuse the stacks."""
