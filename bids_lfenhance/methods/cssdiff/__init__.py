"""``cssdiff``: diffusion of the residual of the learned estimate by slices (CSS-Diff): docs/methods/cssdiff.md."""
