"""Noisy labels: with an automatic rate no training ends worse than a model without features."""

from __future__ import annotations

import os
from typing import Any

import hunt
import numpy as np
import pytest
from descents import of_samples
from noisy_problems import noisy_problem
from sklearn.metrics import log_loss

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, Parameters, Samples, backends, get_backend
from fastlin.solvers.batches import Batches
from fastlin.solvers.constant_model import FEW_ROWS, constant_model, draw_to_constant
from fastlin.solvers.cooling import COOLING_EPOCHS, at_rest, cooling_epochs, cooling_factors
from fastlin.solvers.problem import Problem

TRIALS = 400 if os.environ.get("FASTLIN_TEST_LONG") == "1" else 60
BACKEND = "c" if backends()["c"].available else "numpy"


def noisy(n: int, d: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng([seed, n, d])
    rows = generator.standard_normal((n, d))
    signal = rows[:, :3].sum(axis=1)
    return rows, (signal + noise * generator.standard_normal(n) > 0).astype(int)


def loss(model: LogisticRegression, rows: np.ndarray, labels: np.ndarray) -> float:
    return float(log_loss(labels, model.predict_proba(rows)))


def entropy(labels: np.ndarray, weight: np.ndarray | None = None) -> float:
    shares = np.bincount(labels, weight) / (len(labels) if weight is None else weight.sum())
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


# ------------------------------------------------------------------ random problems


@pytest.mark.parametrize("seed", range(TRIALS))
def test_no_random_problem_ends_worse_than_a_constant(seed: int) -> None:
    problem = noisy_problem(seed)
    model = problem.fit(backend=BACKEND)
    rounding = 1e-9 if model.coef_.dtype == np.float64 else 1e-5
    assert problem.loss(model) <= problem.entropy + rounding, problem.options


# ------------------------------------------------------------------ how near the optimum


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, 0.1),
        ({"average": True}, 0.1),
        ({"schedule": "cosine"}, 0.1),
        ({"batch_size": 16}, 0.25),
        ({"batch_size": 1}, 0.4),
        ({"momentum": 0.9}, 0.5),
        ({"momentum": 0.9, "average": True}, 0.2),
        ({"momentum": 0.9, "schedule": "cosine"}, 0.5),
        ({"momentum": 0.9, "batch_size": 16}, 0.5),
    ],
)
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_the_rate_falls_where_the_loss_is_at_rest(
    name: str, options: dict[str, Any], allowed: float
) -> None:
    """At most this fraction of the way from a constant to the optimum remains."""
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    rows, labels = noisy(2000, 30, 3.0)
    floor = loss(
        LogisticRegression(solver="lbfgs", backend=BACKEND).fit(rows, labels), rows, labels
    )
    model = LogisticRegression(random_state=0, backend=name, **options).fit(rows, labels)
    left = (loss(model, rows, labels) - floor) / (entropy(labels) - floor)
    assert 0 <= left < allowed
    assert model.history_.stop_reason in ("tol", "max_epochs")


def test_what_learns_without_noise_is_left_alone() -> None:
    """There are no additional epochs, and the last epochs' steps are not smaller."""
    rows, labels = noisy(1000, 5, 0.1)
    # Without an intercept, whose rate is another, a number does what "auto" does.
    options = {"random_state": 0, "max_epochs": 12, "fit_intercept": False}
    measured = LogisticRegression(**options).fit(rows, labels)
    given = LogisticRegression(learning_rate=measured.learning_rate_, **options).fit(rows, labels)
    np.testing.assert_array_equal(measured.coef_, given.coef_)
    assert measured.n_iter_ == given.n_iter_ == 12


def test_a_rate_of_the_user_s_own_stays() -> None:
    rows, labels = noisy(1000, 50, 10.0)
    options = {"random_state": 0, "batch_size": 8, "max_epochs": 20}
    rate = LogisticRegression(**options).fit(rows, labels).learning_rate_
    model = LogisticRegression(learning_rate=rate, tol=None, **options).fit(rows, labels)
    assert loss(model, rows, labels) > entropy(labels)


# ------------------------------------------------------------------ cooling


def test_cooling_takes_a_tenth_of_the_epochs() -> None:
    assert [cooling_epochs(n) for n in (1, 3, 10, 40, 100, 1000)] == [1, 3, 4, 4, 10, 100]
    factors = cooling_factors(np.array([10, 11.5, 12.75]), 10, 13)
    np.testing.assert_allclose(factors, [1, 0.5, 0.25 / 3], rtol=1e-12)
    assert COOLING_EPOCHS == 4


def test_at_rest() -> None:
    generator = np.random.default_rng(0)
    falling = 0.7 - 0.001 * np.arange(30)
    assert not at_rest(falling, 4)
    assert not at_rest(falling + 1e-4 * generator.standard_normal(30), 10)
    assert at_rest(0.7 + 0.01 * generator.standard_normal(30), 10)
    assert at_rest(0.7 + 0.001 * np.arange(30), 10)
    assert not at_rest([0.9, 0.9, 0.9], 4)  # too few to tell
    assert at_rest([0.9] * 5, 4)


# ------------------------------------------------------------------ the constant model


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_constant_model_is_the_best_without_features(k: int, weighted: bool) -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, max(k, 2), 50) * generator.integers(0, 2, 50)
    weight = generator.exponential(size=50) if weighted else None
    samples = Samples(np.zeros((50, 1)), labels.astype(np.int32), weight)
    intercept, value = constant_model(samples, k)
    assert value == pytest.approx(entropy(labels, weight), rel=1e-12)
    score = get_backend("numpy").score
    total = 50 if weight is None else weight.sum()

    def mean(b: np.ndarray) -> float:
        return score(samples, np.zeros((k, 1)), b, 1)[0] / total

    assert mean(intercept) == pytest.approx(value, rel=1e-12)
    for change in 0.1 * np.eye(k):
        assert mean(intercept + change) > value
        assert mean(intercept - change) > value


def test_a_class_without_weight_gets_a_finite_constant() -> None:
    samples = Samples(np.zeros((20, 1)), np.zeros(20, np.int32))
    for k in (1, 3):
        intercept, value = constant_model(samples, k)
        assert np.abs(intercept).max() < 40
        assert 0 <= value < 1e-14
        held, dearer = constant_model(samples, k, intercept_decay=1e-2)
        assert np.abs(held).max() < 12
        assert 1e-3 < dearer < np.log(max(2, k))
        score = get_backend("numpy").score(samples, np.zeros((k, 1)), held, 1)[0] / 20
        assert dearer == pytest.approx(score + 0.5e-2 * np.sum(held**2), rel=1e-9)


@pytest.mark.parametrize("decay", [0.0, 1e-6])
def test_one_class_with_all_the_weight(decay: float) -> None:
    """A good model is not replaced if a constant model cannot reach its objective."""
    rows, labels = noisy(100, 3, 1.0)
    samples = Samples(rows, labels.astype(np.int32), labels * 2.0)
    parameters = Parameters(np.full((1, 3), 0.01), np.array([15.0]))
    before = parameters.intercept.copy()
    problem = problem_of(samples, l2=decay / 2, regularize_intercept=True)
    draw_to_constant(problem, parameters, 1.0)
    objective_of = [
        get_backend("numpy").score(problem.samples, np.zeros((1, 3)), b, 1)[0] / 100
        + decay / 2 * float(b @ b)
        for b in (before, parameters.intercept)
    ]
    assert objective_of[1] < objective_of[0] + 1e-6
    assert np.isfinite(parameters.weights).all()


@pytest.mark.parametrize("k", [2, 3, 7])
@pytest.mark.parametrize("decay", [1e-8, 1e-4, 0.3])
def test_the_best_constant_under_a_penalty(k: int, decay: float) -> None:
    generator = np.random.default_rng(k)
    labels = generator.integers(0, k, 60).astype(np.int32)
    for weight in (None, (labels == 1) * 1.0, generator.exponential(size=60)):
        samples = Samples(np.zeros((60, 1)), labels, weight)
        n_models = 1 if k == 2 else k
        intercept, value = constant_model(samples, n_models, decay)
        shares = np.bincount(labels, weight, k) / (60 if weight is None else weight.sum())
        logits = np.append(0.0, intercept) if k == 2 else intercept
        p = np.exp(logits - logits.max())
        gradient = (p / p.sum() - shares)[k - n_models :] + decay * intercept
        assert np.abs(gradient).max() < 1e-7
        loss = np.log(p.sum()) + logits.max() - shares @ logits
        assert value == pytest.approx(loss + decay / 2 * intercept @ intercept, rel=1e-9)


def problem_of(samples: Samples, k: int = 1, **changes: Any) -> Problem:
    batches = Batches(len(samples.rows), 10)
    return of_samples(samples, k, batches, **{"l2": 0.01, **changes}).problem


@pytest.mark.parametrize("changes", [{}, {"fit_intercept": False}, {"regularize_intercept": True}])
@pytest.mark.parametrize("k", [1, 3])
def test_worse_parameters_become_the_best_on_the_way(k: int, changes: dict[str, Any]) -> None:
    rows, labels = noisy(200, 4, 3.0)
    labels = (labels + (rows[:, 3] > 1) * (k > 1)).astype(np.int32)
    gain = np.array([1.0, 2.0, 0.5, 1.0])
    problem = problem_of(Samples(rows, labels), k, gain=gain, **changes)
    exact = LogisticRegression(solver="lbfgs", l2=0.01).fit(rows, labels)
    trained = "fit_intercept" not in changes
    weights, intercept = 8 * exact.coef_, (8 * exact.intercept_ + 1) * trained
    parameters = Parameters(
        weights.copy(), intercept.copy(), np.ones_like(weights), np.ones_like(intercept)
    )

    def objective(part: float) -> float:
        constant = constant_model(problem.samples, k, problem.intercept_decay)[0] * trained
        w, b = part * weights, constant + part * (intercept - constant)
        mean = get_backend("numpy").score(problem.samples, w, b, 1)[0] / 200
        penalty = 0.01 * (w**2 / gain).sum()
        return mean + penalty + problem.intercept_decay / 2 * (b**2).sum()

    assert objective(1.0) > objective(0.0)
    draw_to_constant(problem, parameters, 1.0)
    parts = np.linspace(0, 1, 2001)
    best = parts[np.argmin([objective(part) for part in parts])]
    assert 0.01 < best < 0.9
    np.testing.assert_allclose(parameters.weights, best * weights, rtol=0.02)
    assert not parameters.weights_velocity.any()
    assert not parameters.intercept_velocity.any()
    if not trained:
        assert not parameters.intercept.any()


@pytest.mark.parametrize(
    "word",
    ["sgd,csrfloat32,k=2,d=7,momentum,batch=int64", "sgd,csrfloat32,k=3,d=1,nesterov,batch=int64"],
)
def test_the_best_on_the_way_is_the_same_on_every_backend(word: str) -> None:
    """Values of the objective, rounded, are the same all about it: they left 1e-3 to chance."""
    task = hunt.Task.read(word)
    expected = hunt.fit(task, "numpy").coef_
    for backend in (name for name, found in backends().items() if found.available):
        got = hunt.fit(task, backend).coef_
        np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_better_parameters_stay() -> None:
    rows, labels = noisy(200, 4, 1.0)
    exact = LogisticRegression(solver="lbfgs", l2=0.01).fit(rows, labels)
    parameters = Parameters(exact.coef_.copy(), exact.intercept_.copy())
    draw_to_constant(problem_of(Samples(rows, labels.astype(np.int32))), parameters, 1.0)
    np.testing.assert_array_equal(parameters.weights, exact.coef_)


def test_averages_are_drawn_where_they_are_returned() -> None:
    rows, labels = noisy(200, 4, 5.0)
    bad = np.full((1, 4), 5.0), np.full(1, 5.0)
    good = np.zeros((1, 4)), np.zeros(1)
    parameters = Parameters(*good, weights_average=bad[0].copy(), intercept_average=bad[1].copy())
    draw_to_constant(problem_of(Samples(rows, labels.astype(np.int32))), parameters, 1.0)
    assert np.abs(parameters.to_return()[0]).max() < 1
    np.testing.assert_array_equal(parameters.weights, parameters.to_return()[0])


def test_a_pass_over_many_rows_is_saved_where_the_loss_is_low() -> None:
    n = FEW_ROWS + 1
    samples = Samples(np.ones((n, 1)), (np.arange(n) % 2).astype(np.int32))
    for latest, drawn in ((0.1, False), (0.6, True)):
        parameters = Parameters(np.full((1, 1), 9.0), np.zeros(1))
        draw_to_constant(problem_of(samples), parameters, latest)
        assert (parameters.weights[0, 0] < 1) == drawn
