import pytest

from bids_lfenhance.errors import InputError
from bids_lfenhance.methods.inr.inference import parse_contrast


@pytest.mark.parametrize("text", ["", "1,2", "a,b,c", "1,1,0", "1,1,nan"])
def test_a_vector_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected the contrast as auto, none or three numbers"):
        parse_contrast(text)
