"""The operator: its parameters, its reach, and what it does to the edge of an image."""

import pytest
import torch

from bids_lfenhance.simulators.h2lo.inference import whole
from bids_lfenhance.simulators.h2lo.network import REACH, Operator


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def operator(features: int = 16, **changes: bool) -> Operator:
    torch.manual_seed(0)
    return Operator(features, **changes)


def millimetres(size: int) -> torch.Tensor:
    """A field of ``size`` voxels of 1 mm about the origin of the common space."""
    to_template = torch.diag(torch.tensor([1 / 120, 1 / 120, 1 / 120, 1]))
    to_template[:3, 3] = -(size - 1) / 2 / 120
    return to_template


@pytest.mark.parametrize(
    ("changes", "count"),
    [({}, 581_409), ({"siren": False}, 581_409), ({"trunk": False}, 415_904 + 129)],
    ids=["published", "no-siren", "no-trunk"],
)
def test_the_published_number_of_parameters(changes: dict[str, bool], count: int) -> None:
    assert sum(parameter.numel() for parameter in operator(128, **changes).parameters()) == count


def test_it_is_the_sum_of_coefficients_times_basis() -> None:
    """Eq. 1 written out for one voxel."""
    net, image, to_template = operator(), torch.rand(1, 1, 13, 14, 15), millimetres(14)
    index = torch.tensor([[0, 29]])
    found = net(image, to_template[None], index)
    coefficients = net.branch(image)
    for number, (x, y, z) in enumerate([(0, 0, 0), (1, 1, 4)]):
        point = to_template[:3, :3] @ (torch.tensor([x, y, z]) + REACH).float() + to_template[:3, 3]
        assert net.trunk is not None
        expected = (coefficients[0, :, x, y, z] * net.trunk(point)).sum() + net.beta
        torch.testing.assert_close(found[0, number], expected)


def test_slabs_give_what_one_piece_gives() -> None:
    net, image = operator(32), torch.rand(23, 17, 16)
    in_one = whole(net, image, millimetres(20), slab=23)
    assert in_one.std() > 0
    for slab in (1, 7, 16):
        torch.testing.assert_close(whole(net, image, millimetres(20), slab=slab), in_one, atol=1e-5, rtol=0)


def test_it_sees_five_voxels_around_and_no_more() -> None:
    net, image = operator(), torch.rand(24, 16, 16)
    other = image.clone()
    other[12] += 1.0
    moved = (whole(net, image, millimetres(20)) - whole(net, other, millimetres(20))).abs().amax(dim=(1, 2))
    assert moved.nonzero()[:, 0].tolist() == list(range(12 - REACH, 12 + REACH + 1))


@pytest.mark.parametrize("siren", [True, False])
def test_place_matters(siren: bool) -> None:
    """The same image 5 mm further on gives something else; with neither sines nor trunk it does not."""
    image, here, there = torch.rand(16, 16, 16), millimetres(16), millimetres(16)
    there[0, 3] += 5 / 120
    net = operator(32, siren=siren)
    first, second = whole(net, image, here), whole(net, image, there)
    assert (first - second).abs().max() > 1e-2 * first.std()
    flat = operator(32, trunk=False)
    torch.testing.assert_close(whole(flat, image, here), whole(flat, image, there), atol=0, rtol=0)


def test_sines_keep_their_phase_in_half_precision() -> None:
    net, image = operator(32), torch.rand(1, 1, 14, 14, 14)
    exact = net(image, millimetres(14)[None])
    with torch.autocast("cpu", torch.bfloat16):
        half = net(image, millimetres(14)[None])
    assert half.dtype == torch.float32
    assert (half - exact).abs().max() < 0.1 * exact.std()
