"""The logits of new rows: right also where the weights' type cannot hold what is in between."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.blas import one_blas_thread
from fastlin.errors import InputError
from fastlin.kernels.arguments import CsrRows, Samples
from fastlin.rows.samples import kernel_rows, take_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels import Backend
    from fastlin.kernels.arguments import Rows
    from fastlin.rows.scaling import InputScale

ROWS_AT_ONCE = 4096
"""Rows that are widened or shifted at a time, so that memory stays small."""


def logits(
    backend: Backend,
    rows: Rows,
    weights: NDArray[Any],
    intercept: NDArray[Any],
    scale: InputScale,
    n_threads: int,
) -> NDArray[Any]:
    """Return ``weights u + intercept`` of raw rows, ``(n, k)`` of the weights' type.

    Where the two cancel each other (:meth:`fastlin.rows.scaling.InputScale.cancels`), each row is
    shifted first, as in training; sparse rows, which cannot be, are multiplied in float64. Rows
    whose sums overflow are multiplied again in float64, and if a logit is beyond float32 but not
    beyond that, all are of that type.

    Raises
    ------
    InputError
        A row's logits are beyond float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if scale.cancels(weights):
            out = _shifted_logits(backend, rows, weights, intercept, scale, n_threads)
        else:
            model = weights, intercept.astype(weights.dtype, copy=False)
            out = _kernel_logits(backend, kernel_rows(rows, weights.dtype), *model, n_threads)
        finite = np.isfinite(out)
        if finite.all():  # quicker than row by row
            return out
        overflowed = np.flatnonzero(~finite.all(axis=1))
        exact = _scaled_logits(take_rows(rows, overflowed), weights, intercept)
    wrong = ~np.isfinite(exact).all(axis=1)
    if wrong.any():
        row = overflowed[int(wrong.argmax())]
        largest = np.abs(_values(take_rows(rows, row[np.newaxis]))).max()
        raise InputError(
            f"row {row} of X holds {largest:.3g}, and its logits are too large for float64; look "
            "for a wrong number there, or divide the features by their largest value before fit"
        )
    if np.abs(exact).max() > np.finfo(out.dtype).max:
        out = out.astype(np.float64)
    out[overflowed] = exact
    return out


def _kernel_logits(
    backend: Backend, rows: Rows, weights: NDArray[Any], intercept: NDArray[Any], n_threads: int
) -> NDArray[Any]:
    samples = Samples(rows, np.zeros(len(rows), np.int32))
    return backend.logits(samples, weights, intercept, n_threads)


def _shifted_logits(
    backend: Backend,
    rows: Rows,
    weights: NDArray[Any],
    intercept: NDArray[Any],
    scale: InputScale,
    n_threads: int,
) -> NDArray[Any]:
    """Return the logits of rows that are shifted, or else widened, some at a time."""
    out = np.empty((len(rows), len(weights)), weights.dtype)
    wide = weights.astype(np.float64), intercept.astype(np.float64)
    model = weights, scale.shifted_intercept(weights, intercept)
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = np.arange(first, min(first + ROWS_AT_ONCE, len(rows)))
        block = take_rows(rows, part)
        if isinstance(block, CsrRows):
            block = kernel_rows(block, np.dtype(np.float64))
            out[part] = _kernel_logits(backend, block, *wide, n_threads)
        else:
            block = scale.shifted(block, weights.dtype)
            out[part] = _kernel_logits(backend, block, *model, n_threads)
    return out


@one_blas_thread()
def _scaled_logits(
    rows: Rows, weights: NDArray[Any], intercept: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the logits ``(n, k)``, infinite only where the result is.

    Rows and weights are divided by their largest value, so that no product and no sum overflows.
    """
    of_weights = float(np.max(np.abs(weights), initial=0.0)) or 1.0
    v, b = weights.T.astype(np.float64) / of_weights, intercept.astype(np.float64)
    out = np.empty((len(rows), len(weights)))
    for first in range(0, len(rows), ROWS_AT_ONCE):
        part = np.arange(first, min(first + ROWS_AT_ONCE, len(rows)))
        block = take_rows(rows, part)
        if isinstance(block, CsrRows):
            u = block.to_scipy().astype(np.float64)
            of_rows = np.maximum(abs(u).max(axis=1).toarray().ravel(), 1.0)
            u.data /= np.repeat(of_rows, np.diff(u.indptr))
        else:
            of_rows = np.maximum(np.abs(block).max(axis=1).astype(np.float64), 1.0)
            u = block / of_rows[:, np.newaxis]
        of_rows = of_rows[:, np.newaxis]
        z = u @ v + b / of_weights / of_rows
        out[part] = z * np.minimum(of_rows, of_weights) * np.maximum(of_rows, of_weights)
    return out


def _values(rows: Rows) -> NDArray[Any]:
    return rows.values if isinstance(rows, CsrRows) else rows
