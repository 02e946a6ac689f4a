"""The physics forward in torch, differentiable in image, tissue and contrast, for cycle losses.

The operator is the package's own ``Acquisition``: its adjoint is exact, so the gradient is, and nothing of the Fourier
arithmetic is written twice. It runs on the processor, wherever the tensors live.
"""

from typing import Any

import torch

from ..imaging.acquisition import Acquisition


class _Measure(torch.autograd.Function):
    """The samples of an image; linear, so the gradient is the adjoint whatever the image."""

    @staticmethod
    def forward(ctx: Any, image: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
        ctx.acquisition = acquisition
        samples = acquisition.forward(image.detach().cpu().numpy())
        return torch.from_numpy(samples).to(image)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (samples,) = gradients
        image = ctx.acquisition.adjoint(samples.detach().cpu().numpy())
        return torch.from_numpy(image.copy()).to(samples), None


def measure(image: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
    """(I, J, K): what the stack measures of an (X, Y, Z) image on the acquisition's grid, without noise."""
    measured: torch.Tensor = _Measure.apply(image, acquisition)
    return measured


def contrast_gain(tissue: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """(X, Y, Z): Σ c_k P_k, factor 1 for what is no tissue; ``tissue`` (3, X, Y, Z), ``factor`` (3,) CSF, GM, WM."""
    return 1 + torch.tensordot(factor - 1, tissue, dims=1)


def simulate(image: torch.Tensor, tissue: torch.Tensor, factor: torch.Tensor, acquisition: Acquisition) -> torch.Tensor:
    """(I, J, K): the low-field stack of a high-field image, without bias field and noise.

    ``image`` (X, Y, Z), ``tissue`` (3, X, Y, Z) posteriors of CSF, GM, WM, ``factor`` (3,), all on one device.
    Differentiable in all three.
    """
    return measure(image * contrast_gain(tissue, factor), acquisition)
