"""``h2lo``: low field by a neural operator that learnt from pairs (H2LO: DeepONet, dense branch; methods.md §4.1)."""
