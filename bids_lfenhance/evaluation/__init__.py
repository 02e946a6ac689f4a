"""How good an image is, how large its tissues are, and how far to trust it: numpy, scipy, scikit-image only."""
