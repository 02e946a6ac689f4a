"""Tests mirror the package; a package themselves, so that equal file names in two folders do not collide."""
