"""``bridge``: bridged denoising diffusion, learned from pairs: docs/methods/bridge.md."""
