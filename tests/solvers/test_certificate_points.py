"""The certificate of single points against optima in long doubles, and without absent classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import optimum
import pytest

from fastlin.kernels import get_backend
from fastlin.rows.binding import make_samples
from fastlin.rows.conversion import as_rows
from fastlin.rows.scaling import InputScale
from fastlin.solvers import certificate
from fastlin.solvers.certificate import Certificate
from fastlin.solvers.newton_bound import Unknowns, most_columns
from fastlin.solvers.objective import Objective
from fastlin.solvers.problem import Problem

Long = np.longdouble
FLOAT64 = np.dtype(np.float64)

INTERCEPTS = ("free", "none", "penalised")

by_both_sums = pytest.mark.parametrize("many", [np.inf, 0])
"""By the exact sums of few rows, and by the kernel's of many; a value of ``certificate.MANY``."""


def objective_of(
    rows: np.ndarray, labels: np.ndarray, k: int, l2: float, intercept: str, weight: Any = None
) -> Objective:
    scale = InputScale(np.zeros(rows.shape[1]), np.ones(rows.shape[1]))
    samples = make_samples(as_rows(rows), labels.astype(np.int32), scale, FLOAT64, weight)
    return Objective(
        Problem(
            backend=get_backend("numpy"),
            samples=samples,
            scale=scale,
            dtype=FLOAT64,
            n_models=1 if k == 2 else k,
            l2=l2,
            fit_intercept=intercept != "none",
            regularize_intercept=intercept == "penalised",
        )
    )


def gap_at_the_optimum(
    rows: np.ndarray, labels: np.ndarray, k: int, l2: float, intercept: Any
) -> float:
    """The gap relative to the objective; the bound that it gives must be a lower bound."""
    best = optimum.optimum_of(optimum.Objective(rows, labels, k, l2, intercept))
    point = np.column_stack([best.weights, best.intercept]).astype(float)
    found = Certificate(objective_of(rows, labels, k, l2, intercept)).at(point)
    assert Long(found.objective) - Long(found.gap) <= Long(best.value)
    return found.gap / found.objective


@by_both_sums
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_rounding_lifts_no_lower_bound_above_the_optimum(
    intercept: Any, many: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a large penalty weak duality is so tight that only the rounding of sums is left."""
    monkeypatch.setattr(certificate, "MANY", many)
    for seed in range(30, 112):
        generator = np.random.default_rng(seed)
        n, d = int(generator.integers(5, 200)), int(generator.integers(1, 8))
        k = int(generator.choice([2, 3, 5]))
        rows = generator.standard_normal((n, d)) * 10 ** generator.uniform(-1, 1)
        rows += generator.choice([0, 0, 10, 1000.0])
        labels = generator.integers(0, k, n)
        labels[:k] = np.arange(k)
        l2 = 10 ** generator.uniform(-2, 2)
        assert gap_at_the_optimum(rows, labels, k, l2, intercept) < 1e-10


@by_both_sums
@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_nor_does_it_if_the_optimum_is_nearly_zero(
    intercept: Any, many: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's losses are off by epsilons of 1, however small they are."""
    monkeypatch.setattr(certificate, "MANY", many)
    for seed in range(20):
        generator = np.random.default_rng(seed)
        n, k = int(generator.integers(8, 60)), int(generator.choice([2, 3]))
        labels = np.arange(n) % k
        rows = 10 * np.eye(k, 3)[labels] + generator.standard_normal((n, 3))
        assert gap_at_the_optimum(rows, labels, k, 1e-8, intercept) < 1e-5


@pytest.mark.parametrize("intercept", INTERCEPTS)
def test_of_fewer_rows_than_features_only_the_weights_that_they_span_are_unknown(
    intercept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    rows, labels = generator.standard_normal((9, 40)), np.arange(9) % 3
    weight = np.ones(9)
    weight[4] = 0
    objective = objective_of(rows, labels, 3, 1e-3, intercept, weight)
    point = 0.1 * generator.standard_normal((3, 41))
    if intercept == "none":
        point[:, -1] = 0
    assert most_columns(objective) == 9 + objective.trains_intercept
    every = Unknowns(40, objective.trains_intercept)
    gap, step = np.inf, None
    for of_all in (False, True):
        if of_all:
            monkeypatch.setattr(Unknowns, "of", lambda objective: every)
        found = Certificate(objective).at(point, 0.0)
        assert found.step is not None
        assert 1e-3 < found.gap < 10
        if step is not None:
            assert found.gap == pytest.approx(gap, rel=1e-6)
            np.testing.assert_allclose(step, found.step, rtol=1e-6, atol=1e-9)
        gap, step = found.gap, found.step


@by_both_sums
@pytest.mark.parametrize("absent", [[0], [1], [3], [0, 2]])
def test_a_class_without_weight_is_as_if_it_were_not_there(
    absent: list[int], many: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificate, "MANY", many)
    k = 3 + len(absent)
    generator = np.random.default_rng(k)
    rows, labels = generator.standard_normal((80, 4)), np.arange(80) % k
    point = 0.2 * generator.standard_normal((k, 5))
    point[absent, :-1] = 0  # which the penalty alone would see
    present = np.setdiff1d(np.arange(k), absent)
    counted = np.isin(labels, present)
    every = Certificate(objective_of(rows, labels, k, 0.01, "free", counted.astype(float)))
    fewer = Certificate(
        objective_of(rows[counted], np.searchsorted(present, labels[counted]), 3, 0.01, "free")
    )
    point[absent, -1] = -800.0  # its probability is 0
    for enough, takes_hessian in ((np.inf, False), (0.0, True)):
        found, expected = every.at(point, enough), fewer.at(point[present], enough)
        assert found.objective == pytest.approx(expected.objective, rel=1e-13)
        assert found.gap == pytest.approx(expected.gap, rel=1e-9)
        assert expected.gap > 1e-4
        assert (found.step is not None) == (expected.step is not None) == takes_hessian
        if found.step is not None and expected.step is not None:
            np.testing.assert_allclose(found.step[present], expected.step, rtol=1e-7, atol=1e-12)
            assert not found.step[absent].any()
            assert np.abs(expected.step).max() > 0.1
