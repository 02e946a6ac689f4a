"""Image processing on arrays: grids, header checks, bias, noise, registration, fusion of stacks, tissues, contrast."""
