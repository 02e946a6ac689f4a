"""How much faster a 3×3×3 convolution is here (nn/convolution.py) than torch's own, and a whole pass of the network.

python benchmarks/convolution.py [--threads 1]

CPU-seconds of the best of three, taken in turns, of the sizes that `fusionnet` has in a box of 96 x 112 x 96 voxels.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from bids_lfenhance.nn.convolution import Conv3x3x3
from bids_lfenhance.nn.unet3d import UNet3d, apply_padded

BOX = (96, 112, 96)
LAYERS = ((17, 32, 1), (32, 32, 1), (64, 32, 1), (64, 64, 2), (128, 64, 2), (128, 128, 4), (256, 256, 8))
"""Features in and out, and by how much the box is shrunk."""


def seconds(*works: Callable[[], object]) -> list[float]:
    """The least CPU-seconds of each."""
    best = [float("inf")] * len(works)
    for _ in range(3):
        for index, work in enumerate(works):
            start = time.process_time()
            work()
            best[index] = min(best[index], time.process_time() - start)
    return best


def use_torch(network: nn.Module) -> None:
    """Put torch's convolutions in the place of ours."""
    for name, child in network.named_children():
        if isinstance(child, nn.Conv3d):
            sizes: Any = child.kernel_size, child.stride, child.padding
            plain = nn.Conv3d(child.in_channels, child.out_channels, *sizes)
            plain.load_state_dict(child.state_dict())
            setattr(network, name, plain)
        else:
            use_torch(child)


def row(name: str, ours: nn.Module, theirs: nn.Module, x: Tensor) -> None:
    """Print the seconds of two networks, and how far their results differ."""
    theirs.load_state_dict(ours.state_dict())
    difference = float((ours(x) - theirs(x)).abs().max() / theirs(x).std())
    fast, slow = seconds(lambda: ours(x), lambda: theirs(x))
    print(f"{name}\t{slow:.3f}\t{fast:.3f}\t{slow / fast:.2f}\t{difference:.0e}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    print("what\ttorch, s\tours, s\tratio\tdifference/SD")
    with torch.no_grad():
        for features_in, features_out, shrink in LAYERS:
            x = torch.randn(1, features_in, *(side // shrink for side in BOX))
            x = x.contiguous(memory_format=torch.channels_last_3d)
            theirs = nn.Conv3d(features_in, features_out, 3, padding=1)
            row(f"{features_in} to {features_out}", Conv3x3x3(features_in, features_out), theirs, x)
        ours, plain = UNet3d(17, 2, (32, 64, 128, 256)), UNet3d(17, 2, (32, 64, 128, 256))
        use_torch(plain)
        nn.init.normal_(ours.last.weight)
        x = torch.randn(1, 17, *BOX)
        row("network", _padded(ours), _padded(plain), x)


def _padded(network: UNet3d) -> nn.Module:
    """The network as it is used: channels last."""

    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return apply_padded(self.network, x)

    return Padded()


if __name__ == "__main__":
    main()
