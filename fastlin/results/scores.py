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
    log_probabilities = model.predict_log_proba(X)
    target, _ = locate(y, model.classes_)
    return Scores(
        n_rows=len(y),
        loss=float(-log_probabilities[np.arange(len(y)), target].mean(dtype=np.float64)),
        accuracy=float((predicted(log_probabilities) == target).mean()),
    )
