"""``interp``, the baseline: the stacks resampled and fused."""
