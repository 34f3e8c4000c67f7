"""A preconditioner: the Hessian of a sample of the rows, which a solver can use from the start.

The Hessian of softmax regression is ``mean((diag(p) - p p^T) kron x x^T)`` plus the penalty's
(Boehning, "Multinomial logistic regression algorithm", 1992, section 2). Its diagonal blocks, one
for each class, differ only in their weights ``p_c (1 - p_c)``; here the mean over all classes
replaces each of them. With two classes there is one block, which is exact. A sample of the rows
suffices, because a preconditioner may be rough (Byrd, Chin, Neveitt and Nocedal, "On the use of
stochastic Hessian information in optimization methods for machine learning", 2011).

Once the probabilities differ, a block for each class (:mod:`fastlin.solvers.class_blocks`) saves
half of the iterations. It is used if it costs no more passes over the rows than it may save. With
many features only diagonals are kept, one for each class (:mod:`fastlin.solvers.class_diagonals`).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.kernels.threads import map_in_threads
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import Rows
from fastlin.solvers.class_blocks import ClassBlocks
from fastlin.solvers.class_diagonals import ClassDiagonals
from fastlin.solvers.covariance import SATURATED, countable, inverse_of, seen
from fastlin.solvers.objective import Objective

ROWS_A_FEATURE = 10
"""Rows sampled for each feature; with fewer the sample's curvature would be far from the rows'."""

LEAST_ROWS = 1024

MOST_FEATURES = 2048
"""With more features only the diagonal is kept: the matrix would cost more than it saves."""

COLUMNS_AT_ONCE = 256

UPDATED_AFTER, UPDATED_EVERY = 6, 60
"""The sampled Hessian is recomputed after iteration 6, when most of the decrease is done, and every
60 iterations after that."""

BLOCKS_AFTER, BLOCKS_WAIT = 14, 3
"""Blocks of classes are recomputed after 14 iterations, or as many as take 3 times as long as the
update, because near the optimum they change little."""

WORTH = 16
"""Blocks of classes are computed if that takes no longer than so many passes, or than the
iterations so far."""


class Curvature:
    """Multiplies gradients by the inverse of an approximate Hessian.

    It holds a copy of the sampled rows, and a second one during an update.

    Attributes
    ----------
    diagonal_only : bool
        Whether features are treated as uncorrelated.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        samples, d = objective.samples, len(objective.scale) - 1
        self.diagonal_only = d > MOST_FEATURES
        weight = samples.sample_weight
        counting, n_counting = countable(objective)
        n_sampled = min(n_counting, max(LEAST_ROWS, ROWS_A_FEATURE * min(d, MOST_FEATURES)))
        chosen = np.sort(np.random.default_rng(0).choice(counting, n_sampled, replace=False))
        self._weight = np.ones(n_sampled)
        if weight is not None:  # so that the sample's mean estimates the mean over all rows
            self._weight = weight[chosen] * (n_counting / objective.n_rows)
        rows: Rows = samples.rows.part(chosen)
        if not self.diagonal_only:
            rows = DenseRows(rows.to_array())
        dtype, scale = objective.problem.dtype, objective.scale[:-1]
        self._sample = rows.scaled(dtype, samples.shift, scale)
        self._rows: Any = self._sample.matrix
        self._blocks, self._by_class, self._updated_after = ClassBlocks(objective), False, 0
        self._diagonals: ClassDiagonals | None = None
        if self.diagonal_only and objective.n_models > 1:
            self._diagonals = ClassDiagonals()

    def is_due(self, made: int) -> bool:
        """Whether to update after ``made`` iterations."""
        if made <= UPDATED_AFTER:
            return made == UPDATED_AFTER
        wait: float = UPDATED_EVERY
        if self._by_class:
            wait = max(BLOCKS_AFTER, BLOCKS_WAIT * self._blocks.passes)
        return made - self._updated_after >= wait

    def update(self, point: NDArray[np.float64], decay: NDArray[np.float64], made: int = 0) -> None:
        """Compute the curvature at ``point (k, d + 1)`` with a penalty of ``decay (d + 1,)``.

        ``made`` iterations led there. The result is not finite if the arithmetic overflows.
        """
        self._updated_after = made
        worth = WORTH if made >= UPDATED_AFTER else 0
        self._by_class = (
            not self.diagonal_only
            and made > 0
            and self._blocks.are_possible
            and self._blocks.passes <= max(worth, made)
        )
        if self._by_class:
            self._blocks.update(point, decay)
        elif self._diagonals is not None:
            curvature = self._weight[:, np.newaxis] * self._variances(point)
            intercept_decay = decay[-1] if self.objective.trains_intercept else np.inf
            self._diagonals.update(self._sample, curvature, decay[:-1], intercept_decay)
        else:
            self._update_shared(point, decay)

    def solve(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse of the approximate Hessian times ``m`` gradients, ``(m k, d + 1)``.

        If ``diagonal_only``, it takes one gradient at a time.
        """
        if self._diagonals is not None:
            return self._diagonals.solve(gradients, self.objective.problem.n_threads)
        return self._blocks.solve(gradients) if self._by_class else self._solve_shared(gradients)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _update_shared(self, point: NDArray[np.float64], decay: NDArray[np.float64]) -> None:
        curvature = self._weight * self._variances(point).mean(axis=1)
        if not curvature.mean() >= SATURATED:
            curvature = self._weight * SATURATED
        n_sampled = len(curvature)
        self._total = float(curvature.mean())
        mean_row = np.asarray(curvature @ self._rows, np.float64) / curvature.sum()
        # Eliminating the intercept leaves the covariance; if the intercept is penalised or fixed, a
        # part of the mean's outer product remains.
        intercept_decay = decay[-1] if self.objective.trains_intercept else np.inf
        self._share = self._total / (self._total + intercept_decay)
        left = self._total * (1 - self._share)
        self._mean_row = mean_row
        if self.diagonal_only:
            second = np.asarray(curvature @ self._sample.squared().matrix, np.float64) / n_sampled
            variance = np.maximum(second - self._total * mean_row**2, 0) + left * mean_row**2
            self._inverse = 1 / (self._seen(variance, mean_row) + decay[:-1])
            return
        matrix = self._covariance(np.sqrt(curvature / n_sampled), mean_row)
        matrix += left * np.outer(mean_row, mean_row)
        diagonal = self._seen(np.diag(matrix), mean_row)
        np.fill_diagonal(matrix, diagonal + decay[:-1])
        self._inverse = inverse_of(matrix, self._rows.dtype)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def _solve_shared(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        intercept = self._share * gradient[:, -1:]
        weights = gradient[:, :-1] - intercept * self._mean_row
        if self.diagonal_only:
            weights = weights * self._inverse
        else:
            weights = weights.astype(self._inverse.dtype) @ self._inverse
        out = np.empty_like(gradient)
        out[:, :-1] = weights
        out[:, -1:] = intercept / self._total - self._share * (weights @ self._mean_row)[:, None]
        return out

    def _seen(
        self, variance: NDArray[np.float64], mean_row: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return seen(variance, self._total, mean_row, len(self._weight), self._rows.dtype)

    @np.errstate(over="ignore", invalid="ignore")
    def _variances(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``p_c (1 - p_c)`` of each sampled row and class, ``(m, k)``."""
        dtype = self._rows.dtype
        z = (self._rows @ point[:, :-1].T.astype(dtype)).astype(np.float64) + point[:, -1]
        if z.shape[1] == 1:
            small = np.exp(-np.abs(z))
            return np.asarray(small / (1 + small) ** 2)
        probabilities = np.exp(z - z.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return np.asarray(probabilities * (1 - probabilities))

    def _covariance(
        self, root: NDArray[np.float64], mean_row: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the weighted scatter ``(d, d)`` of the sampled rows around ``mean_row``.

        One thread computes each block of columns, so the sums do not depend on their number.
        """
        dtype, d = self._rows.dtype, len(mean_row)
        centred = self._rows - mean_row.astype(dtype)
        centred *= root[:, None].astype(dtype)
        matrix = np.empty((d, d))

        def fill(first: int) -> None:
            stop = min(first + COLUMNS_AT_ONCE, d)
            with np.errstate(over="ignore", invalid="ignore"):  # the solver reports it
                block = centred[:, first:stop].T @ centred[:, :stop]
            matrix[first:stop, :stop] = block
            matrix[:stop, first:stop] = block.T

        with one_blas_thread():
            map_in_threads(fill, range(0, d, COLUMNS_AT_ONCE), self.objective.problem.n_threads)
        return matrix
