"""``bridge``: bridged denoising diffusion, learnt from pairs (methods.md §2)."""
