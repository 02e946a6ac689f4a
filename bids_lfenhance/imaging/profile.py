"""Constants of the Gaussian slice profile, for the operators in numpy and in torch."""

import math

FWHM_PER_SD = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, in standard deviations."""

PAD_MM = 8.0
"""Border of zeros around the grid, mm: three standard deviations of a 5 mm profile, so that nothing wraps around."""
