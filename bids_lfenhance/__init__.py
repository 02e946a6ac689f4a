"""A BIDS App that turns ultra-low-field brain MRI into high-field-like images and says how far to trust them."""

__version__ = "0.1.0"
