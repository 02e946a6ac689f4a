"""``h2lo``: low field by a neural operator learned from pairs (H2LO: DeepONet, dense branch): docs/methods/h2lo.md."""
