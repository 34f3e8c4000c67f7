"""Accuracy and loss of a model on labelled rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.estimator import LogisticRegression


@dataclass(frozen=True)
class Scores:
    """Number of rows, mean cross-entropy in nats and accuracy in [0, 1]."""

    n_rows: int
    loss: float
    accuracy: float


def measure(model: LogisticRegression, X: NDArray[Any], y: NDArray[Any]) -> Scores:
    """Measure `model` on rows X (n, d) with labels y (n,), all of them known to the model."""
    from fastlin.rows.labels import locate

    log_probabilities = model.predict_log_proba(X)
    target, _ = locate(y, model.classes_)
    predicted = log_probabilities.argmax(axis=1)
    return Scores(
        n_rows=len(y),
        loss=float(-log_probabilities[np.arange(len(y)), target].mean(dtype=np.float64)),
        accuracy=float((predicted == target).mean()),
    )
