"""Losses of training rows in float64, with a small relative error however small they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Samples
from fastlin.rows.interface import Rows

ROWS_AT_ONCE = 1024


def scaled_blocks(
    samples: Samples,
    scale: NDArray[np.float64],
    n_rows: int,
    counting: NDArray[np.bool_] | None = None,
) -> Iterator[tuple[Rows, NDArray[np.int32], NDArray[np.float64], NDArray[np.int64]]]:
    """Iterate over ``m`` samples of positive weight, if given only those ``counting (m,)``.

    Yields blocks: the rows ``(b, d)``, shifted and multiplied by ``scale (d,)``, their labels
    ``(b,)``, their weights divided by the number of all rows, ``n_rows``, ``(b,)``, and their
    indices among the samples ``(b,)``.
    """
    wide = np.dtype(np.float64)
    weight = samples.sample_weight
    if weight is None:
        weight = np.ones(len(samples.rows))
    places = np.flatnonzero(weight > 0 if counting is None else counting & (weight > 0))
    for first in range(0, len(places), ROWS_AT_ONCE):
        part = places[first : first + ROWS_AT_ONCE]
        x = samples.rows.part(part).scaled(wide, samples.shift, scale)
        yield x, samples.labels[part], weight[part] / n_rows, part


def cross_entropy(
    z: NDArray[np.float64], labels: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return each row's loss ``(n,)``, its gradient by the logits, and probabilities ``(n, k)``.

    Like :func:`fastlin.kernels.reference.cross_entropy`, but each value has a relative error of a
    few epsilons however small it is: the right class's residual is minus the sum of the others.
    """
    rows = np.arange(len(labels))
    if z.shape[1] == 1:
        away = np.where(labels == 1, -z[:, 0], z[:, 0])  # the logit of the wrong class
        small = np.exp(-np.abs(away))
        losses = np.maximum(away, 0) + np.log1p(small)
        wrong = np.where(away >= 0, 1, small) / (1 + small)
        residual = np.where(labels == 1, -wrong, wrong)
        p = np.where(z[:, 0] >= 0, 1, small) / (1 + small)
        return losses, residual[:, np.newaxis], p[:, np.newaxis]
    below, exponentials, others = _softmax(z)
    p = exponentials / (1 + others)[:, np.newaxis]
    residual = p.copy()
    residual[rows, labels] = 0
    residual[rows, labels] = -residual.sum(axis=1)
    return np.log1p(others) - below[rows, labels], residual, p


def entropy(z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the entropy ``(n,)`` of each row's probabilities, from logits ``(n, k)``."""
    if z.shape[1] == 1:
        size = np.abs(z[:, 0])
        small = np.exp(-size)
        return np.asarray(np.log1p(small) + size * small / (1 + small))
    below, exponentials, others = _softmax(z)
    spread = np.einsum("ij,ij->i", exponentials, below) / (1 + others)
    return np.asarray(np.log1p(others) - spread)


def _softmax(
    z: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return logits minus their maximum, the exponentials, and their sum without the largest."""
    rows, top = np.arange(len(z)), z.argmax(axis=1)
    below = z - z[rows, top][:, np.newaxis]
    exponentials = np.exp(below)
    rest = exponentials.copy()
    rest[rows, top] = 0
    return below, exponentials, rest.sum(axis=1)


def logits(x: Rows, point: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logits ``(n, k)`` of rows ``(n, d)``."""
    return np.asarray(x.matrix @ point[:, :-1].T + point[:, -1])


def dense_rows(x: Rows, with_ones: bool) -> NDArray[np.float64]:
    """Return rows as an array, with a last column of ones for the intercept if it is trained."""
    dense = x.to_array()
    return np.column_stack([dense, np.ones(len(dense))]) if with_ones else dense
