"""Image metrics, agreement of volumes and the risk map: numpy, scipy, scikit-image only."""
