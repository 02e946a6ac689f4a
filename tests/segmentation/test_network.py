"""The network without its training: an atlas that is read where a head lies, and a mixture that finds the contrast."""

import numpy as np
import pytest
import torch

from bids_lfenhance.nn.batch import collate
from bids_lfenhance.nn.windows import Windows
from bids_lfenhance.segmentation.atlas import LOW, NODES, SPACING_MM, build_atlas, cells
from bids_lfenhance.segmentation.loss import losses
from bids_lfenhance.segmentation.mixture import FEWEST, fit_mixture, log_likelihood
from bids_lfenhance.segmentation.network import RegionNet
from bids_lfenhance.segmentation.regions import (
    channels_of_kinds,
    groups_of_channels,
    indices,
    mirrored_channels,
    regions,
)
from bids_lfenhance.segmentation.score import dice
from bids_lfenhance.segmentation.synthesis import Appearance, paint_patch
from bids_lfenhance.simulators.source import COMMON_MM

from .heads import as_channels, as_kinds, grid_of, head_of_blocks, where_of

KINDS, WHERE = as_kinds(head_of_blocks()), where_of(grid_of())


@pytest.fixture(scope="module")
def atlas() -> np.ndarray:
    return build_atlas([(KINDS, WHERE[0])])


def network(atlas: np.ndarray) -> RegionNet:
    torch.manual_seed(0)
    net = RegionNet((4, 8), (32, 32, 32)).eval()
    net.atlas.copy_(torch.from_numpy(atlas))
    return net


def asked(net: RegionNet, item: dict[str, np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        logits = net(
            torch.from_numpy(item["input"][None].copy()), torch.from_numpy(item["template_coordinates"][None].copy())
        )
    return logits[0].float().numpy()


def test_the_atlas_counts_labels(atlas):
    """The node nearest to the middle of each block of the right half has that block's region, and most of it."""
    assert atlas.shape == (33, *NODES)
    np.testing.assert_allclose(atlas.sum(axis=0), 1, atol=1e-5)
    assert (atlas[0, -1] == 1).all(), "nothing was counted so far out"
    labels, grid = head_of_blocks(), grid_of()
    for region in (region for region in regions() if region.mirror < region.index):  # the right of each pair
        middle = grid.affine[:3, :3] @ np.argwhere(labels == region.index).mean(axis=0) + grid.affine[:3, 3]
        node = np.rint((middle - np.array(LOW) * COMMON_MM) / SPACING_MM).astype(int)
        found = atlas[:, *node]
        assert indices()[found.argmax()] == region.index
        assert found.max() > 0.7


def test_the_atlas_is_read_where_the_head_lies(atlas):
    net = network(atlas)
    prior = net.warped_prior(torch.from_numpy(WHERE)).detach()[0].numpy()
    truth = as_channels(head_of_blocks())
    inner = np.stack([part == truth[::2, ::2, ::2] for part in cells(truth)]).all(axis=0)
    found = prior.argmax(axis=0)
    assert (found == truth[::2, ::2, ::2])[inner & (found > 0)].mean() > 0.9
    np.testing.assert_allclose(prior.sum(axis=0), 1, atol=1e-4)


def test_left_is_the_mirror_of_right(atlas):
    net = network(atlas)
    where = torch.from_numpy(WHERE)
    mirrored = where * torch.tensor([-1.0, 1, 1]).view(1, 3, 1, 1, 1)
    there, here = net.warped_prior(where), net.warped_prior(mirrored)
    torch.testing.assert_close(here, there[:, torch.from_numpy(mirrored_channels())])


@pytest.mark.parametrize("contrast", ["T1w", "T2w", "FLAIR"])
def test_untrained_it_segments_by_atlas_and_mixture(atlas, contrast):
    """Better than the atlas alone, whatever the contrast."""
    net = network(atlas)
    item = paint_patch(
        KINDS, WHERE, KINDS.shape, np.random.default_rng(0), Appearance(contrast, (), True, deformed=False)
    )
    with_image = np.nanmean(dice(asked(net, item).argmax(axis=0), item["target"][0]))
    net.trust.data.zero_()
    alone = np.nanmean(dice(asked(net, item).argmax(axis=0), item["target"][0]))
    assert with_image > alone > 0.6


def test_some_voxels_of_all_are_the_same_answers(atlas):
    net = network(atlas)
    net.windows = Windows((24, 24, 24))  # the whole head at once, as training shows it
    item = paint_patch(KINDS, WHERE, KINDS.shape, np.random.default_rng(1))
    every = asked(net, item)
    given = [torch.from_numpy(item[key][None].copy()) for key in ("input", "template_coordinates")]
    with torch.no_grad():
        some = net(*given, torch.tensor([6, 1]))[0].numpy()
    np.testing.assert_allclose(some[:, 0], every[:, 1::2, 1::2, 0::2], atol=0.02)
    np.testing.assert_allclose(some[:, 1], every[:, 0::2, 0::2, 1::2], atol=0.02)


def test_the_u_net_learns_what_atlas_and_mixture_got_wrong(atlas):
    """One image by heart: half of the cross-entropy that atlas and mixture leave goes in thirty steps."""
    torch.manual_seed(0)
    net = RegionNet((8, 16), (48, 48, 48)).train()
    net.atlas.copy_(torch.from_numpy(atlas))
    item = paint_patch(KINDS, WHERE, KINDS.shape, np.random.default_rng(5))
    batch = collate([{key: value.copy() for key, value in item.items()}])
    generator, found = torch.Generator().manual_seed(0), []
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(30):
        optimiser.zero_grad()
        parts = losses({"regions": net}, batch, None, generator)
        sum(parts.values()).backward()
        optimiser.step()
        found.append(float(parts["ce"].detach()))
    assert np.mean(found[-3:]) < 0.5 * found[0]


def test_the_mixture_finds_planted_means():
    rng = np.random.default_rng(0)
    groups = torch.from_numpy(groups_of_channels())
    channels = rng.integers(0, 33, 40_000)
    truth = np.linspace(0.2, 1.8, int(groups.max()) + 1)
    seen = truth[groups.numpy()[channels]] + rng.normal(0, 0.05, channels.size)
    prior = np.full((33, channels.size), 0.3 / 32)
    prior[channels, np.arange(channels.size)] = 0.7
    mean, variance = fit_mixture(
        torch.from_numpy(seen[None].astype(np.float32)), torch.from_numpy(prior[None].astype(np.float32)), groups
    )
    np.testing.assert_allclose(mean[0, :, 0].numpy(), truth, atol=0.05)
    assert variance.sqrt().max() < 0.2, "the groups are told apart: all of them together spread by 0.46"


def test_the_mixture_is_fitted_in_single_precision_whatever_the_network_multiplies_in():
    generator = torch.Generator().manual_seed(0)
    groups = torch.from_numpy(groups_of_channels())
    seen = 1 + 0.05 * torch.randn(1, 5000, generator=generator)
    prior = torch.rand(1, 33, 5000, generator=generator).softmax(dim=1)
    whole = fit_mixture(seen, prior, groups)
    with torch.autocast("cpu", torch.bfloat16):
        half = fit_mixture(seen, prior, groups)
    assert all(torch.equal(*pair) for pair in zip(whole, half, strict=True))


def test_a_group_that_is_hardly_there_has_no_sharp_opinion():
    groups = torch.from_numpy(groups_of_channels())
    prior = torch.full((1, 33, 1000), 1e-6)
    prior[:, 1] = 1
    seen = torch.linspace(0, 2, 1000)[None]
    mean, variance = fit_mixture(seen, prior, groups)
    assert FEWEST > 1000 * 1e-6 * 33
    other = int(groups[2])
    assert mean[0, other, 0] == pytest.approx(1, abs=0.01)
    assert variance[0, other, 0] == pytest.approx(float(seen.var()), rel=0.01)


def test_the_log_likelihood_is_that_of_a_gaussian():
    from scipy.stats import norm

    seen = torch.tensor([[0.1, 0.7, 2.0]])
    found = log_likelihood(seen, (torch.tensor([[[0.5]]]), torch.tensor([[[0.09]]])))
    expected = norm(0.5, 0.3).logpdf(seen.numpy()) + 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(found[0].numpy(), expected, rtol=1e-5)


def test_channels_that_are_painted_alike_are_one_group():
    groups, channel = groups_of_channels(), channels_of_kinds()
    assert groups[channel[1]] == groups[channel[2]], "white matter of both sides"
    assert groups[channel[1]] != groups[channel[3]]
    assert sorted(set(groups.tolist())) == list(range(groups.max() + 1))
