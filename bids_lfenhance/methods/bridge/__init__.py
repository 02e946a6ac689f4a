"""``bridge``: bridged diffusion of the residual of the learned estimate: docs/methods/bridge.md."""
