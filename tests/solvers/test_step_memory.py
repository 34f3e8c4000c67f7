"""L-BFGS's memory gives the direction of the two-loop recursion, in fewer products."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from fastlin.solvers import memory
from fastlin.solvers.memory import Memory

SHAPE = 3, 8
N = SHAPE[0] * SHAPE[1]


def positive(generator: np.random.Generator) -> np.ndarray:
    root = generator.standard_normal((N, N))
    return root @ root.T + np.eye(N)


def times(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    return (matrix @ vector.ravel()).reshape(SHAPE)


def two_loops(pairs: list[Any], inverse: np.ndarray, gradient: np.ndarray) -> np.ndarray:
    """Nocedal and Wright, algorithm 7.4."""
    q, shares = gradient.copy(), []
    for step, change in reversed(pairs):
        shares.append(np.vdot(step, q) / np.vdot(step, change))
        q -= shares[-1] * change
    step, change = pairs[-1]
    z = times(inverse, q) * np.vdot(step, change) / np.vdot(change, times(inverse, change))
    for (step, change), share in zip(pairs, reversed(shares), strict=True):
        z += (share - np.vdot(change, z) / np.vdot(step, change)) * step
    return -z


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_direction_is_that_of_the_recursion(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "NUMBERS_AT_ONCE", 7)
    monkeypatch.setattr(memory, "MANY", 1)
    generator = np.random.default_rng(0)
    hessian, inverse = positive(generator), np.eye(N) / 3
    most = 4
    of_threads = [Memory(SHAPE, np.dtype(dtype), most) for _ in range(3)]
    pairs: list[Any] = []
    for iteration in range(9):
        if iteration == 6:  # another preconditioner
            inverse = positive(generator)
            for kept in of_threads:
                kept.renew(partial(times, inverse))
        step = generator.standard_normal(SHAPE)
        change = times(hessian, step)
        pairs = [*pairs, (step, change)][-most:]
        gradient = generator.standard_normal(SHAPE)
        solved = times(inverse, gradient)
        found = []
        for n_threads, kept in enumerate(of_threads, start=1):
            kept.remember(step, change, times(inverse, change))
            found.append(kept.direction(gradient, solved, n_threads))
            if iteration % 2:  # it may be asked twice
                assert (kept.direction(gradient, solved, n_threads) == found[-1]).all()
        expected = two_loops(pairs, inverse, gradient)
        # Errors of the products are multiplied by the condition of a triangle of `most` rows.
        tolerance = 1e3 * float(np.finfo(dtype).eps) * np.abs(expected).max()
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=tolerance)
        assert (found[0] == found[1]).all()
        assert (found[0] == found[2]).all()
        assert len(kept) == len(pairs)


def test_a_step_along_which_nothing_curves_is_not_remembered() -> None:
    kept = Memory(SHAPE, np.dtype(np.float64), 4)
    gradient = np.random.default_rng(1).standard_normal(SHAPE)
    for change in (-gradient, 0 * gradient, np.nan * gradient):
        kept.remember(gradient, change, change)
    assert len(kept) == 0
    assert (kept.direction(gradient, 2 * gradient) == -2 * gradient).all()
    kept.remember(gradient, gradient, gradient)
    assert len(kept) == 1
    kept.clear()
    assert (kept.direction(gradient, 2 * gradient) == -2 * gradient).all()
