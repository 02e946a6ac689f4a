"""How much faster a 3×3×3 convolution is here (nn/convolution.py) than torch's own, and a whole pass of the network,
which is also normalised in place (nn/normalisation.py).

python benchmarks/convolution.py [--threads 1]

CPU-seconds of the best of three, taken in turns, of the sizes that `fusionnet` has in a box of 96 x 112 x 96 voxels.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from bids_lfenhance.nn.convolution import Conv3x3x3
from bids_lfenhance.nn.unet3d import UNet3d, apply_padded
from bids_lfenhance.resources import keep_freed_memory

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


def row(name: str, network: Callable[[Tensor], Tensor], x: Tensor) -> None:
    """Print the seconds of a network as it is used, and as torch alone computes it: as where gradients are wanted."""

    def ours() -> Tensor:
        with torch.no_grad():
            return network(x)

    def theirs() -> Tensor:
        with torch.enable_grad():
            return network(x)

    difference = float((ours() - theirs()).abs().max() / theirs().std())
    fast, slow = seconds(ours, theirs)
    print(f"{name}\t{slow:.3f}\t{fast:.3f}\t{slow / fast:.2f}\t{difference:.0e}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as the app does in its workers
    print("what\ttorch, s\tours, s\tratio\tdifference/SD")
    for features_in, features_out, shrink in LAYERS:
        x = torch.randn(1, features_in, *(side // shrink for side in BOX))
        x = x.contiguous(memory_format=torch.channels_last_3d)
        row(f"{features_in} to {features_out}", Conv3x3x3(features_in, features_out).requires_grad_(False), x)
    network = UNet3d(17, 2, (32, 64, 128, 256)).requires_grad_(False).eval()
    nn.init.normal_(network.last.weight)
    row("network", partial(apply_padded, network), torch.randn(1, 17, *BOX))


if __name__ == "__main__":
    main()
