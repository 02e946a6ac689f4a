"""Anatomical regions of any image of a head: a network that learned from painted label maps, and what it tells."""
