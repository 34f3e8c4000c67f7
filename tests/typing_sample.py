"""A program as users write it, which `mypy --strict` and pyright must accept (test_types.py)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastlin
from fastlin import LogisticRegression, datasets
from fastlin.errors import FastlinError, InputError
from fastlin.train import Progress


def stop_when_good(progress: Progress) -> bool:
    """Ask to stop at an accuracy of 0.95."""
    return progress.val_accuracy is not None and progress.val_accuracy > 0.95


def train(folder: Path) -> NDArray[np.int64]:
    """Train, save, load and predict."""
    digits = datasets.load("digits", seed=0)
    model = LogisticRegression(l2=1e-3, momentum=0.9, callbacks=[stop_when_good], random_state=0)
    fitted: LogisticRegression = model.fit(
        digits.X_train, digits.y_train, X_val=digits.X_val, y_val=digits.y_val
    )
    losses: NDArray[np.float64] = fitted.history_.train_loss
    reason: str = fitted.history_.stop_reason
    seconds: dict[str, float] = fitted.history_.seconds
    assert losses.size
    assert reason
    assert seconds["total"] >= 0
    path = folder / "model.safetensors"
    fitted.save(path)
    again = LogisticRegression.load(path)
    accuracy: float = again.score(digits.X_val, digits.y_val)
    probabilities: NDArray[np.float64] = again.predict_proba(digits.X_val)
    assert accuracy > 0.9
    assert probabilities.shape[1] == 10
    penalties = fastlin.path(
        digits.X_train, digits.y_train, [1e-2, 1e-3], X_val=digits.X_val, y_val=digits.y_val
    )
    best: LogisticRegression | None = penalties.best
    assert best is not None
    assert best.coef_.shape == (10, 64)
    backend: fastlin.Backend = fastlin.backends()["numpy"]
    assert backend.available
    assert fastlin.__version__
    np.save(folder / "rows.npy", digits.X_val)
    with fastlin.open_rows(folder / "rows.npy") as rows:
        predicted: NDArray[np.int64] = again.predict(rows)
    return predicted


def told(error: FastlinError) -> str:
    """Say what went wrong."""
    return f"input: {error}" if isinstance(error, InputError) else str(error)
