"""Image metrics, agreement of volumes, the risk map, and what an image is usable for."""
