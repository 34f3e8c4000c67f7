"""What preconditioners do with the covariance of sampled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.solvers.objective import Objective

SATURATED = 1e-10
"""Lower limit of ``p (1 - p)``, which is 0 if a probability is 0 or 1."""


def countable(objective: Objective) -> tuple[Any, int]:
    """Return the rows of positive weight to draw from, and their number.

    If those are all rows, the number stands for the rows too, whose list would take memory; NumPy
    draws the same.
    """
    weight = objective.samples.sample_weight
    if weight is None:
        return objective.n_rows, objective.n_rows
    counting = np.flatnonzero(weight)
    return counting, len(counting)


def seen(
    variance: NDArray[np.float64],
    total: float,
    mean_row: NDArray[np.float64],
    n_rows: int,
    dtype: np.dtype[Any],
) -> NDArray[np.float64]:
    """Replace the variances ``(d,)`` that are rounding errors of ``dtype``.

    A feature that is constant in the sample may vary in the other rows; it gets the variance that
    it would have if it varied in a single one of ``n_rows`` as the other features do.

    Parameters
    ----------
    variance : (d,)
        Sum of the rows' weights times the squares of their distances from the mean.
    total : float
        Sum of the rows' weights.
    mean_row : (d,)
    n_rows : int
    dtype : numpy.dtype
    """
    rounding = 16 * float(np.finfo(dtype).eps)
    varies = variance > total * (rounding * mean_row) ** 2
    mean = float(variance[varies].mean()) if varies.any() else 1.0
    return np.where(varies, variance, mean / n_rows)


def inverse_of(matrix: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
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
