"""Linear systems with a symmetric positive operator, by preconditioned conjugate gradients."""

from collections.abc import Callable

import numpy as np


def conjugate_gradient(
    normal: Callable[[np.ndarray], np.ndarray],
    target: np.ndarray,
    start: np.ndarray,
    *,
    steps: int,
    inner: Callable[[np.ndarray, np.ndarray], float],
    diagonal: np.ndarray | None = None,
) -> np.ndarray:
    """An array like ``start``: nearer to the solution of normal(x) = target by some steps from there.

    ``inner`` is the inner product for which ``normal`` is symmetric; ``diagonal`` a preconditioner, an operator like
    ``normal`` that is a product.
    """
    x = start.copy()
    residual = target - normal(x) if x.any() else target.copy()

    def conditioned() -> np.ndarray:
        return residual.copy() if diagonal is None else residual / diagonal

    direction = conditioned()
    power = inner(residual, direction)
    for _ in range(steps):
        if power == 0:
            break
        product = normal(direction)
        length = np.float32(power / inner(direction, product))
        x += length * direction
        residual -= length * product
        scaled = conditioned()
        before, power = power, inner(residual, scaled)
        direction *= np.float32(power / before)
        direction += scaled
    return x
