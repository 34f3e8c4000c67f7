"""The estimator: its names, its options, its mistakes."""

from __future__ import annotations

import functools
import inspect
import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression as SklearnLogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastlin import History, LogisticRegression
from fastlin.errors import BackendUnavailableError, DivergenceError, FastlinError, InputError
from fastlin.kernels import BACKEND_NAMES, Backend, backends, load_backend
from fastlin.rows.samples import kernel_rows
from fastlin.solvers.sgd import Progress


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    return load_digits(return_X_y=True)


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
        ("fit", ["X", "y", "sample_weight", "X_val", "y_val"]),
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
    # The softmax does not change where all intercepts do, so only differences are determined.
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


# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("option", "scaler"), [("minmax", MinMaxScaler()), ("standard", StandardScaler())]
)
@pytest.mark.parametrize("k", [2, 3])
def test_the_scale_of_the_inputs_is_folded_in(option: str, scaler: Any, k: int) -> None:
    rows, labels = of_classes(k)
    inside = model(input_scale=option, l2=0.1, learning_rate=0.2).fit(rows, labels)
    outside = make_pipeline(scaler, model(l2=0.1, learning_rate=0.2)).fit(rows, labels)
    np.testing.assert_allclose(
        inside.history_.train_loss, outside[-1].history_.train_loss, rtol=1e-9
    )
    np.testing.assert_allclose(inside.predict_proba(X), outside.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(
        inside.coef_,
        outside[-1].coef_ * scaler.scale_ ** (1 if option == "minmax" else -1),
        rtol=1e-8,
    )


def test_pixels_are_scaled_without_a_copy_of_them_in_floating_point() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (200, 30)).astype(np.uint8)
    labels = np.arange(200) % 3
    options = {"dtype": "float64", "learning_rate": 0.05}
    inside = model(input_scale=(127.5, 1 / 127.5), **options).fit(pixels, labels)
    outside = model(**options).fit((pixels - 127.5) / 127.5, labels)
    np.testing.assert_allclose(inside.history_.train_loss, outside.history_.train_loss, rtol=1e-10)
    scaled = (pixels - 127.5) / 127.5
    np.testing.assert_allclose(
        inside.predict_proba(pixels), outside.predict_proba(scaled), rtol=1e-9
    )


def test_an_automatic_rate_is_that_of_the_scaled_rows() -> None:
    inside = model(input_scale="standard").fit(X, Y)
    outside = model().fit(StandardScaler().fit_transform(X), Y)
    assert inside.learning_rate_ == pytest.approx(outside.learning_rate_, rel=1e-5)
    assert model(learning_rate=0.125).fit(X, Y).learning_rate_ == 0.125


@pytest.mark.parametrize("scale", [None, "minmax", "standard"])
def test_weights_of_rows_are_repetitions(scale: str | None) -> None:
    """With all rows in a batch."""
    generator = np.random.default_rng(0)
    times = generator.integers(0, 4, len(Y))
    options = {"batch_size": 1000, "input_scale": scale, "max_epochs": 20, "tol": None}
    weighted = model(**options).fit(X, Y, sample_weight=times)
    repeated = model(**options).fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        weighted.history_.train_loss, repeated.history_.train_loss, rtol=1e-12
    )


def test_weights_of_classes_are_weights_of_rows() -> None:
    weight = {0: 1.0, 1: 3.0, 2: 0.5}
    of_rows = np.array([weight[label] for label in Y])
    by_class = model(class_weight=weight).fit(X, Y)
    np.testing.assert_array_equal(by_class.coef_, model().fit(X, Y, sample_weight=of_rows).coef_)
    both = model(class_weight=weight).fit(X, Y, sample_weight=of_rows)
    squared = model().fit(X, Y, sample_weight=of_rows**2)
    np.testing.assert_allclose(both.coef_, squared.coef_, rtol=1e-12)


def test_balanced_classes_weigh_the_same() -> None:
    some = np.r_[np.flatnonzero(Y == 0)[:5], np.flatnonzero(Y == 1), np.flatnonzero(Y == 2)[:10]]
    counts = np.bincount(Y[some])
    balanced = model(class_weight="balanced").fit(X[some], Y[some])
    by_hand = model(class_weight=dict(enumerate(len(some) / (3 * counts)))).fit(X[some], Y[some])
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-12)
    assert not np.allclose(balanced.coef_, model().fit(X[some], Y[some]).coef_)


def test_balanced_classes_count_a_row_with_weight_two_twice() -> None:
    times = np.random.default_rng(0).integers(0, 4, len(Y))
    options = {"class_weight": "balanced", "batch_size": 1000}
    weighted = model(**options).fit(X, Y, sample_weight=times)
    repeated = model(**options).fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9)
    # A class without any weight is only ever wrong.
    two = model(**options).fit(X, Y, sample_weight=np.where(TWO, 1, 0))
    assert two.predict_proba(X)[:, 2].mean() < 0.2


def test_an_intercept_is_trained_penalised_or_left_out() -> None:
    rows = X - X.mean(axis=0)
    labels = np.where(Y == 2, 2, 0)  # one class twice as frequent, so that an intercept is needed
    options = {"learning_rate": 0.05, "max_epochs": 50, "l2": 0.5}
    free = model(**options).fit(rows, labels)
    held = model(**options, regularize_intercept=True).fit(rows, labels)
    none = model(**options, fit_intercept=False).fit(rows, labels)
    assert 0 < abs(held.intercept_[0]) < abs(free.intercept_[0])
    assert none.intercept_[0] == 0


@pytest.mark.parametrize(
    ("rows", "option", "expected"),
    [
        ("uint8", "auto", "float32"),
        ("float32", "auto", "float32"),
        ("float64", "auto", "float64"),
        ("int64", "auto", "float64"),
        ("uint8", "float64", "float64"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
def test_types_of_weights(rows: str, option: str, expected: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 9, (60, 4)).astype(rows)
    trained = model(dtype=option).fit(values, np.arange(60) % 3)
    assert trained.coef_.dtype == trained.intercept_.dtype == expected
    assert trained.decision_function(values).dtype == expected


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_seed_fixes_the_bits_of_a_fit(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    generator = np.random.default_rng(0)
    rows, labels = generator.standard_normal((300, 784)), np.arange(300) % 10

    def fit(seed: int, n_threads: int | None = None) -> np.ndarray:
        options = {"backend": name, "random_state": seed, "n_threads": n_threads, "batch_size": 128}
        return model(**options).fit(rows, labels).coef_

    np.testing.assert_array_equal(fit(0), fit(0))
    np.testing.assert_array_equal(fit(0, 1), fit(0, 3))
    assert not np.array_equal(fit(0), fit(1))


def test_without_shuffling_the_seed_does_not_matter() -> None:
    one, other = (model(shuffle=False, random_state=seed).fit(X, Y) for seed in (0, 1))
    np.testing.assert_array_equal(one.coef_, other.coef_)


def test_a_generator_as_seed_goes_on() -> None:
    state = np.random.RandomState(0)
    first, second = (model(random_state=state).fit(X, Y) for _ in range(2))
    assert not np.array_equal(first.coef_, second.coef_)


def test_a_line_an_epoch_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    model(verbose=1, max_epochs=3).fit(X, Y, X_val=X, y_val=Y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("loss" in line and "val_accuracy" in line and "rows/s" in line for line in lines)
    model().fit(X, Y)
    assert capsys.readouterr().out == ""


def test_callbacks_see_and_stop() -> None:
    seen: list[Progress] = []

    def stop_in_the_third(progress: Progress) -> bool:
        seen.append(progress)
        return progress.epoch == 2

    trained = model(callbacks=[stop_in_the_third], max_epochs=10).fit(X, Y)
    assert trained.n_iter_ == len(seen) == 3
    assert trained.history_.stop_reason == "callback"


# ------------------------------------------------------------------ validation and stopping


def test_a_validation_set_is_recorded_and_changes_nothing() -> None:
    plain = model().fit(X, Y)
    checked = model(checks_per_epoch=2).fit(X, Y, X_val=X[:40], y_val=Y[:40])
    np.testing.assert_array_equal(plain.coef_, checked.coef_)
    history = checked.history_
    assert history.check_step.tolist() == list(range(0, 30, 3))
    assert history.val_loss.shape == history.val_accuracy.shape == (10,)


def test_early_stopping_on_a_set_of_one_s_own_returns_the_best_weights() -> None:
    X_val, y_val = X[:30], (Y[:30] + 1) % 3  # the better the training rows, the worse these
    trained = model(
        early_stopping=True, patience=3, max_epochs=50, checks_per_epoch=6, learning_rate=0.01
    ).fit(X, Y, X_val=X_val, y_val=y_val)
    history = trained.history_
    assert history.stop_reason == "early_stopping"
    assert history.best_step == history.check_step[history.val_loss.argmin()]
    assert len(history.check_step) == int(history.val_loss.argmin()) + 1 + 3
    chosen = trained.predict_log_proba(X_val)[np.arange(30), y_val]
    assert -chosen.mean() == pytest.approx(history.val_loss.min(), rel=1e-12)
    assert trained.n_iter_ == history.stopped_epoch + 1


def test_early_stopping_splits_its_own_part_off() -> None:
    trained = model(early_stopping=True, validation_fraction=0.2).fit(X, WORDS[Y])
    assert trained.history_.steps_per_epoch == -(-72 // 16)
    # 18 rows, of each class alike: accuracies are multiples of 1/18.
    np.testing.assert_allclose(trained.history_.val_accuracy * 18 % 1, 0, atol=1e-9)
    again = model(early_stopping=True, validation_fraction=0.2).fit(X, WORDS[Y])
    np.testing.assert_array_equal(trained.coef_, again.coef_)


def test_tol_ends_the_training() -> None:
    trained = model(tol=10.0, patience=3, max_epochs=100).fit(X, Y)
    assert trained.history_.stop_reason == "tol"
    assert trained.n_iter_ == 4
    for tol in (0, None):
        assert model(tol=tol, patience=1, max_epochs=30).fit(X, Y).n_iter_ == 30


# ------------------------------------------------------------------ training on


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("scale", [None, "standard", (3, [1, 0.5, 0.3, 0.25])])
@pytest.mark.parametrize(
    "descent",
    [
        {},
        {"momentum": 0.9, "schedule": "cosine"},
        {"momentum": 0.8, "nesterov": True, "average": True, "schedule": "invscaling"},
    ],
)
def test_partial_fit_makes_an_epoch_at_a_time(k: int, scale: Any, descent: dict[str, Any]) -> None:
    rows, labels = of_classes(k)
    options = {"shuffle": False, "input_scale": scale, "max_epochs": 3, **descent}
    whole = model(**options).fit(rows, labels)
    parts = model(**options)
    for _ in range(3):
        parts.partial_fit(rows, labels, classes=range(k))
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-10)
    np.testing.assert_allclose(parts.intercept_, whole.intercept_, rtol=1e-9)
    assert parts.n_iter_ == 1


def test_partial_fit_goes_on_from_a_fit() -> None:
    options = {"shuffle": False, "momentum": 0.9, "average": True, "schedule": "invscaling"}
    whole = model(**options, max_epochs=4).fit(X, Y)
    parts = model(**options, max_epochs=3).fit(X, Y).partial_fit(X, Y)
    np.testing.assert_allclose(parts.coef_, whole.coef_, rtol=1e-12)
    again = pickle.loads(pickle.dumps(parts)).partial_fit(X, Y)
    np.testing.assert_array_equal(again.coef_, parts.partial_fit(X, Y).coef_)
    # A new fit begins anew, from zero or from the present weights.
    np.testing.assert_array_equal(
        parts.fit(X, Y).coef_, model(**options, max_epochs=3).fit(X, Y).coef_
    )


def test_a_rate_is_measured_where_there_was_none() -> None:
    """L-BFGS needs none, so what goes on from it measures one."""
    estimator = model(solver="lbfgs", tol=0).fit(X, Y)
    assert np.isnan(estimator.learning_rate_)
    estimator.set_params(solver="sgd").partial_fit(X, Y)
    assert 0 < estimator.learning_rate_ < 10


def test_partial_fit_waits_for_classes_that_come_later() -> None:
    trained = model().partial_fit(X[TWO], Y[TWO], classes=[2, 0, 1])
    assert trained.coef_.shape == (3, 4)
    before = trained.coef_.copy()
    trained.partial_fit(X[~TWO], Y[~TWO])
    assert not np.array_equal(trained.coef_, before)


def test_a_warm_start_goes_on() -> None:
    options = {"shuffle": False, "input_scale": "standard", "learning_rate": 0.1}
    whole = model(**options, max_epochs=6).fit(X, Y)
    halves = model(**options, max_epochs=3, warm_start=True).fit(X, Y).fit(X, Y)
    np.testing.assert_allclose(halves.coef_, whole.coef_, rtol=1e-10)
    cold = model(**options, max_epochs=3).fit(X, Y)
    first = cold.coef_.copy()
    np.testing.assert_array_equal(cold.fit(X, Y).coef_, first)


def test_copies() -> None:
    trained = model(input_scale="standard").fit(X, Y)
    unpickled = pickle.loads(pickle.dumps(trained))
    np.testing.assert_array_equal(unpickled.predict_proba(X), trained.predict_proba(X))
    assert unpickled.history_.train_loss.tolist() == trained.history_.train_loss.tolist()
    unpickled.partial_fit(X, Y)
    fresh = clone(trained)
    assert fresh.get_params() == trained.get_params()
    assert not hasattr(fresh, "coef_")


def test_save_and_load(tmp_path: Path) -> None:
    trained = model().fit(X, WORDS[Y])
    trained.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(X), trained.predict(X))


# ------------------------------------------------------------------ memory


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_rows_are_read_where_they_lie(dtype: str) -> None:
    if not backends()["c"].available:
        pytest.skip("backend 'c' is not available")
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 256, (20_000, 200)).astype(dtype)
    labels = np.arange(20_000) % 2
    rows.flags.writeable = False
    trained = model(backend="c", learning_rate=1e-6, max_epochs=1, n_threads=2)
    trained.fit(rows[:100], labels[:100])  # imports what it needs
    tracemalloc.start()
    try:
        trained.fit(rows, labels, X_val=rows, y_val=labels)
        trained.predict(rows)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    of_the_rest = 10 * labels.nbytes
    assert peak < of_the_rest < rows.nbytes / 2


def test_memory_mapped_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    assert isinstance(mapped, np.memmap)
    np.testing.assert_array_equal(model().fit(mapped, Y).coef_, model().fit(X, Y).coef_)


# ------------------------------------------------------------------ mistakes


def with_value(value: float) -> np.ndarray:
    rows = X.copy()
    rows[3, 1] = value
    return rows


ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "one dimension": ({"X": X[0]}, r"shape \(4,\); expected \(n, d\).* Reshape your data"),
    "three dimensions": (
        {"X": np.zeros((90, 2, 2))},
        r"shape \(90, 2, 2\).* X.reshape\(len\(X\), -1\)",
    ),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "0 sample"),
    "no features": ({"X": X[:, :0]}, "0 feature"),
    "nan": ({"X": with_value(np.nan)}, "X contains NaN"),
    "infinity": ({"X": with_value(np.inf)}, "X contains infinity"),
    "words for numbers": ({"X": np.full((90, 4), "a")}, "could not convert string to float: .*'a'"),
    "other lengths": ({"y": Y[:-1]}, "90 rows and 89 labels in y; pass one"),
    "no labels": ({"y": None}, "requires y to be passed"),
    "labels of two columns": ({"y": np.column_stack([Y, Y])}, r"1d array, got .* \(90, 2\)"),
    "labels nan": ({"y": np.where(Y == 0, np.nan, Y)}, "y contains NaN"),
    "numbers for labels": ({"y": X[:, 0]}, "Unknown label type: continuous"),
    "one class": ({"y": np.full(90, "ant")}, "one class only .'ant'.; .* two different labels"),
    "weights of other length": (
        {"sample_weight": np.ones(89)},
        r"sample_weight.shape == \(89,\), expected \(90,\)",
    ),
    "negative weights": ({"sample_weight": -np.ones(90)}, "Negative values .* `sample_weight`"),
    "weights nan": ({"sample_weight": np.full(90, np.nan)}, "sample_weight contains NaN"),
    "weights whose sum overflows": (
        {"sample_weight": np.full(90, 1e308)},
        "sample_weight as large as 1e.308 overflow when summed up; divide them by their largest",
    ),
    "no weight": ({"sample_weight": np.zeros(90)}, "at least one"),
    "validation without labels": ({"X_val": X}, "y_val is missing: pass both X_val and y_val"),
    "validation without rows": ({"y_val": Y}, "X_val is missing: pass both X_val and y_val"),
    "validation of other width": (
        {"X_val": X[:, :3], "y_val": Y},
        r"validation set \(X_val, y_val\) is wrong: X has 3 features, .* expecting 4",
    ),
    "validation of other length": (
        {"X_val": X, "y_val": Y[1:]},
        "validation set .* 90 rows and 89 labels in y_val",
    ),
    "empty validation": ({"X_val": X[:0], "y_val": Y[:0]}, "validation set .* 0 sample"),
    "validation nan": ({"X_val": with_value(np.nan), "y_val": Y}, "validation set .* NaN"),
    "unseen labels": (
        {"X_val": X, "y_val": Y + 1},
        "y_val holds labels that were not seen in training: 3; expected 0, 1, 2",
    ),
    "labels of another kind": (
        {"X_val": X, "y_val": WORDS[Y]},
        "y_val holds labels that were not seen in training: 'ant', 'bee', 'cat'; expected 0",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_used(name: str) -> None:
    changes, said = ARRAYS[name]
    estimator = model()
    with pytest.raises(InputError, match=said) as caught:
        estimator.fit(**{"X": X, "y": Y, **changes})
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert not hasattr(estimator, "coef_")


def test_a_split_that_takes_all_the_weight_is_refused() -> None:
    estimator = model(early_stopping=True, validation_fraction=0.9)
    with pytest.raises(InputError, match=r"early_stopping .* all rows of positive weight.*; pass"):
        estimator.fit(X, Y, sample_weight=np.arange(90) == 0)
    assert not hasattr(estimator, "coef_")


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, r"'batch_size' .* int in the range \[1, inf\). Got 0"),
    ({"batch_size": -128}, "'batch_size' .* Got -128"),
    ({"batch_size": 2.5}, "'batch_size' .* Got 2.5"),
    ({"max_epochs": 0}, "'max_epochs' .* Got 0"),
    ({"patience": 0}, "'patience' .* Got 0"),
    ({"checks_per_epoch": 0}, "'checks_per_epoch' .* Got 0"),
    ({"n_threads": 0}, "'n_threads' .* Got 0"),
    ({"n_threads": -1}, "'n_threads' .* Got -1"),
    ({"l2": -1e-4}, r"'l2' .* float in the range \[0.0, inf\). Got -0.0001"),
    ({"l2": np.nan}, "'l2' .* Got nan"),
    ({"learning_rate": 0}, r"'learning_rate' .*'auto'.* \(0.0, inf\). Got 0"),
    ({"learning_rate": "fast"}, "'learning_rate' .* Got 'fast'"),
    ({"momentum": 1.0}, r"'momentum' .* \[0.0, 1.0\). Got 1.0"),
    ({"tol": -1}, "'tol' .* Got -1"),
    ({"validation_fraction": 1}, "'validation_fraction' .* Got 1"),
    ({"solver": "newton"}, "'solver' .* Got 'newton'"),
    ({"schedule": "step"}, "'schedule' .* Got 'step'"),
    ({"dtype": "float16"}, "'dtype' .* Got 'float16'"),
    ({"shuffle": "no"}, "'shuffle' .* Got 'no'"),
    ({"backend": "fortran"}, "'backend' .* Got 'fortran'"),
    ({"callbacks": print}, "'callbacks' .* 'list'"),
    ({"callbacks": [print, 5]}, r"callbacks\[1\] is 5, which cannot be called; .* set_callbacks"),
    ({"class_weight": "heavy"}, "'class_weight' .*'balanced'.* Got 'heavy'"),
    ({"class_weight": {0: -1, 1: 1, 2: 1}}, "gives 0 the weight -1; .* not negative"),
    ({"class_weight": {0: np.nan, 1: 1, 2: 1}}, "gives 0 the weight nan; .* finite"),
    (
        {"input_scale": "robust"},
        "'input_scale' .*('minmax', 'standard'|'standard', 'minmax').* Got 'robust'",
    ),
    ({"input_scale": (1, 2, 3)}, r"not a pair \(shift, scale\)"),
    ({"input_scale": (0, 0)}, "positive scales"),
    ({"input_scale": (0, np.ones(3))}, "4 elements, one for each feature"),
    ({"batch_size": 91, "drop_last": True}, "leaves no whole batch of 90 training rows"),
    ({"early_stopping": True, "validation_fraction": 0.01}, "pass X_val and y_val"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options_that_cannot_be_used(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        model(**options).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_a_named_backend_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Backend:
        if name == "c":
            return Backend("c", reason="it was taken away", remedy="put it back")
        return load_backend(name)

    monkeypatch.setattr("fastlin.kernels.load_backend", load)
    with pytest.raises(BackendUnavailableError, match="'c' is not available: it was taken away"):
        model(backend="c").fit(X, Y)
    assert model(backend="numpy").fit(X, Y).backend_ == "numpy"


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_loss_that_is_not_finite(solver: str) -> None:
    with pytest.raises(DivergenceError, match="input_scale='standard'") as caught:
        model(solver=solver, learning_rate=1e300, tol=None).fit(X * 1e290, Y)
    assert isinstance(caught.value, (FastlinError, RuntimeError))


def test_mistakes_of_partial_fit() -> None:
    with pytest.raises(InputError, match="the first call of partial_fit needs classes"):
        model().partial_fit(X, Y)
    with pytest.raises(InputError, match="classes holds one class only"):
        model().partial_fit(X, Y, classes=[0])
    with pytest.raises(InputError, match="not seen in training: 2; expected 0, 1"):
        model().partial_fit(X, Y, classes=[0, 1])
    trained = model().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(InputError, match=r"classes=\[0, 1\] differ from those of the first call"):
        trained.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(InputError, match=r"X has 2 features, .* expecting 4"):
        trained.partial_fit(X[:, :2], Y)
    with pytest.raises(
        InputError, match=r"class_weight='balanced' needs all rows .* compute_class"
    ):
        model(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
    assert not hasattr(model(solver="lbfgs"), "partial_fit")
    with pytest.raises(AttributeError, match="'partial_fit'") as caught:
        model(solver="lbfgs").partial_fit(X, Y, classes=[0, 1, 2])
    assert "partial_fit needs solver='sgd'" in str(caught.value.__cause__)


def test_a_warm_start_that_does_not_fit() -> None:
    trained = model(warm_start=True).fit(X, Y)
    with pytest.raises(InputError, match=r"warm_start=True with 3 features, .* trained on 4; fit"):
        trained.fit(X[:, :3], Y)
    trained = model(warm_start=True).fit(X, Y)
    with pytest.raises(InputError, match=r"warm_start=True with classes \[0, 1\], .* \[0, 1, 2\]"):
        trained.fit(X[TWO], Y[TWO])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_mistakes_of_prediction(method: str) -> None:
    trained = model().fit(X, Y)
    for rows, said in (
        (X[0], "Reshape your data"),
        (X[:, :3], "X has 3 features, .* expecting 4"),
        (with_value(np.nan), "X contains NaN"),
        (X[:0], "0 sample"),
    ):
        with pytest.raises(InputError, match=said):
            getattr(trained, method)(rows)
    with pytest.raises(ValueError, match="not fitted yet"):
        getattr(model(), method)(X)


@pytest.mark.parametrize("name", ["numba", "c", "numpy"])
def test_rows_at_any_distance_are_read_where_they_lie(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"{name} is not available")
    generator = np.random.default_rng(5)
    X = generator.normal(size=(400, 20)).astype(np.float32)
    y = generator.integers(0, 3, 400)
    every_other, columns = X[::-2], np.asfortranarray(X[::-2])
    models = [
        LogisticRegression(backend=name, max_epochs=3, random_state=0).fit(rows, y[::-2])
        for rows in (every_other.copy(), every_other, columns)
    ]
    for model in models[1:]:
        np.testing.assert_array_equal(model.coef_, models[0].coef_)
    assert kernel_rows(every_other, np.dtype(np.float32)) is every_other


@pytest.mark.parametrize("backend", [b.name for b in backends().values() if b.available])
@pytest.mark.parametrize("sparse", [False, True])
def test_options_may_be_small_numbers_of_numpy(backend: str, sparse: bool) -> None:
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((1500, 6))
    labels = (dense[:, 0] > 0).astype(int)
    rows = csr_array(np.where(rng.random(dense.shape) < 0.5, dense, 0)) if sparse else dense

    def fit(**options: Any) -> LogisticRegression:
        fixed = {"max_epochs": 3, "tol": None, "random_state": 0, "schedule": "invscaling"}
        return LogisticRegression(backend=backend, **{**fixed, **options}).fit(rows, labels)

    plain = fit(batch_size=32)  # before the others, as a search over an array of sizes has it
    for number in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64):
        same = fit(batch_size=number(32))
        np.testing.assert_array_equal(same.coef_, plain.coef_)
    for name, value in {
        "max_epochs": np.int8(3),
        "n_threads": np.int8(2),
        "l2": np.float16(0.25),
        "momentum": np.float16(0.5),
        "learning_rate": np.float32(0.25),
        "nesterov": np.bool_(False),
        "shuffle": np.bool_(True),
    }.items():
        np.testing.assert_array_equal(fit(**{name: value}).coef_, fit(**{name: value.item()}).coef_)
