"""``cssdiff``: a cycle-constrained chain of diffusion steps, slice by slice (CSS-Diff): docs/methods/cssdiff.md."""
