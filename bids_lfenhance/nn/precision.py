"""Half precision for networks, and for nothing else: losses stay in float32."""

from collections.abc import Mapping

import torch
from torch import nn
from torch.utils._pytree import tree_map


def bf16_is_native(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 in hardware; where it does not, half precision is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def run_in_bf16(net: nn.Module, device: torch.device) -> None:
    """From now on calls of the network run under bfloat16 autocast; weights stay, and results come back in, float32."""
    forward = net.forward

    def half(*inputs: object, **named: object) -> object:
        with torch.autocast(device.type, torch.bfloat16):
            outputs = forward(*inputs, **named)
        return tree_map(_widened, outputs)

    net.forward = half


def use_precision(nets: Mapping[str, nn.Module], precision: str, device: torch.device) -> bool:
    """Run networks under bfloat16 autocast where "bf16" is asked for and native to the device; whether they now do."""
    half = precision == "bf16" and bf16_is_native(device)
    if half:
        for net in nets.values():
            run_in_bf16(net, device)
    return half


def _widened(value: object) -> object:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16 else value
