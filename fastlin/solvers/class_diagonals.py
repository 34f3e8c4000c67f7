"""A preconditioner for many features: the diagonal of the Hessian's block of each class.

Its elements are ``mean(p_c (1 - p_c) x_j^2)`` plus the penalty, less what the intercept explains.
As in :mod:`fastlin.solvers.class_blocks`, they are applied to what is left of a gradient after
subtracting its mean over the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.interface import Rows
from fastlin.solvers.covariance import SATURATED, seen


class ClassDiagonals:
    """Multiplies gradients by the inverse of a diagonal for each class."""

    @np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
    def update(
        self,
        sample: Rows,
        curvature: NDArray[np.float64],
        decay: NDArray[np.float64],
        intercept_decay: float,
    ) -> None:
        """Compute the diagonals from sampled rows.

        Parameters
        ----------
        sample : Rows of shape (m, d)
        curvature : (m, k)
            ``p (1 - p)`` times the weight of each row.
        decay : (d,)
        intercept_decay : float
            Infinite if the intercept is not trained.
        """
        m, dtype = len(curvature), sample.matrix.dtype
        curvature = np.maximum(curvature, SATURATED) / m
        total = curvature.sum(axis=0)
        weights = curvature.astype(dtype)
        mean_row = np.asarray((sample.matrix.T @ weights).T, np.float64)
        mean_row /= total[:, np.newaxis]
        second = np.asarray((sample.squared().matrix.T @ weights).T, np.float64)
        self._total, self._share = total, total / (total + intercept_decay)
        left = total * (1 - self._share)
        for c in range(len(total)):
            of_mean = mean_row[c] ** 2
            variance = np.maximum(second[c] - total[c] * of_mean, 0) + left[c] * of_mean
            second[c] = 1 / (seen(variance, float(total[c]), mean_row[c], m, dtype) + decay)
        # In the weights' type they take half the time to read; the products are float64.
        self._inverse: NDArray[Any] = second.astype(dtype)
        self._mean_row: NDArray[Any] = mean_row.astype(dtype)
        self._of_mean = np.append(self._inverse.mean(axis=0, dtype=np.float64), self._mean_gain())

    def _mean_gain(self) -> float:
        return float((self._share / self._total).mean())

    @np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore")
    def solve(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse times ``gradient (k, d + 1)``.

        It goes over the classes one at a time, so that the cache holds what it computes.
        """
        mean = gradient.mean(axis=0)
        out, of_all = np.empty_like(gradient), np.zeros(gradient.shape[1])
        for c, row in enumerate(out):
            np.subtract(gradient[c], mean, out=row)
            weights, intercept = row[:-1], float(self._share[c] * row[-1])
            weights -= intercept * self._mean_row[c]
            weights *= self._inverse[c]
            row[-1] = intercept / self._total[c] - self._share[c] * (weights @ self._mean_row[c])
            of_all += row
        out += mean * self._of_mean - of_all / len(out)
        return out
