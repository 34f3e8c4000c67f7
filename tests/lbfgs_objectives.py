"""Small objectives of L-BFGS, with what they are written of."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from fastlin.kernels import CsrRows, get_backend
from fastlin.rows.binding import make_samples
from fastlin.rows.conversion import as_rows
from fastlin.rows.scaling import InputScale
from fastlin.solvers.objective import Objective
from fastlin.solvers.problem import Problem

INTERCEPTS = ("free", "none", "penalised")
CASES = list(product((2, 3), INTERCEPTS))
L2 = 0.01


def problem(
    k: int, n: int = 300, d: int = 5, spread: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows far from 0 whose features correlate and have units that differ, labels, weights."""
    generator = np.random.default_rng(k)
    y = generator.integers(0, k, n)
    mixing = generator.standard_normal((d, d))
    centres = generator.standard_normal((k, d))
    X = (centres[y] + generator.standard_normal((n, d))) @ mixing + 3
    return X * spread ** np.linspace(-1, 1, d), y, generator.uniform(0.1, 2, n)


def objective_of(
    k: int, intercept: str, rows: Any = None, scaled: bool = True
) -> tuple[Objective, np.ndarray, np.ndarray, np.ndarray]:
    """The objective, and what it is of: scaled rows, labels, weights of mean 1."""
    X, y, weight = problem(k)
    rows = X if rows is None else rows
    d = rows.shape[1]
    scale = InputScale(np.full(d, 2.5), np.linspace(0.5, 2, d))
    if not scaled:
        scale = InputScale(np.zeros(d), np.ones(d))
    training = Problem(
        backend=get_backend("numpy"),
        samples=make_samples(
            as_rows(rows), y.astype(np.int32), scale, np.dtype(np.float64), weight
        ),
        scale=scale,
        dtype=np.dtype(np.float64),
        n_models=1 if k == 2 else k,
        l2=L2,
        fit_intercept=intercept != "none",
        regularize_intercept=intercept == "penalised",
    )
    objective = Objective(training)
    dense = rows.matrix.toarray() if isinstance(rows, CsrRows) else rows
    return objective, (dense - scale.shift) * scale.scale, y, weight / weight.mean()


def probabilities(point: np.ndarray, x: np.ndarray) -> np.ndarray:
    z = np.column_stack([x, np.ones(len(x))]) @ point.T
    if len(point) == 1:
        z = np.column_stack([np.zeros(len(x)), z])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True)
