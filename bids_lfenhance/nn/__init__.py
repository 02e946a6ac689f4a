"""Building blocks in torch that methods share, and the records of functions that describe a method."""
