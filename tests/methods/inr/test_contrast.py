import numpy as np
import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.inr.inference import parse_contrast
from bids_lfenhance.methods.inr.settings import InrSettings


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,1,0", "1,1,nan"])
def test_a_vector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Expected the contrast as auto, none or three numbers"):
        parse_contrast(text)


@pytest.mark.parametrize(
    "wrong",
    [{"psf_points": 7}, {"psf_points": 1}, {"steps": 0}, {"layers": 0}, {"batch": 0}, {"width": 1}, {"rate": -1.0},
     {"activation": "ff", "width": 7}, {"contrast": "foo"}, {"omega": -3.0}, {"tv": -1.0}, {"omega": np.inf},
     {"rate": np.inf}, {"restore": np.nan}],
)  # fmt: skip
def test_settings_that_cannot_be_used_are_refused_before_anything_is_computed(wrong: dict) -> None:
    with pytest.raises(InputError, match="xpected"):
        InrSettings(**wrong)
