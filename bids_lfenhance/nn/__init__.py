"""Torch blocks shared by methods, and the record of functions that a method is."""
