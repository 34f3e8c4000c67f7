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

If there are fewer rows than features, the loss depends only on the part of the weights that the
rows span (the representer theorem: Kimeldorf and Wahba, "Some results on Tchebycheffian spline
functions", 1971). The bound is computed there, where it has as many unknowns a class as there are
rows; the penalty of the other part comes on top.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Samples
from fastlin.rows.interface import Rows
from fastlin.rows.passes import FLOAT64, Step, Tree, cut_of, passes
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
    unknowns = Unknowns.of(objective)
    columns, basis = unknowns.n_trained, unknowns.basis
    weights, decay, gradient = point[:, :columns], objective.decay[:columns], gradient[:, :columns]
    outside, of_outside = np.zeros(weights.shape), 0.0
    if basis is not None:
        outside = weights - weights @ basis @ basis.T
        of_outside = float(np.sum(decay * outside**2)) / 2
        gradient, decay = gradient @ basis, basis.T**2 @ decay
    counting = np.ones(objective.n_rows, np.bool_)
    best, first_step = np.inf, None
    for _ in range(ROUNDS):
        hessian = _hessian(objective, unknowns, point, counting, classes)
        inverse = _inverse(decay, hessian, gradient)
        if inverse is None:
            break
        if first_step is None:
            first_step = inverse.step
        reach = _reach(objective, unknowns, inverse.half, counting)
        objective.n_passes += 2
        fall = _fall(inverse.decrement, float(reach.max(initial=0.0)))
        best = min(best, fall + inverse.flat)
        far = reach * inverse.decrement > WITHIN
        if not far.any():
            break
        idle = far & (hessian.variance * reach**2 < IDLE)
        counting &= ~(idle if idle.any() else far)
    if first_step is None:
        return best, None
    step = np.zeros(point.shape)
    step[:, :columns] = (first_step if basis is None else first_step @ basis.T) - outside
    return best + of_outside, step


def most_columns(objective: Objective) -> int:
    """Return the largest number of unknowns of a class for which the bound is computed."""
    d = len(objective.scale) - 1
    return min(d, objective.n_rows) + objective.trains_intercept


@dataclass(frozen=True)
class Unknowns:
    """All weights and intercepts, or only what the rows span of them.

    Attributes
    ----------
    n_features : int
    trains_intercept : bool
    basis : (d, m), or (d + 1, m) with the intercept's; or None
        Its columns are orthonormal.
    """

    n_features: int
    trains_intercept: bool
    basis: NDArray[np.float64] | None = None

    @classmethod
    def of(cls, objective: Objective) -> Unknowns:
        """Return fewer unknowns than there are weights if there are fewer rows than features."""
        d, samples = len(objective.scale) - 1, objective.samples
        if objective.n_rows >= d:
            return cls(d, objective.trains_intercept)
        from scipy.linalg import block_diag

        samples = replace(samples, rows=samples.rows.here())
        blocks = scaled_blocks(samples, objective.scale[:-1], objective.n_rows)
        basis = np.linalg.qr(np.concatenate([x.to_array() for x, *_ in blocks]).T)[0]
        if objective.trains_intercept:
            basis = block_diag(basis, 1.0)
        return cls(d, objective.trains_intercept, basis)

    @property
    def n_trained(self) -> int:
        """Number of weights of a class, with the intercept if it is trained."""
        return self.n_features + self.trains_intercept

    @property
    def n_columns(self) -> int:
        """Number of unknowns of a class."""
        return self.n_trained if self.basis is None else self.basis.shape[1]

    def rows(self, x: Rows) -> NDArray[np.float64]:
        """Return what the unknowns are multiplied by."""
        rows = dense_rows(x, self.trains_intercept)
        return rows if self.basis is None else rows @ self.basis


def _fall(decrement: float, reach: float) -> float:
    """Return the most by which the objective can fall."""
    product = decrement * reach
    if not product < 1:
        return np.inf
    if product < 1e-3:  # the formula would subtract nearly equal numbers
        return decrement**2 * (1 + product / 2) / 2
    return (product + (1 - product) * float(np.log1p(-product))) / reach**2


@dataclass(frozen=True)
class _Hessian:
    """The Hessian of the loss, and what tells how it and the gradient are rounded.

    Attributes
    ----------
    matrix : (k, d, k, d)
    size : (k, d)
        Sum of the absolute values of the gradient's terms.
    variance : (n,)
        Largest second derivative of each row's weighted loss by its logits.
    largest : float
        Largest sum of the absolute values of a logit's terms.
    """

    matrix: NDArray[np.float64]
    size: NDArray[np.float64]
    variance: NDArray[np.float64]
    largest: float


def _hessian(
    objective: Objective,
    unknowns: Unknowns,
    point: NDArray[np.float64],
    counting: NDArray[np.bool_],
    classes: NDArray[np.int64] | None,
) -> _Hessian:
    variance, largest, tree = np.zeros(objective.n_rows), 0.0, Tree()
    found = _map(objective, hessian_of, counting, unknowns, point, classes)
    for index, (place, block) in enumerate(found):
        tree.add(0, index, (block.matrix, block.size))
        variance[place], largest = block.variance, max(largest, block.largest)
    matrix, size = tree.total()
    return _Hessian(matrix, size, variance, largest)


def _map(
    objective: Objective, step: Step, counting: NDArray[np.bool_], *arguments: Any
) -> Iterator[tuple[slice, Any]]:
    """Run a step on each block of the rows; yields the block's place and what it returned."""
    n, samples = objective.n_rows, objective.samples
    places = cut_of(samples.rows, FLOAT64).slices(n)
    found = passes(samples, FLOAT64, as_stored=True).map(
        step, objective.scale[:-1], n, *arguments, own=[counting[place] for place in places]
    )
    yield from zip(places, found, strict=True)


def hessian_of(
    block: Samples,
    scale: NDArray[np.float64],
    n_rows: int,
    unknowns: Unknowns,
    point: NDArray[np.float64],
    classes: NDArray[np.int64] | None,
    counting: NDArray[np.bool_],
) -> _Hessian:
    """Return one block's part of the Hessian: a step."""
    k, d = len(point), unknowns.n_columns
    matrix, size, largest = np.zeros((k, d, k, d)), np.zeros((k, d)), 0.0
    variances = np.zeros(len(block.rows))
    for x, labels, weight, places in scaled_blocks(block, scale, n_rows, counting):
        _, residual, p = cross_entropy(
            logits(x, point), labels if classes is None else classes[labels]
        )
        rows = unknowns.rows(x)
        size += (weight[:, np.newaxis] * np.abs(residual)).T @ np.abs(rows)
        terms = abs(x.matrix) @ np.abs(point[:, :-1]).T + np.abs(point[:, -1])
        largest = max(largest, float(terms.max()))
        variances[places] = weight * (p * (1 - p)).max(axis=1)
        for a in range(k):
            for b in range(a, k):
                variance = p[:, a] * (1 - p[:, a]) if a == b else -p[:, a] * p[:, b]
                part = (rows * (weight * variance)[:, np.newaxis]).T @ rows
                matrix[a, :, b] += part
                if a != b:
                    matrix[b, :, a] += part.T
    return _Hessian(matrix, size, variances, largest)


@dataclass(frozen=True)
class _Inverse:
    """What the inverse of the Hessian says about the next step.

    Attributes
    ----------
    half : (k, d, m)
        A root of the inverse.
    decrement : float
        The Newton decrement.
    step : (k, d)
        The Newton step.
    flat : float
        What the objective may fall by along directions whose curvature rounding hides.
    """

    half: NDArray[np.float64]
    decrement: float
    step: NDArray[np.float64]
    flat: float


def _inverse(
    decay: NDArray[np.float64], hessian: _Hessian, gradient: NDArray[np.float64]
) -> _Inverse | None:
    """Invert the smallest Hessian consistent with rounding; None if it is singular.

    The decrement is the largest consistent with the gradient's rounding.
    """
    (k, d), n, matrix = gradient.shape, gradient.size, hessian.matrix
    # Adding a constant to the weights of all classes changes nothing if they are not penalised, so
    # the gradient has nothing but rounding in that direction, and a positive curvature there does
    # no harm.
    if k > 1:
        for i in np.flatnonzero(decay == 0):
            matrix[:, i, :, i] += np.einsum("cc->c", matrix[:, i, :, i]).mean()
    matrix = matrix.reshape(n, n) + np.diag(np.tile(decay, k))
    root = np.sqrt(np.diag(matrix))
    if not (np.isfinite(root).all() and (root > 0).all()):
        return None
    scaled, along = matrix / root / root[:, np.newaxis], gradient.ravel() / root
    noise = 8 * ROUNDING * n
    half, flat = _root_by_cholesky(scaled, noise), 0.0
    if half is None:
        unseen = 1e3 * noise * np.abs(hessian.size.ravel() / root).max()
        half, flat = _root_by_eigenvalues(scaled, noise, np.tile(decay, k) / root**2, along, unseen)
    if half is None:
        return None
    along, half = half.T @ along, half / root[:, np.newaxis]
    step = -(half @ along).reshape(k, d)
    rounding = ROUNDING * (1 + hessian.largest) * (hessian.size.ravel() @ np.abs(half))
    decrement = float(np.linalg.norm(along) + np.linalg.norm(rounding))
    return _Inverse(half.reshape(k, d, -1), decrement, step, flat)


def _root_by_cholesky(matrix: NDArray[np.float64], noise: float) -> NDArray[np.float64] | None:
    """Return a root of the inverse of ``matrix - noise``, or None if that is not positive.

    It takes a tenth of the time of eigenvalues.
    """
    from scipy.linalg.lapack import dpotrf, dtrtri

    factor, failed = dpotrf(matrix - noise * np.eye(len(matrix)), lower=True, clean=True)
    if failed:
        return None
    inverse, failed = dtrtri(factor, lower=True)
    return None if failed else inverse.T


def _root_by_eigenvalues(
    matrix: NDArray[np.float64],
    noise: float,
    decay: NDArray[np.float64],
    gradient: NDArray[np.float64],
    unseen: float,
) -> tuple[NDArray[np.float64] | None, float]:
    """Return a root of the inverse in the directions in which the objective changes.

    Linearly dependent features leave directions in which it does not: there the ``gradient`` is at
    most ``unseen``. None if the curvature of another direction may be zero. The other result is
    what the objective may yet fall by there: if it is like ``c exp(-r t)``, as where nearly all
    rows are certain, ``c`` is the square of its slope divided by its curvature.
    """
    values, vectors = np.linalg.eigh(matrix)
    least = np.maximum(values - noise, np.einsum("ij,i->j", vectors**2, decay) / 2)
    slope = vectors.T @ gradient
    null = (least <= 0) & (np.abs(slope) <= unseen)
    curved = null & (values > 0)
    flat = float(np.sum(slope[curved] ** 2 / values[curved]))
    least, vectors = least[~null], vectors[:, ~null]
    return (None if (least <= 0).any() else vectors / np.sqrt(least)), flat


def _reach(
    objective: Objective,
    unknowns: Unknowns,
    half: NDArray[np.float64],
    counting: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the largest change of each row's logits by a step of length 1, ``(n,)``."""
    centred = half - half.mean(axis=0) if len(half) > 1 else half
    reach = np.zeros(objective.n_rows)
    for place, of_rows in _map(objective, reach_of, counting, unknowns, centred):
        reach[place] = of_rows
    return reach if len(half) == 1 else 2 * reach


def reach_of(
    block: Samples,
    scale: NDArray[np.float64],
    n_rows: int,
    unknowns: Unknowns,
    centred: NDArray[np.float64],
    counting: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """Return the largest change of a class's logit for each row of one block: a step."""
    reach = np.zeros(len(block.rows))
    for x, _, _, places in scaled_blocks(block, scale, n_rows, counting):
        rows = unknowns.rows(x)
        for of_class in centred:
            lengths = np.linalg.norm(rows @ of_class, axis=1)
            reach[places] = np.maximum(reach[places], lengths)
    return reach
