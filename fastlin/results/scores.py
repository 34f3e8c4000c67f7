"""Accuracy and loss of a model on labelled rows, as the command line and the report show them.

The loss comes from the model's logarithms of probabilities: ``sklearn.metrics.log_loss`` takes
probabilities and clips them at the type's epsilon, which hides a confident mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.reference import predicted
from fastlin.rows.labels import locate
from fastlin.rows.stored import StoredRows, views

ROWS_AT_ONCE = 2**16


@dataclass(frozen=True)
class Scores:
    """Number of rows, mean cross-entropy in nats and accuracy in [0, 1]."""

    n_rows: int
    loss: float
    accuracy: float


def measure(model: Any, X: NDArray[Any], y: NDArray[Any]) -> Scores:
    """Measure a :class:`~fastlin.LogisticRegression` on rows X (n, d) and labels y (n,).

    Every label must be one of the model's classes.
    """
    if isinstance(X, StoredRows):
        return _measured_in_parts(model, X, y)
    return _measured(model.predict_log_proba(X), model, y)


def _measured(log_probabilities: NDArray[Any], model: Any, y: NDArray[Any]) -> Scores:
    target, _ = locate(y, model.classes_)
    return Scores(
        n_rows=len(y),
        loss=float(-log_probabilities[np.arange(len(y)), target].mean(dtype=np.float64)),
        accuracy=float((predicted(log_probabilities) == target).mean()),
    )


def _measured_in_parts(model: Any, rows: StoredRows, y: NDArray[Any]) -> Scores:
    n_rows, loss, accuracy = 0, 0.0, 0.0
    for view in views(rows, ROWS_AT_ONCE):
        labels = y[n_rows : n_rows + len(view)]
        part = _measured(model.predict_log_proba(view), model, labels)
        n_rows += part.n_rows
        loss += part.n_rows * part.loss
        accuracy += part.n_rows * part.accuracy
    return Scores(n_rows, loss / n_rows, accuracy / n_rows)
