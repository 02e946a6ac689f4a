"""Anatomical regions of any image of a head: a network that learnt from painted label maps, and what it tells."""
