"""Conjugate gradients against a direct solution."""

import numpy as np
import pytest

from bids_lfenhance.imaging.conjugate_gradient import conjugate_gradient


@pytest.fixture
def system(rng) -> tuple[np.ndarray, np.ndarray]:
    """A (12, 12) positive matrix, mostly diagonal and of bad condition, and a right-hand side."""
    root = rng.standard_normal((12, 12)) * np.geomspace(1, 30, 12)
    return 0.02 * root.T @ root + np.diag(np.geomspace(1, 900, 12)), rng.standard_normal(12)


def inner(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other)


def test_as_many_steps_as_unknowns_solve_it(system) -> None:
    matrix, target = system
    found = conjugate_gradient(
        lambda x: matrix @ x, target, np.zeros(12), steps=40, inner=inner, diagonal=np.diag(matrix)
    )
    np.testing.assert_allclose(found, np.linalg.solve(matrix, target), rtol=1e-4)


def test_a_few_steps_come_nearer_and_a_preconditioner_helps(system) -> None:
    matrix, target = system
    solution, start = np.linalg.solve(matrix, target), np.ones(12)

    def error(diagonal: np.ndarray | None) -> float:
        x = conjugate_gradient(lambda x: matrix @ x, target, start, steps=4, inner=inner, diagonal=diagonal)
        return float((x - solution) @ matrix @ (x - solution))

    before = float((start - solution) @ matrix @ (start - solution))
    assert error(np.diag(matrix)) < error(None) < before
    np.testing.assert_array_equal(start, 1)


def test_the_solution_itself_stays(system) -> None:
    matrix, _ = system
    start = np.arange(12.0)
    found = conjugate_gradient(lambda x: matrix @ x, matrix @ start, start, steps=3, inner=inner)
    np.testing.assert_allclose(found, start)
