"""Small rows, and estimators that are quick on them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin import LogisticRegression


def blobs(n: int = 90, d: int = 4, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Rows around k overlapping centres, far from 0 and on scales that differ."""
    generator = np.random.default_rng(0)
    y = np.arange(n) % k
    centres = generator.standard_normal((k, d))
    X = (centres[y] + 0.8 * generator.standard_normal((n, d))) * np.arange(1, d + 1) + 3
    assert all(np.ptp(X, axis=0) > 2)
    return X, y


X, Y = blobs()
TWO = np.isin(Y, [0, 1])
WORDS = np.array(["ant", "bee", "cat"])


def of_classes(k: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of the first k classes."""
    return X[np.isin(Y, range(k))], Y[np.isin(Y, range(k))]


def model(**options: Any) -> LogisticRegression:
    """An estimator that is quick."""
    return LogisticRegression(
        **{"backend": "numpy", "max_epochs": 5, "random_state": 0, "batch_size": 16, **options}
    )


def with_value(value: float) -> np.ndarray:
    rows = X.copy()
    rows[3, 1] = value
    return rows
