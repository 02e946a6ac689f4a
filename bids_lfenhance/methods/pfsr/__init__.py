"""``pfsr``: a residual CNN learned from pairs, ŷ = x + r(x) (Song et al. 2026, H2LO): docs/methods/pfsr.md."""
