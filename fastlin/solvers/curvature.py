"""A preconditioner: the Hessian of a sample of the rows, which a solver can use from the start.

The Hessian of softmax regression is ``mean((diag(p) - p p^T) kron x x^T)`` plus the penalty's
(Boehning, "Multinomial logistic regression algorithm", 1992, section 2). Its diagonal blocks, one
for each class, differ only in their weights ``p_c (1 - p_c)``; here the mean over all classes
replaces each of them. With two classes there is one block, which is exact. A sample of the rows
suffices, because a preconditioner may be rough (Byrd, Chin, Neveitt and Nocedal, "On the use of
stochastic Hessian information in optimization methods for machine learning", 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.kernels.threads import map_in_threads
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import Rows
from fastlin.solvers.objective import Objective

ROWS_A_FEATURE = 10
"""Rows sampled for each feature; with fewer the sample's curvature would be far from the rows'."""

LEAST_ROWS = 1024

MOST_FEATURES = 2048
"""With more features only the diagonal is kept: the matrix would cost more than it saves."""

SATURATED = 1e-10
"""Lower limit of the mean of ``p (1 - p)``, which is 0 if all probabilities are 0 or 1."""

COLUMNS_AT_ONCE = 256


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
        counting = np.arange(objective.n_rows) if weight is None else np.flatnonzero(weight)
        n_sampled = min(len(counting), max(LEAST_ROWS, ROWS_A_FEATURE * min(d, MOST_FEATURES)))
        chosen = np.sort(np.random.default_rng(0).choice(counting, n_sampled, replace=False))
        self._weight = np.ones(n_sampled)
        if weight is not None:  # so that the sample's mean estimates the mean over all rows
            self._weight = weight[chosen] * (len(counting) / objective.n_rows)
        rows: Rows = samples.rows.part(chosen)
        if not self.diagonal_only:
            rows = DenseRows(rows.to_array())
        dtype, scale = objective.problem.dtype, objective.scale[:-1]
        self._sample = rows.scaled(dtype, samples.shift, scale)
        self._rows: Any = self._sample.matrix

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def update(self, point: NDArray[np.float64], decay: NDArray[np.float64]) -> None:
        """Compute the curvature at ``point (k, d + 1)`` with a penalty of ``decay (d + 1,)``.

        The result is not finite if the arithmetic overflows.
        """
        curvature = self._weight * self._mean_variance(point)
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
            self._inverse = 1 / (self._seen(variance) + decay[:-1])
            return
        matrix = self._covariance(np.sqrt(curvature / n_sampled), mean_row)
        matrix += left * np.outer(mean_row, mean_row)
        diagonal = self._seen(np.diag(matrix))
        np.fill_diagonal(matrix, diagonal + decay[:-1])
        self._inverse = _inverse(matrix, self._rows.dtype)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def solve(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse of the approximate Hessian times ``gradient (k, d + 1)``."""
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

    def _seen(self, variance: NDArray[np.float64]) -> NDArray[np.float64]:
        """Replace the variances ``(d,)`` that are rounding errors.

        A feature that is constant in the sample may vary in the other rows; it gets the variance
        that it would have if it varied in a single sampled row as the other features do.
        """
        rounding = 16 * float(np.finfo(self._rows.dtype).eps)
        seen = variance > self._total * (rounding * self._mean_row) ** 2
        mean = float(variance[seen].mean()) if seen.any() else 1.0
        return np.where(seen, variance, mean / len(self._weight))

    def _mean_variance(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``p_c (1 - p_c)`` of each sampled row, averaged over the classes."""
        dtype = self._rows.dtype
        z = (self._rows @ point[:, :-1].T.astype(dtype)).astype(np.float64) + point[:, -1]
        if z.shape[1] == 1:
            small = np.exp(-np.abs(z[:, 0]))
            return np.asarray(small / (1 + small) ** 2)
        probabilities = np.exp(z - z.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return np.asarray(np.mean(probabilities * (1 - probabilities), axis=1))

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


def _inverse(matrix: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the inverse of a positive definite matrix with the rounding errors of ``dtype``.

    The matrix is scaled to a diagonal of 1, so that the units of the features do not matter, and
    the diagonal is raised until the matrix is numerically positive definite.
    """
    from scipy.linalg.lapack import dpotrf, dpotri

    root = 1 / np.sqrt(np.diag(matrix))
    scaled = matrix * root * root[:, None]
    added = 4 * float(np.finfo(dtype).eps) * np.sqrt(len(matrix))
    with one_blas_thread():
        while True:
            factor, failed = dpotrf(scaled + added * np.eye(len(matrix)), lower=True)
            if not failed or not added < 1:
                break
            added *= 100
        inverse, _ = dpotri(factor, lower=True)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    return np.ascontiguousarray(inverse * root * root[:, None], dtype)
