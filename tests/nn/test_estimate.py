"""What the estimate's network is given, and how its answer is read."""

import math

import torch

from bids_lfenhance.nn.estimate import CHANNELS, network_input, read_output


def slots() -> tuple[torch.Tensor, ...]:
    image = torch.zeros(1, 4, 2, 2, 2)
    image[0, 0], image[0, 1] = 1.0, 3.0
    covered = torch.zeros(1, 4, 2, 2, 2, dtype=torch.bool)
    covered[0, 0] = True
    covered[0, 1, 0] = True
    image = image * covered
    present = torch.tensor([[True, True, False, False]])
    resolution = torch.zeros(1, 4, 3)
    resolution[0, 0], resolution[0, 1] = torch.tensor([1.0, 2.0, 5.0]), torch.tensor([2.0, 6.0, 1.0])
    return image, covered, present, resolution, torch.tensor([1.0])


def test_the_base_is_the_mean_over_the_slots_that_cover() -> None:
    x = network_input(*slots())
    assert x.shape == (1, CHANNELS, 2, 2, 2)
    assert (x[0, 0, 0] == 2).all()
    assert (x[0, 0, 1] == 1).all()
    numbers = x[0, 5:, 0, 0, 0]
    expected = [1, 1, 0, 0, 0.3, 0.8, 0.6, 0.2, 0.4, 0.2, 0.5, 1.0]
    torch.testing.assert_close(numbers, torch.tensor(expected))


def test_an_answer_of_zeros_is_the_base_with_the_laplace_scale_of_one() -> None:
    x = network_input(*slots())
    mean, scale = read_output(x, torch.zeros(1, 2, 2, 2, 2))
    torch.testing.assert_close(mean, x[:, :1])
    torch.testing.assert_close(scale, torch.full_like(scale, math.sqrt(2)))
    _, small = read_output(x, torch.full((1, 2, 2, 2, 2), -100.0))
    torch.testing.assert_close(small, torch.full_like(small, math.sqrt(2) * math.exp(-8)))
