"""The baseline: resample, fuse the stacks."""
