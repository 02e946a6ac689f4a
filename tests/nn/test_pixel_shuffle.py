import pytest
import torch

from bids_lfenhance.nn.pixel_shuffle import pixel_shuffle3d, pixel_unshuffle3d


@pytest.mark.parametrize("by", [1, 2, 4])
def test_folding_loses_nothing_and_keeps_neighbours_together(by: int) -> None:
    image = torch.arange(8**3.0).reshape(1, 1, 8, 8, 8)
    folded = pixel_unshuffle3d(image, by)
    assert folded.shape == (1, by**3, 8 // by, 8 // by, 8 // by)
    torch.testing.assert_close(pixel_shuffle3d(folded, by), image)
    assert set(folded[0, :, 0, 0, 0].tolist()) == set(image[0, 0, :by, :by, :by].flatten().tolist())
