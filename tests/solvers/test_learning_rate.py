"""The automatic learning rate on data of every kind: it neither diverges nor crawls."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.preprocessing import StandardScaler

from fastlin import LogisticRegression, fitting
from fastlin.kernels import backends
from fastlin.solvers import schedules

BACKEND = "c" if backends()["c"].available else "numpy"
EPOCHS = {1: 3, 8: 5, 128: 20, 1000: 100}
"""Epochs by batch size, each too few to converge."""


def pixels() -> tuple[np.ndarray, np.ndarray]:
    rows, labels = load_digits(return_X_y=True)
    return (rows[:1000] * 255 / 16).astype(np.uint8), labels[:1000]


def standardised() -> tuple[np.ndarray, np.ndarray]:
    rows, labels = load_digits(return_X_y=True)
    return StandardScaler().fit_transform(rows[:1000]), labels[:1000]


def texts() -> tuple[np.ndarray, np.ndarray]:
    """Weighted counts of words that are as frequent as Zipf says, in rows of norm 1."""
    generator = np.random.default_rng(0)
    labels = np.arange(1000) % 4
    frequency = 1 / np.arange(1, 801)
    liked = np.where(generator.random((4, 800)) < 0.05, 6, 1)
    chances = frequency * liked / (frequency * liked).sum(axis=1, keepdims=True)
    counts = np.array([generator.multinomial(80, chances[label]) for label in labels])
    rows = counts * (np.log(1000 / (1 + (counts > 0).sum(axis=0))) + 1)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True), labels


def embeddings() -> tuple[np.ndarray, np.ndarray]:
    """Features of 768 dimensions that are correlated and whose mean is far from 0."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 1000)
    mixing = generator.standard_normal((768, 768)) * np.arange(1, 769) ** -0.7
    rows = generator.standard_normal((1000, 768)) @ mixing.T
    rows += np.outer(2 * labels - 1, 0.3 * generator.standard_normal(768))
    return (0.02 * (rows + 8 * generator.standard_normal(768))).astype(np.float32), labels


def heavy_tails() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    rows = generator.standard_t(2.5, (1000, 20))
    return rows, (rows @ np.ones(20) / 3 + generator.standard_normal(1000) > 0).astype(int)


DATA = {make.__name__: make for make in (pixels, standardised, texts, embeddings, heavy_tails)}


def penalty(name: str) -> float:
    return 1e-3 * 255**2 if name == "pixels" else 1e-3


def objective(model: LogisticRegression, rows: np.ndarray, labels: np.ndarray) -> float:
    chosen = model.predict_log_proba(rows)[np.arange(len(labels)), labels]
    return float(-chosen.mean() + model.l2 * (model.coef_.astype(float) ** 2).sum())


@functools.cache
def problem(name: str) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Rows, labels, and the objective at its minimum and with the best intercept alone."""
    rows, labels = DATA[name]()
    model = LogisticRegression(
        solver="lbfgs", backend=BACKEND, l2=penalty(name), tol=1e-6, max_epochs=5000
    ).fit(rows.astype(np.float64), labels)
    share = np.bincount(labels) / len(labels)
    return rows, labels, objective(model, rows, labels), float(-(share * np.log(share)).sum())


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("batch_size", EPOCHS)
@pytest.mark.parametrize("name", DATA)
def test_it_is_not_far_from_the_best_constant_one(
    name: str, batch_size: int, momentum: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, labels, best, worst = problem(name)
    measured = schedules.safe_step_size

    def left(factor: float) -> float:
        """Return the fraction of the way to the minimum that remains, 1 at the start."""

        def scaled(*arguments: Any, **options: Any) -> schedules.StepSize:
            step_size = measured(*arguments, **options)
            return step_size._replace(learning_rate=factor * step_size.learning_rate)

        monkeypatch.setattr(fitting, "safe_step_size", scaled)
        model = LogisticRegression(
            backend=BACKEND,
            l2=penalty(name),
            batch_size=batch_size,
            momentum=momentum,
            max_epochs=EPOCHS[batch_size],
            tol=None,
            random_state=0,
            n_threads=1,
        ).fit(rows, labels)
        return (objective(model, rows, labels) - best) / (worst - best)

    remaining = {factor: left(factor) for factor in (1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16)}
    assert min(remaining[1 / 8], remaining[16]) < 1
    assert remaining[1] < min(remaining.values()) + 0.12, remaining
