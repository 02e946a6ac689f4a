"""Anatomical regions in an image of any contrast: an atlas, a mixture, and a network trained on synthetic images."""
