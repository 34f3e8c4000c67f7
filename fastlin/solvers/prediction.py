"""The logits of new rows, correct even if intermediate values overflow the weights' type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.errors import InputError
from fastlin.kernels import Backend
from fastlin.kernels.reference import predicted
from fastlin.rows.interface import Rows
from fastlin.rows.samples import Samples
from fastlin.rows.scaling import InputScale

FEW_CLASSES, FEW_ROWS = 24, 64
"""Classes up to which, and rows from which on, it is faster to take the classes apart."""

ROWS_AT_ONCE = 4096
"""Rows that are converted or shifted at a time, so that memory stays small."""


def logits(
    backend: Backend,
    rows: Rows,
    weights: NDArray[Any],
    intercept: NDArray[Any],
    scale: InputScale,
    n_threads: int,
    require_finite: Callable[[], object] = lambda: None,
) -> NDArray[Any]:
    """Return ``weights u + intercept`` of unscaled rows, ``(n, k)`` in the weights' type.

    If the two terms cancel (:meth:`fastlin.rows.scaling.InputScale.cancels`), each row is shifted
    first, as in training; sparse rows, which cannot be shifted, are multiplied in float64. Rows
    whose sums overflow are multiplied again in float64, and if float32 cannot hold a logit, all
    logits are float64. Rows that hold nan or infinity have such logits: if there are any,
    ``require_finite`` is called first, which raises an error if the rows are the reason.

    Raises
    ------
    InputError
        float64 cannot hold a row's logits.
    """

    def by_kernel(some: Rows, weights: NDArray[Any], intercept: NDArray[Any]) -> NDArray[Any]:
        found = [
            backend.logits(Samples(piece.for_weights(weights.dtype)), weights, intercept, n_threads)
            for _, piece in some.pieces()
        ]
        return found[0] if len(found) == 1 else np.concatenate(found)

    with np.errstate(over="ignore", invalid="ignore"):
        if scale.cancels(weights):
            out = np.empty((len(rows), len(weights)), weights.dtype)
            shifted_intercept = scale.shifted_intercept(weights, intercept)
            wide = weights.astype(np.float64), intercept.astype(np.float64)
            for place, block in rows.blocks(ROWS_AT_ONCE):
                if rows.can_be_shifted:
                    shifted = scale.shifted(block, weights.dtype)
                    out[place] = by_kernel(shifted, weights, shifted_intercept)
                else:
                    out[place] = by_kernel(block, *wide)
        else:
            out = by_kernel(rows, weights, intercept.astype(weights.dtype, copy=False))
        finite = np.isfinite(out)
        if finite.all():  # quicker than row by row
            return out
        require_finite()
        overflowed = np.flatnonzero(~finite.all(axis=1))
        exact = _scaled_logits(rows.part(overflowed), weights, intercept)
    wrong = ~np.isfinite(exact).all(axis=1)
    if wrong.any():
        row = overflowed[int(wrong.argmax())]
        largest = rows.part(row[np.newaxis]).largest()[0]
        raise InputError(
            f"row {row} of X holds {largest:.3g}, and its logits are too large for float64; look "
            "for a wrong number there, or divide the features by their largest value before fit"
        )
    if np.abs(exact).max() > np.finfo(out.dtype).max:
        out = out.astype(np.float64)
    out[overflowed] = exact
    return out


def most_probable(logits: NDArray[Any]) -> NDArray[np.int64]:
    """Return the first of the largest of finite logits ``(n, k)``, as :func:`predicted` does."""
    n, k = logits.shape
    if not 1 < k <= FEW_CLASSES or n <= FEW_ROWS:
        return predicted(logits)
    out = np.zeros(n, np.int8)
    for first in range(0, n, ROWS_AT_ONCE):
        of_classes = logits[first : first + ROWS_AT_ONCE].T.copy()
        index, largest = out[first : first + ROWS_AT_ONCE], of_classes[0]
        for c in range(1, k):
            is_larger = (of_classes[c] > largest).view(np.int8)
            np.maximum(index, is_larger * np.int8(c), out=index)
            np.maximum(largest, of_classes[c], out=largest)
    return out.astype(np.int64)


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    """Turn logits ``(n, k)`` into probabilities, in place, with one exponential of each."""
    n, k = logits.shape
    if k > FEW_CLASSES or n <= FEW_ROWS:
        logits -= logits.max(axis=1, keepdims=True)
        np.exp(logits, out=logits)
        if k > FEW_CLASSES:
            logits /= logits.sum(axis=1, keepdims=True)
        else:  # in the order of the sums below
            logits /= np.add.accumulate(logits, axis=1)[:, -1:]
        return logits
    # NumPy is slow along short rows, so the classes are taken apart.
    for first in range(0, n, ROWS_AT_ONCE):
        block = logits[first : first + ROWS_AT_ONCE]
        of_classes = block.T.copy()
        of_classes -= of_classes.max(axis=0)
        np.exp(of_classes, out=of_classes)
        total = of_classes[0].copy()  # NumPy's own order of a sum depends on the number of rows
        for exponentials in of_classes[1:]:
            total += exponentials
        of_classes /= total
        block[...] = of_classes.T
    return logits


@one_blas_thread()
def _scaled_logits(
    rows: Rows, weights: NDArray[Any], intercept: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the logits ``(n, k)``, without overflow on the way.

    The weights are divided by their largest value and each row by the power of two below its
    largest value, which rounds nothing, so that no product and no sum overflows.
    """
    of_weights = float(np.max(np.abs(weights), initial=0.0)) or 1.0
    v, b = weights.T.astype(np.float64) / of_weights, intercept.astype(np.float64)
    out = np.empty((len(rows), len(weights)))
    for place, block in rows.blocks(ROWS_AT_ONCE):
        of_rows = np.ldexp(0.5, np.frexp(np.maximum(block.largest(), 1.0))[1])
        u = block.scaled(np.dtype(np.float64), factors=1 / of_rows).matrix
        of_rows = of_rows[:, np.newaxis]
        z = u @ v + b / of_weights / of_rows
        out[place] = z * np.minimum(of_rows, of_weights) * np.maximum(of_rows, of_weights)
    return out
