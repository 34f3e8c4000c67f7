"""An upper bound on how far a point's objective is above the optimum, computed in float64.

It is the smaller of two bounds. Weak duality (:func:`fastlin.solvers.objective.dual_bound`) always
gives one, which is looser the more the curvature exceeds the penalty. The Newton bound
(:mod:`fastlin.solvers.newton_bound`) is tight near the optimum but needs the Hessian, so it serves
problems with few weights.

Only the point itself is rounded to the weights' type. For few rows, losses and residuals keep their
relative precision however small they are (:mod:`fastlin.solvers.exact`). For many rows the
backend's kernel sums them in float64, which takes as long as an iteration and is off by a few
epsilons of 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.solvers.exact import cross_entropy, entropy, logits, scaled_blocks
from fastlin.solvers.newton_bound import most_columns, newton_bound
from fastlin.solvers.objective import Objective, dual_bound

MOST_UNKNOWNS = 512
"""Most weights and intercepts, over all classes, for which the Hessian is worth its cost."""

CHEAP = 1e8
"""A Hessian of at most this many products is computed however cheap the passes so far were."""

PRODUCTS_OF_A_PASS = 8
"""Products of the Hessian that cost as much as a pass spends on one weight and row."""

MANY = 2e6
"""A pass of more products than this is left to the backend's kernel."""

ROWS_OF_TERMS = 1024
"""Rows that tell how much larger the sums' terms are than the sums."""

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Certified:
    """The objective at a point in float64, and an upper bound on its distance from the optimum.

    ``step (k, d + 1)`` is Newton's step from there, if the Hessian was computed.
    """

    objective: float
    gap: float
    step: NDArray[np.float64] | None = None


class Certificate:
    """Bounds for points of one objective.

    Attributes
    ----------
    takes_hessian : bool
        Whether the Newton bound is computed; it depends on the number of passes made so far.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        columns = len(objective.scale) if objective.trains_intercept else len(objective.scale) - 1
        self._unknowns = objective.n_models * columns

    @property
    def takes_hessian(self) -> bool:
        """Whether the Hessian costs less than the passes so far, or little."""
        objective = self.objective
        d = objective.n_models * most_columns(objective)
        cheap = objective.n_rows * d * d <= CHEAP or d <= PRODUCTS_OF_A_PASS * objective.n_passes
        return d <= MOST_UNKNOWNS and cheap

    @property
    def has_one_class(self) -> bool:
        """Whether all rows of positive weight are of one class, and a free intercept has no limit.

        Then the infimum of the objective is 0, from which every point is as far as its objective.
        """
        objective = self.objective
        free = objective.trains_intercept and objective.decay[-1] == 0
        return bool(free and np.count_nonzero(self._share) == 1)

    @one_blas_thread()
    @np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
    def at(self, point: NDArray[np.float64], enough: float = np.inf) -> Certified:
        """Return the bound at ``point (k, d + 1)``, rounded to the weights' type.

        The Hessian is skipped if weak duality gives at most ``enough`` times the objective.
        """
        objective = self.objective
        point = self._rounded(point)
        sums = self._sums(point)
        value = sums.loss + self._penalty(point)
        if not np.isfinite(value):
            return Certified(value, np.inf)
        classes = step = None
        present = self._share > 0
        free = objective.trains_intercept and objective.decay[-1] == 0
        if free and not present.all():
            # The intercept of a class without weight goes to minus infinity. A lower bound on the
            # objective of the other classes holds here too; for a single class that bound is 0.
            if present.sum() == 1 or len(point) == 1:
                return Certified(value, value)
            point, classes = point[present], np.cumsum(present) - 1
            sums = self._sums(point, classes)
        gap = value - self._dual_bound(point, sums, classes)
        if gap > enough * value and self.takes_hessian:
            gradient = sums.gradient + objective.decay * point
            if not objective.trains_intercept:
                gradient[:, -1] = 0
            above = value - (sums.loss + self._penalty(point))
            newton, of_present = newton_bound(objective, point, gradient, classes)
            gap = min(gap, above + newton)
            if of_present is not None:
                step = np.zeros((objective.n_models, point.shape[1]))
                step[present if classes is not None else slice(None)] = of_present
        # The value itself is a rounded sum, off by more than half a unit in the last place.
        return Certified(value, min(value, max(gap, 0.0) + 2 * ROUNDING * value), step)

    def _penalty(self, point: NDArray[np.float64]) -> float:
        return float(np.sum(self.objective.decay * point**2)) / 2

    @cached_property
    def _share(self) -> NDArray[np.float64]:
        """Sum of the weights of each label."""
        samples, k = self.objective.samples, max(self.objective.n_models, 2)
        return np.bincount(samples.labels, samples.sample_weight, minlength=k).astype(np.float64)

    def _dual_bound(
        self, point: NDArray[np.float64], sums: _Sums, classes: NDArray[np.int64] | None
    ) -> float:
        """Return the bound of weak duality, less what rounding may have added to it."""
        objective = self.objective
        moments = None
        if objective.has_free_intercept:
            mean_row, labels_rows, share = objective.moments
            present = slice(None) if len(point) == len(share) else share > 0
            moments = mean_row, labels_rows[present], share[present]
        bound = dual_bound(
            sums.entropy, sums.gradient, point, objective.decay, objective.trains_intercept, moments
        )
        # The sums are rounded, and so is the intercept's optimality, which the bound assumes exact.
        size = sums.loss + self._penalty(point) + self._size_of_terms(point, classes)
        size += float(np.abs(point[:, -1]).max(initial=0.0)) + (1 if self._has_many else 0)
        return bound - 8 * ROUNDING * size

    def _size_of_terms(
        self, point: NDArray[np.float64], classes: NDArray[np.int64] | None
    ) -> float:
        """Return how much larger the rounding of the sums is than an epsilon.

        It is the mean over rows of the products of weights and features that make up the logits, in
        absolute values, times what the loss and the entropy change with a logit. Some of the rows
        tell it.
        """
        objective, n = self.objective, self.objective.n_rows
        some = objective.samples.part(np.arange(0, n, -(-n // ROWS_OF_TERMS)))
        size = share = 0.0
        for x, labels, weight, _ in scaled_blocks(some, objective.scale[:-1], n):
            z = logits(x, point)
            _, residual, p = cross_entropy(z, labels if classes is None else classes[labels])
            terms = abs(x.matrix) @ np.abs(point[:, :-1]).T + np.abs(point[:, -1])
            size += float(weight @ ((np.abs(residual) + p * (1 - p)) * terms).sum(axis=1))
            share += float(weight.sum())
        return size * float(self._share.sum()) / n / share if share else 0.0

    @property
    def _has_many(self) -> bool:
        return self.objective.n_rows * self._unknowns > MANY

    def _sums(self, point: NDArray[np.float64], classes: NDArray[np.int64] | None = None) -> _Sums:
        """Return the means over the rows, whose labels ``classes`` renumbers."""
        if self._has_many:
            return self._sums_by_kernel(point, classes)
        self.objective.n_passes += 1
        loss = mean_entropy = 0.0
        gradient = np.zeros(point.shape)
        objective = self.objective
        samples = replace(objective.samples, rows=objective.samples.rows.here())
        for x, labels, weight, _ in scaled_blocks(samples, objective.scale[:-1], objective.n_rows):
            z = logits(x, point)
            losses, residual, _ = cross_entropy(z, labels if classes is None else classes[labels])
            loss += float(weight @ losses)
            mean_entropy += float(weight @ entropy(z))
            residual = residual * weight[:, np.newaxis]
            gradient[:, :-1] += (x.matrix.T @ residual).T
            gradient[:, -1] += residual.sum(axis=0)
        return _Sums(loss, mean_entropy, gradient)

    def _sums_by_kernel(
        self, point: NDArray[np.float64], classes: NDArray[np.int64] | None
    ) -> _Sums:
        """Return the same as :meth:`_sums`, by the backend's kernel with float64 weights."""
        objective = self.objective
        samples = objective.samples
        folded = point * objective.scale
        model = np.ascontiguousarray(folded[:, :-1]), np.ascontiguousarray(folded[:, -1])
        if classes is not None:  # a row without weight may have any label
            samples = samples.renumbered(classes.clip(0).astype(np.int32))
        shift = None if samples.shift is None else samples.shift.astype(np.float64)
        samples = replace(samples, shift=shift)
        loss, gradient = objective.mean_loss(samples, *model)
        return _Sums(loss, loss - float(np.sum(gradient * point)), gradient)

    def _rounded(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        folded = np.column_stack(self.objective.fold(point)).astype(np.float64)
        return np.asarray(folded / self.objective.scale)


@dataclass(frozen=True)
class _Sums:
    """Mean loss, mean entropy, and the gradient of the mean loss by the point."""

    loss: float
    entropy: float
    gradient: NDArray[np.float64]
