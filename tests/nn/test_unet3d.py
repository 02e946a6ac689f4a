"""The residual 3D U-Net."""

import torch

from bids_lfenhance.nn.unet3d import UNet3d, apply_padded


def moved(net: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return net.eval()


def test_it_begins_at_zero_and_takes_sides_of_any_length() -> None:
    net = UNet3d(3, 2, (8, 16)).eval()
    x = torch.rand(1, 3, 9, 10, 11)
    with torch.no_grad():
        assert apply_padded(net, x).shape == (1, 2, 9, 10, 11)
        assert not apply_padded(net, x).any()


def test_padding_is_cut_off_again() -> None:
    net = moved(UNet3d(2, 1, (8, 16)))
    x = torch.rand(1, 2, 8, 8, 7)
    with torch.no_grad():
        padded = torch.nn.functional.pad(x, (0, 1))
        torch.testing.assert_close(apply_padded(net, x), net(padded)[..., :7])


def test_time_reaches_every_item_by_itself() -> None:
    net = moved(UNet3d(2, 1, (8, 16), timed=True))
    x = torch.rand(2, 2, 8, 8, 8)
    with torch.no_grad():
        both = net(x, torch.tensor([0.1, 0.7]))
        alone = net(x[1:], torch.tensor([0.7]))
        other = net(x[1:], torch.tensor([0.2]))
    torch.testing.assert_close(both[1:], alone, atol=1e-5, rtol=1e-5)
    assert float((alone - other).abs().max()) > 1e-4


def test_every_parameter_learns() -> None:
    net = moved(UNet3d(2, 1, (8, 16), timed=True)).train()
    net(torch.rand(1, 2, 8, 8, 8), torch.tensor([0.3])).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().max() > 0 for parameter in net.parameters())
