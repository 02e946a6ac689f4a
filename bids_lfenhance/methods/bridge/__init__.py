"""``bridge``: bridged denoising diffusion, learnt from pairs: docs/methods/bridge.md."""
