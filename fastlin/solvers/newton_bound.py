"""The Newton step from a point, and an upper bound on how far the objective can fall.

The loss of a row is self-concordant in the sense of Bach ("Self-concordant analysis for logistic
regression", 2010, section 2): its third derivative along a step is at most its second times the
range ``S`` of the change of the row's logits. Integrating that twice gives a lower bound of the
loss after the step: its linear approximation, plus its second derivative times
``(e^-S + S - 1) / S^2``, which falls from 1/2 as ``S`` grows. Let ``l`` be the Newton decrement,
the norm of the gradient in the inverse of the Hessian ``H``, and let ``S <= L t`` hold for all rows
and all steps of length ``t`` in the norm of ``H``. Then the objective cannot fall by more than the
maximum over ``t`` of ``l t - (e^-Lt + L t - 1) / L^2``, which is ``(a + (1 - a) ln(1 - a)) / L^2``
if ``a = l L < 1``: about ``l^2 / 2``. Rows may be left out of ``H`` and ``L``, because a convex
loss is above its tangent. Rows that are certain and far away are left out: they add nothing to
``H`` and make ``L`` large.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlin.solvers.exact import cross_entropy, dense_rows, logits, scaled_blocks
from fastlin.solvers.objective import Objective

ROUNDING = float(np.finfo(np.float64).eps)

ROUNDS = 6
"""Selections of rows for the Hessian, each without rows that the last one found too far away."""

WITHIN = 0.5
"""Largest product of the decrement and a row's reach for which the row is kept."""

IDLE = 0.05
"""Largest fraction of the Hessian, over all directions, that a row left out may contribute."""


def newton_bound(
    objective: Objective,
    point: NDArray[np.float64],
    gradient: NDArray[np.float64],
    classes: NDArray[np.int64] | None = None,
) -> tuple[float, NDArray[np.float64] | None]:
    """Return the bound, infinite if there is none, and the step, None if it cannot be computed.

    Parameters
    ----------
    objective : Objective
    point : (k, d + 1)
        Weights of the scaled rows, and intercepts.
    gradient : (k, d + 1)
        Gradient of the objective at ``point``.
    classes : (all classes,) or None
        The row of ``point`` for each label, if some labels have none.
    """
    counting = np.ones(objective.n_rows, np.bool_)
    best, step = np.inf, None
    for _ in range(ROUNDS):
        hessian, size, variance = _hessian(objective, point, counting, classes)
        inverse = _inverse(objective, hessian, size, gradient)
        if inverse is None:
            break
        step = inverse.step if step is None else step
        reach = _reach(objective, inverse.half, counting)
        objective.n_passes += 2
        best = min(best, _fall(inverse.decrement, float(reach.max(initial=0.0))))
        far = reach * inverse.decrement > WITHIN
        if not far.any():
            break
        idle = far & (variance * reach**2 < IDLE)
        counting &= ~(idle if idle.any() else far)
    return best, step


def _fall(decrement: float, reach: float) -> float:
    """Return the most by which the objective can fall."""
    product = decrement * reach
    if not product < 1:
        return np.inf
    if product < 1e-3:  # the formula would subtract nearly equal numbers
        return decrement**2 * (1 + product / 2) / 2
    return (product + (1 - product) * float(np.log1p(-product))) / reach**2


def _hessian(
    objective: Objective,
    point: NDArray[np.float64],
    counting: NDArray[np.bool_],
    classes: NDArray[np.int64] | None,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the Hessian of the loss, the size of the gradient's terms, and each row's variance.

    The Hessian is ``(k, d, k, d)``, the size ``(k, d)``. The variance ``(n,)`` is the largest
    second derivative of each row's weighted loss by its logits.
    """
    k = len(point)
    d = point.shape[1] if objective.trains_intercept else point.shape[1] - 1
    hessian, size, largest = np.zeros((k, d, k, d)), np.zeros((k, d)), np.zeros(objective.n_rows)
    for x, labels, weight, places in scaled_blocks(objective, counting):
        _, residual, p = cross_entropy(
            logits(x, point), labels if classes is None else classes[labels]
        )
        rows = dense_rows(x, objective.trains_intercept)
        size += (weight[:, np.newaxis] * np.abs(residual)).T @ np.abs(rows)
        largest[places] = weight * (p * (1 - p)).max(axis=1)
        for a in range(k):
            for b in range(a, k):
                variance = p[:, a] * (1 - p[:, a]) if a == b else -p[:, a] * p[:, b]
                block = (rows * (weight * variance)[:, np.newaxis]).T @ rows
                hessian[a, :, b] += block
                if a != b:
                    hessian[b, :, a] += block.T
    return hessian, size, largest


@dataclass(frozen=True)
class _Inverse:
    """A root of the inverse Hessian ``(k, d, m)``, the Newton decrement, and the Newton step."""

    half: NDArray[np.float64]
    decrement: float
    step: NDArray[np.float64]


def _inverse(
    objective: Objective,
    hessian: NDArray[np.float64],
    size: NDArray[np.float64],
    gradient: NDArray[np.float64],
) -> _Inverse | None:
    """Invert the smallest Hessian consistent with rounding; None if it is singular."""
    k, d = size.shape
    decay, g = objective.decay[:d], gradient[:, :d]
    # Adding a constant to the weights of all classes changes nothing if they are not penalised, so
    # the gradient has nothing but rounding in that direction, and a positive curvature there does
    # no harm.
    if k > 1:
        for i in np.flatnonzero(decay == 0):
            hessian[:, i, :, i] += np.einsum("cc->c", hessian[:, i, :, i]).mean()
    matrix = hessian.reshape(g.size, g.size) + np.diag(np.tile(decay, k))
    root = np.sqrt(np.diag(matrix))
    if not (np.isfinite(root).all() and (root > 0).all()):
        return None
    values, vectors = np.linalg.eigh(matrix / root / root[:, np.newaxis])
    noise = 8 * ROUNDING * g.size
    of_decay = np.einsum("ij,i->j", vectors**2, np.tile(decay, k) / root**2)
    least = np.maximum(values - noise, of_decay / 2)
    along = vectors.T @ (g.ravel() / root)
    # Linearly dependent features leave directions in which the objective does not change.
    unseen = 1e3 * noise * np.abs(size.ravel() / root).max()
    null = (least <= 0) & (np.abs(along) <= unseen)
    least, along, vectors = least[~null], along[~null], vectors[:, ~null]
    if (least <= 0).any():
        return None
    half, along = vectors / root[:, np.newaxis] / np.sqrt(least), along / np.sqrt(least)
    step = np.zeros(gradient.shape)
    step[:, :d] = -(half @ along).reshape(k, d)
    return _Inverse(half.reshape(k, d, -1), float(np.linalg.norm(along)), step)


def _reach(
    objective: Objective, half: NDArray[np.float64], counting: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the largest change of each row's logits by a step of length 1, ``(n,)``."""
    centred = half - half.mean(axis=0) if len(half) > 1 else half
    reach = np.zeros(objective.n_rows)
    for x, _, _, places in scaled_blocks(objective, counting):
        rows = dense_rows(x, objective.trains_intercept)
        for of_class in centred:
            lengths = np.linalg.norm(rows @ of_class, axis=1)
            reach[places] = np.maximum(reach[places], lengths)
    return reach if len(half) == 1 else 2 * reach
