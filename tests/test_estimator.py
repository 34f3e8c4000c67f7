"""The estimator: its names, what it predicts, and the optimum it seeks."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import numpy as np
import pytest
from estimators import TWO, WORDS, X, Y, model, of_classes
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.preprocessing import StandardScaler

from fastlin import History, LogisticRegression
from fastlin.kernels import BACKEND_NAMES, backends


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(return_X_y=True)


# ------------------------------------------------------------------ names

DEFAULTS = {
    "solver": "sgd",
    "backend": "auto",
    "l2": 1e-4,
    "learning_rate": "auto",
    "schedule": "constant",
    "momentum": 0.0,
    "nesterov": False,
    "average": False,
    "batch_size": 128,
    "drop_last": False,
    "max_epochs": 100,
    "shuffle": True,
    "tol": 1e-4,
    "early_stopping": False,
    "patience": 10,
    "checks_per_epoch": 1,
    "validation_fraction": 0.1,
    "fit_intercept": True,
    "regularize_intercept": False,
    "input_scale": None,
    "class_weight": None,
    "warm_start": False,
    "random_state": None,
    "n_threads": None,
    "dtype": "auto",
    "verbose": 0,
    "callbacks": None,
}


def test_the_options_and_their_defaults() -> None:
    signature = inspect.signature(LogisticRegression)
    assert {name: p.default for name, p in signature.parameters.items()} == DEFAULTS
    assert {p.kind for p in signature.parameters.values()} == {inspect.Parameter.KEYWORD_ONLY}
    assert LogisticRegression().get_params() == DEFAULTS


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        (
            "fit",
            ["X", "y", "sample_weight", "X_val", "y_val", "checkpoint", "checkpoint_every"],
        ),
        ("partial_fit", ["X", "y", "classes", "sample_weight"]),
        ("predict", ["X"]),
        ("predict_proba", ["X"]),
        ("predict_log_proba", ["X"]),
        ("decision_function", ["X"]),
        ("score", ["X", "y", "sample_weight"]),
        ("save", ["path"]),
        ("load", ["path"]),
    ],
)
def test_the_methods_and_their_arguments(method: str, arguments: list[str]) -> None:
    parameters = inspect.signature(getattr(model(), method)).parameters
    assert list(parameters) == arguments


def test_the_attributes_after_training() -> None:
    trained = model().fit(X, Y)
    assert trained.classes_.tolist() == [0, 1, 2]
    assert trained.coef_.shape == (3, 4)
    assert trained.intercept_.shape == (3,)
    assert trained.n_iter_ == 5
    assert trained.backend_ == "numpy"
    assert trained.n_features_in_ == 4
    assert trained.learning_rate_ > 0
    assert isinstance(trained.history_, History)
    assert trained.history_.steps_per_epoch == 6
    assert trained.history_.train_loss.shape == (30,)
    assert not hasattr(model(), "coef_")


# ------------------------------------------------------------------ prediction


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_digits_are_learned(name: str, digits: Any) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    rows, labels = digits
    trained = LogisticRegression(
        backend=name, input_scale=(0, 1 / 16), momentum=0.9, max_epochs=20, random_state=0
    ).fit(rows[:1200], labels[:1200])
    assert trained.backend_ == name
    assert trained.score(rows[:1200], labels[:1200]) > 0.97
    assert trained.score(rows[1200:], labels[1200:]) > 0.9


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    trained = model().fit(X, Y)
    logits = X @ trained.coef_.T + trained.intercept_
    np.testing.assert_allclose(trained.decision_function(X), logits, rtol=1e-12)
    right = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(trained.predict_proba(X), right, rtol=1e-12)
    np.testing.assert_allclose(trained.predict_log_proba(X), np.log(right), rtol=1e-10)
    np.testing.assert_array_equal(trained.predict(X), logits.argmax(axis=1))
    assert trained.score(X, Y) == np.mean(trained.predict(X) == Y)
    weight = np.linspace(0, 1, len(Y))
    right_share = np.average(trained.predict(X) == Y, weights=weight)
    assert trained.score(X, Y, sample_weight=weight) == pytest.approx(right_share)


def test_two_classes_have_one_row_of_weights_and_a_sigmoid() -> None:
    trained = model().fit(X[TWO], WORDS[Y[TWO]])
    assert trained.classes_.tolist() == ["ant", "bee"]
    assert trained.coef_.shape == (1, 4)
    assert trained.intercept_.shape == (1,)
    logits = trained.decision_function(X)
    assert logits.shape == (90,)
    np.testing.assert_allclose(logits, X @ trained.coef_[0] + trained.intercept_[0], rtol=1e-12)
    of_bee = 1 / (1 + np.exp(-logits))
    probabilities = trained.predict_proba(X)
    np.testing.assert_allclose(probabilities, np.column_stack([1 - of_bee, of_bee]), atol=1e-15)
    np.testing.assert_array_equal(trained.predict(X), np.where(logits > 0, "bee", "ant"))
    assert 0.6 < trained.score(X[TWO], WORDS[Y[TWO]]) <= 1


def test_log_probabilities_are_finite_where_probabilities_are_zero() -> None:
    trained = model().fit(X, Y)
    far = 1e6 * X[:5]
    assert (trained.predict_proba(far) == 0).any()
    assert np.isfinite(trained.predict_log_proba(far)).all()


@pytest.mark.parametrize("labels", [WORDS, np.array([-1, 5, 7]), np.array([0.0, 1.0, 2.0])])
def test_labels_of_any_kind_give_the_same_model(labels: np.ndarray) -> None:
    expected, trained = model().fit(X, Y), model().fit(X, labels[Y])
    np.testing.assert_array_equal(trained.coef_, expected.coef_)
    np.testing.assert_array_equal(trained.classes_, labels)
    np.testing.assert_array_equal(trained.predict(X), labels[expected.predict(X)])
    assert trained.predict(X).dtype == labels.dtype


# ------------------------------------------------------------------ the optimum


@functools.cache
def optimum(k: int) -> tuple[np.ndarray, np.ndarray, SklearnLogisticRegression]:
    """The digits below k, and what Newton's method makes of them."""
    rows, labels = load_digits(n_class=k, return_X_y=True)
    # C multiplies the sum of the losses, and the penalty there is half the sum of squares.
    oracle = SklearnLogisticRegression(
        C=1 / (2 * 0.01 * len(rows)), solver="newton-cholesky", tol=1e-10
    )
    return rows / 16, labels, oracle.fit(rows / 16, labels)


@pytest.mark.parametrize("name", BACKEND_NAMES)
@pytest.mark.parametrize("k", [2, 10])
def test_lbfgs_reaches_the_optimum(name: str, k: int) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    rows, labels, oracle = optimum(k)
    trained = LogisticRegression(
        solver="lbfgs", backend=name, l2=0.01, tol=1e-12, max_epochs=1000
    ).fit(rows, labels)
    np.testing.assert_allclose(trained.coef_, oracle.coef_, atol=2e-6)
    # The softmax does not change if all intercepts do by the same number; compare differences.
    gap = trained.intercept_ - oracle.intercept_
    np.testing.assert_allclose(gap - (gap.mean() if k > 2 else 0), 0, atol=1e-5)
    assert trained.history_.stop_reason == "tol"
    assert trained.n_iter_ == len(trained.history_.train_loss) > 3


def test_lbfgs_knows_the_scale_the_weights_and_the_intercept_s_penalty() -> None:
    options = {"solver": "lbfgs", "tol": 1e-9, "max_epochs": 1000, "l2": 0.05}
    weight = np.linspace(0.1, 2, len(Y))
    scaled = (X - 3) / np.arange(1, 5)
    for changes in ({}, {"fit_intercept": False}, {"regularize_intercept": True}):
        inside = model(**options, **changes, input_scale=(3, 1 / np.arange(1, 5)))
        outside = model(**options, **changes)
        inside.fit(X, Y, sample_weight=weight)
        outside.fit(scaled, Y, sample_weight=weight)
        probabilities = outside.predict_proba(scaled)
        np.testing.assert_allclose(inside.predict_proba(X), probabilities, atol=1e-6)
    assert np.abs(outside.intercept_).max() < 1


def test_lbfgs_takes_no_notice_of_what_belongs_to_sgd() -> None:
    plain = model(solver="lbfgs", tol=0).fit(X, Y)
    other = model(
        solver="lbfgs", tol=0, average=True, momentum=0.9, drop_last=True, batch_size=1000
    )
    np.testing.assert_array_equal(plain.coef_, other.fit(X, Y).coef_)
    assert plain.coef_.any()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "nesterov": True, "schedule": "cosine"},
        {"schedule": "invscaling", "average": True},
    ],
)
@pytest.mark.parametrize("k", [2, 3])
def test_sgd_comes_close_to_the_optimum(options: dict[str, Any], k: int) -> None:
    rows, labels = of_classes(k)
    common = {"input_scale": "standard", "l2": 0.01, "tol": 0}
    best = model(solver="lbfgs", **common | {"max_epochs": 1000, "tol": 1e-9}).fit(rows, labels)
    trained = model(**common, **options, max_epochs=300).fit(rows, labels)
    scaled = StandardScaler().fit_transform(rows)

    def of(one: LogisticRegression) -> float:
        weights = one.coef_ * rows.std(axis=0)
        chosen = one.predict_log_proba(rows)[np.arange(len(rows)), labels]
        return float(-chosen.mean() + 0.01 * (weights**2).sum())

    assert scaled.std() == pytest.approx(1)
    start = np.log(k)
    assert of(best) <= of(trained) + 1e-12
    assert of(trained) - of(best) < 0.02 * (start - of(best))
