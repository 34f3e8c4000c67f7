"""How far two right answers may differ, derived from the epsilon and the length of a sum.

Rounding a number to the nearest has an error of at most half an epsilon of it, up as often as down.
So the error of a sum grows like the root of its length: with overwhelming probability it is below
``4 * eps / 2 * sqrt(length) * magnitude``, where ``magnitude`` is the sum of the absolute values
of the terms (Higham and Mary, "A new approach to probabilistic rounding error analysis", 2019,
theorem 2.4 with lambda = 4). Errors that are independent from row to row add up as the root of the
sum of their squares; errors that are the same in all rows just add up.

==================  ==========================================================================
quantity            bound
==================  ==========================================================================
logit               the sum over the features, of magnitude ``|W| |u| + |b|``, on its own; that
                    of ``|W| |shift|``, which is subtracted from all rows alike
loss of a row       2 logits' bounds (the slopes of the loss by its logits add up to at most 2
                    in absolute value), and ``ELEMENTARY`` epsilons of ``1 + largest |logit|``,
                    alike if an approximation is off to one side
residual of a row   2 p (1 - p) logits' bounds (the slopes of a probability by all logits add up
                    to that), and ``ELEMENTARY`` epsilons of ``p + [label]``, likewise
gradient            the residuals' bounds times ``|u| + |shift|``, and the rounding of the sum
                    over the rows
==================  ==========================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EPSILON = {"float32": 2.0**-23, "float64": 2.0**-52}

ELEMENTARY = 8
"""Error, in epsilons, of exp (2 ulp), log (2 ulp), a division and the operations around them."""

ACROSS_BACKENDS = 1e-10
"""Float64 gradients of two backends agree to this, relative to the largest component."""

DIFFERENCE_STEP = EPSILON["float64"] ** (1 / 3)
"""Step of a central difference for which its two errors, step**2 and eps / step, are equal."""

DIFFERENCE = 10 * EPSILON["float64"] ** (2 / 3)
"""Error of a central difference with that step, relative to the function and its derivatives."""


def of_sum(dtype: str, length: int, magnitude: Any) -> Any:
    """Bound the error of a sum of ``length`` products with absolute values of that sum."""
    return 2 * EPSILON[dtype] * np.sqrt(length) * magnitude


@dataclass(frozen=True)
class Bounds:
    """Bounds for one problem and one type of arithmetic; shapes as those of the answers."""

    logits: NDArray[np.float64]  # (n, k)
    losses: NDArray[np.float64]  # (n,)
    loss_sum: float
    weights_gradient: NDArray[np.float64]  # (k, d)
    intercept_gradient: NDArray[np.float64]  # (k,)


def bounds(
    dtype: str,
    rows: NDArray[Any],
    labels: NDArray[Any],
    weights: NDArray[Any],
    intercept: NDArray[Any],
    sample_weight: NDArray[np.float64] | None,
    shift: NDArray[Any] | None,
) -> Bounds:
    """Return the bounds of the table, for sums over the rows."""
    n, d = rows.shape
    u, w, b = (np.asarray(a, np.float64) for a in (rows, weights, intercept))
    s = np.zeros(d) if shift is None else np.asarray(shift, np.float64)
    factor = np.ones(n) if sample_weight is None else sample_weight
    size = np.abs(u) + np.abs(s)
    z = (u - s) @ w.T + b
    own = of_sum(dtype, d + 1, np.abs(u) @ np.abs(w).T + np.abs(b))
    alike = of_sum(dtype, d, np.abs(w) @ np.abs(s)).max()
    own_worst = own.max(axis=1)

    elementary = ELEMENTARY * EPSILON[dtype]
    own_loss = 2 * factor * own_worst
    alike_loss = factor * (2 * alike + elementary * (1 + np.abs(z).max(axis=1)))
    if len(w) == 1:
        p = 1 / (1 + np.exp(-np.clip(z, -700, 700)))
        target = labels[:, np.newaxis] == 1
    else:
        p = np.exp(z - z.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        target = np.arange(len(w)) == labels[:, np.newaxis]
    weight = factor[:, np.newaxis]
    own_residual = weight * 2 * p * (1 - p) * own_worst[:, np.newaxis]
    alike_residual = weight * (2 * p * (1 - p) * alike + elementary * (p + target))
    magnitude = weight * np.abs(p - target)
    return Bounds(
        logits=own + alike,
        losses=own_loss + alike_loss,
        loss_sum=float(np.sqrt(np.sum(own_loss**2)) + alike_loss.sum()),
        weights_gradient=(
            np.sqrt((own_residual**2).T @ size**2)
            + alike_residual.T @ size
            + of_sum(dtype, n, magnitude.T @ size)
        ),
        intercept_gradient=(
            np.sqrt(np.sum(own_residual**2, axis=0))
            + alike_residual.sum(axis=0)
            + of_sum(dtype, n, magnitude.sum(axis=0))
        ),
    )


def assert_within(got: Any, right: Any, tolerance: Any) -> None:
    """Assert that each number is finite and no further from the right one than its tolerance."""
    got, right = np.asarray(got, np.float64), np.asarray(right, np.float64)
    assert got.shape == right.shape
    assert np.isfinite(got).all(), "an answer is not finite"
    # What no row has a part in must be right to the bit.
    ratio = np.abs(got - right) / np.maximum(tolerance, np.finfo(np.float64).tiny)
    worst = np.unravel_index(ratio.argmax(), ratio.shape)
    assert (ratio <= 1).all(), (
        f"at {tuple(map(int, worst))}: got {got[worst]!r}, right is {right[worst]!r}, "
        f"{ratio[worst]:.3g} times the tolerance apart"
    )
