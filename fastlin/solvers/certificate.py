"""How far a point's objective is above the optimum at most, from one look at all rows in float64.

Two bounds, of which the lower counts. Weak duality (:func:`fastlin.solvers.objective.dual_bound`)
always holds and is loose by as much as the curvature is above the penalty. The other, Newton's
(:mod:`fastlin.solvers.newton_bound`), is tight near the optimum but needs the Hessian, so it is for
problems of few weights.

Nothing here is rounded to the weights' type but the point itself. Of few rows, losses and residuals
are exact however small (:mod:`fastlin.solvers.exact`); of many, the backend's kernel sums them up
in float64, which is as quick as an iteration and off by some epsilons of 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastlin.blas import one_blas_thread
from fastlin.solvers import full_pass
from fastlin.solvers.exact import cross_entropy, entropy, logits, scaled_blocks
from fastlin.solvers.newton_bound import newton_bound
from fastlin.solvers.objective import dual_bound

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.solvers.objective import Objective

MOST_UNKNOWNS = 256
"""Above it the Hessian would cost more than it tells; weights and intercepts of all classes."""

CHEAP = 1e8
"""Products for a Hessian that are worth it whatever the passes so far have cost."""

PRODUCTS_OF_A_PASS = 8
"""Products of the Hessian's rows that cost as much as what a pass does with a weight."""

MANY = 2e6
"""Products of a pass from which on the backend's kernel makes it."""

ROUNDING = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Certified:
    """The objective at a point in float64, and the most by which it is above the optimum.

    ``step`` is Newton's from there, ``(k, d + 1)``, where the Hessian was taken.
    """

    objective: float
    gap: float
    step: NDArray[np.float64] | None = None


class Certificate:
    """Bounds for points of one objective.

    Attributes
    ----------
    takes_hessian : bool
        Whether the second bound is had; it depends on the passes made so far.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        columns = len(objective.scale) if objective.trains_intercept else len(objective.scale) - 1
        self._unknowns = objective.n_models * columns

    @property
    def takes_hessian(self) -> bool:
        """See the class."""
        objective, d = self.objective, self._unknowns
        cheap = objective.n_rows * d * d <= CHEAP or d <= PRODUCTS_OF_A_PASS * objective.n_passes
        return d <= MOST_UNKNOWNS and cheap

    @one_blas_thread()
    @np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
    def at(self, point: NDArray[np.float64], enough: float = np.inf) -> Certified:
        """Return the bound at the weights that are ``point (k, d + 1)`` in their own type.

        The Hessian is left out if weak duality gives ``enough`` times the objective or less.
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
            # The intercept of a class that weighs nothing goes to minus infinity. What the others'
            # objective cannot be below, neither can this; a single class's can be anything.
            if present.sum() == 1 or len(point) == 1:
                return Certified(value, value)
            point, classes = point[present], np.cumsum(present) - 1
            sums = self._sums(point, classes)
        gap = value - self._dual_bound(point, sums)
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
        return Certified(value, min(value, max(gap, 0.0) + ROUNDING * value), step)

    def _penalty(self, point: NDArray[np.float64]) -> float:
        return float(np.sum(self.objective.decay * point**2)) / 2

    @cached_property
    def _share(self) -> NDArray[np.float64]:
        """Share of each label in the weights."""
        samples, k = self.objective.samples, max(self.objective.n_models, 2)
        return np.bincount(samples.labels, samples.sample_weight, minlength=k).astype(np.float64)

    def _dual_bound(self, point: NDArray[np.float64], sums: _Sums) -> float:
        """Return the first of the module's bounds, less what rounding may have added to it."""
        objective = self.objective
        moments = None
        if objective.has_free_intercept:
            mean_row, labels_rows, share = objective.moments
            present = slice(None) if len(point) == len(share) else share > 0
            moments = mean_row, labels_rows[present], share[present]
        bound = dual_bound(
            sums.entropy, sums.gradient, point, objective.decay, objective.trains_intercept, moments
        )
        # Sums and the intercept's condition, which no bound of weights makes up for, are rounded.
        size = sums.loss + self._penalty(point) + float(np.abs(sums.gradient * point).sum())
        size += float(np.abs(point[:, -1]).max(initial=0.0)) + (1 if self._has_many else 0)
        return bound - 8 * ROUNDING * size

    @property
    def _has_many(self) -> bool:
        return self.objective.n_rows * self._unknowns > MANY

    def _sums(self, point: NDArray[np.float64], classes: NDArray[np.int64] | None = None) -> _Sums:
        """Return the means over the rows, of the labels that ``classes`` makes of theirs."""
        self.objective.n_passes += 1
        if self._has_many:
            return self._sums_by_kernel(point, classes)
        loss = mean_entropy = 0.0
        gradient = np.zeros(point.shape)
        for x, labels, weight, _ in scaled_blocks(self.objective):
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
        """Do what :meth:`_sums` does, by the backend's kernel with weights in float64."""
        objective = self.objective
        samples, problem = objective.samples, objective.problem
        folded = point * objective.scale
        model = np.ascontiguousarray(folded[:, :-1]), np.ascontiguousarray(folded[:, -1])
        labels = samples.labels
        samples = replace(
            samples,
            # What weighs nothing may be of any class.
            labels=labels if classes is None else classes[labels].clip(0).astype(np.int32),
            shift=None if samples.shift is None else samples.shift.astype(np.float64),
        )
        loss, *by_parts = full_pass.loss_gradient(
            problem.backend, samples, *model, problem.n_threads
        )
        loss = loss / objective.n_rows
        gradient = np.column_stack(by_parts) * (objective.scale / objective.n_rows)
        return _Sums(loss, loss - float(np.sum(gradient * point)), gradient)

    def _rounded(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        folded = np.column_stack(self.objective.fold(point)).astype(np.float64)
        return np.asarray(folded / self.objective.scale)


@dataclass(frozen=True)
class _Sums:
    """Mean loss, mean entropy, and the gradient of the former by the point."""

    loss: float
    entropy: float
    gradient: NDArray[np.float64]
