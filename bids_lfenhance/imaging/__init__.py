"""Grids, reading and writing, intensity, bias, registration, fusion of stacks, masks."""
