"""A preconditioner for many features: the diagonal of the Hessian's block of each class.

Its elements are ``mean(p_c (1 - p_c) x_j^2)`` plus the penalty, less what the intercept explains.
As in :mod:`fastlin.solvers.class_blocks`, they are applied to what is left of a gradient after
subtracting its mean over the classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.threads import map_in_threads
from fastlin.rows.interface import Rows
from fastlin.solvers.covariance import SATURATED, seen

NUMBERS_AT_ONCE = 2**16
"""Numbers of a block of features, over all classes, that the cache holds."""


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
    def solve(self, gradient: NDArray[np.float64], n_threads: int = 1) -> NDArray[np.float64]:
        """Return the inverse times ``gradient (k, d + 1)``.

        Threads take blocks of features, which are the same ones whatever their number.
        """
        k, d = self._mean_row.shape
        out = np.empty_like(gradient)
        intercept = self._share * (gradient[:, -1] - gradient[:, -1].mean())
        width = max(1, NUMBERS_AT_ONCE // k)
        n_blocks = -(-d // width)
        products = np.empty((n_blocks, k))

        def solve_block(index: int) -> None:
            place = np.s_[:, index * width : min((index + 1) * width, d)]
            mean_row, weights = self._mean_row[place], out[place]
            with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                mean = gradient[place].mean(axis=0)
                np.subtract(gradient[place], mean, out=weights)
                weights -= intercept[:, np.newaxis] * mean_row
                weights *= self._inverse[place]
                products[index] = np.einsum("ij,ij->i", weights, mean_row)
                weights += mean * self._of_mean[place[1]] - weights.mean(axis=0)

        map_in_threads(solve_block, range(n_blocks), n_threads)
        last = intercept / self._total - self._share * products.sum(axis=0)
        out[:, -1] = last + gradient[:, -1].mean() * self._of_mean[-1] - last.mean()
        return out
