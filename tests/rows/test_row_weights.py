"""A weight means the same everywhere: a row of weight 0 is absent, one of weight 2 counts twice."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import accuracy_score, log_loss

import fastlin
from fastlin import LogisticRegression
from fastlin.advice import FastlinWarning
from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES, Samples, backends
from fastlin.rows.row_weights import evenly_by_weight
from fastlin.rows.scaling import ROWS_OF_A_MEAN, InputScale
from fastlin.solvers.schedules import safe_step_size

SOLVERS = ("sgd", "lbfgs")


@pytest.fixture(params=BACKEND_NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    if not backends()[request.param].available:
        pytest.skip(f"backend {request.param!r} is not available")
    return str(request.param)


def problem(n: int, d: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, d)) + 1
    return rows, (rows[:, 0] - 1 + 0.5 * generator.standard_normal(n) > 0).astype(int)


def masked(n: int, d: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return rows, of which some have weight 0; these are large and have wrong labels."""
    rows, labels = problem(n, d)
    weight = np.random.default_rng(1).uniform(0.5, 2, n)
    weight[np.random.default_rng(2).random(n) < 0.4] = 0
    nothing = weight == 0
    rows[nothing] *= 30
    labels[nothing] = 1 - labels[nothing]
    return rows, labels, weight


# ------------------------------------------------------------------ weight 0


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9, "schedule": "cosine", "average": True},
        {"input_scale": "standard", "early_stopping": True, "max_epochs": 40},
        {"class_weight": "balanced", "early_stopping": True, "drop_last": True},
        {"solver": "lbfgs", "tol": 1e-9},
        {"solver": "lbfgs", "early_stopping": True, "input_scale": "minmax"},
    ],
)
@pytest.mark.parametrize("sparse", [False, True])
def test_a_row_of_weight_zero_is_as_absent(
    options: dict[str, Any], sparse: bool, backend: str
) -> None:
    if sparse and "input_scale" in options:
        pytest.skip("sparse rows are not shifted")
    rows, labels, weight = masked(700)
    there = weight > 0

    def fit(x: np.ndarray, y: np.ndarray, w: np.ndarray) -> LogisticRegression:
        model = LogisticRegression(backend=backend, random_state=0, tol=options.get("tol"))
        model.set_params(**{"max_epochs": 15, "batch_size": 32, **options})
        return model.fit(csr_array(x) if sparse else x, y, sample_weight=w)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastlinWarning)
        with_them = fit(rows, labels, weight)
        without = fit(rows[there], labels[there], weight[there])
    np.testing.assert_allclose(with_them.coef_, without.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(with_them.intercept_, without.intercept_, rtol=1e-6, atol=1e-9)
    seen, expected = with_them.history_, without.history_
    np.testing.assert_allclose(seen.train_loss, expected.train_loss, rtol=1e-6)
    np.testing.assert_allclose(seen.val_loss, expected.val_loss, rtol=1e-6)
    np.testing.assert_allclose(seen.val_accuracy, expected.val_accuracy, atol=1e-12)
    np.testing.assert_allclose(seen.train_accuracy, expected.train_accuracy, atol=1e-12)
    assert not np.allclose(
        fit(rows, labels, np.where(there, weight, 1)).coef_, without.coef_, rtol=0.1
    )


@pytest.mark.parametrize("equal", [False, True])
def test_also_where_rate_and_means_are_of_a_part_of_the_rows(equal: bool) -> None:
    """More rows than the means take, and more bytes than the probe of the curvature does."""
    rows, labels, weight = masked(2 * ROWS_OF_A_MEAN + 100, 500)
    if equal:
        weight = (weight > 0).astype(float)
    there = weight > 0
    options = {"max_epochs": 1, "random_state": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastlinWarning)
        with_them = LogisticRegression(**options).fit(rows, labels, sample_weight=weight)
        without = LogisticRegression(**options)
        without.fit(rows[there], labels[there], sample_weight=weight[there])
        unweighted = LogisticRegression(**options).fit(rows[there], labels[there])
    assert with_them.learning_rate_ == pytest.approx(without.learning_rate_, rel=1e-9)
    np.testing.assert_allclose(with_them.coef_, without.coef_, rtol=1e-7, atol=1e-12)
    if equal:
        np.testing.assert_allclose(with_them.coef_, unweighted.coef_, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_of_weight_zero_do_not_choose_the_model(solver: str, backend: str) -> None:
    rows, labels = problem(3000, 20)
    weight = np.ones(3000)
    weight[:2400] = 0
    labels[:2400] = 1 - labels[:2400]
    model = LogisticRegression(
        solver=solver, early_stopping=True, patience=3, tol=None, random_state=0, backend=backend
    ).fit(rows, labels, sample_weight=weight)
    assert model.history_.val_accuracy.max() > 0.75
    assert model.score(rows[2400:], labels[2400:]) > 0.8


def test_a_split_needs_rows_that_weigh_something() -> None:
    rows, labels = problem(90)
    with pytest.raises(InputError, match=r"off 1 rows, which are all rows of positive weight .*"):
        LogisticRegression(early_stopping=True).fit(rows, labels, np.arange(90) == 0)


def test_no_advice_because_of_rows_that_weigh_nothing() -> None:
    rows, labels = problem(400)
    weight = np.ones(400)
    rows[::7, 2] *= 1e9
    weight[::7] = 0
    with warnings.catch_warnings():
        warnings.simplefilter("error", FastlinWarning)
        LogisticRegression(max_epochs=5).fit(rows, labels, sample_weight=weight)


def test_rows_of_weight_zero_do_not_hide_that_the_others_are_separated() -> None:
    rows, labels = problem(200)
    labels = (rows[:, 0] > 1).astype(int)
    labels[:20] = 1 - labels[:20]
    weight = (np.arange(200) >= 20).astype(float)
    options = {"l2": 0.0, "solver": "lbfgs", "tol": 1e-2}
    with pytest.warns(fastlin.advice.SeparableWarning):
        LogisticRegression(**options).fit(rows, labels, sample_weight=weight)


# ------------------------------------------------------------------ checks


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("solver", SOLVERS)
def test_checks_on_a_split_are_weighted(solver: str, n_classes: int) -> None:
    rows, labels = problem(400)
    labels[::5] *= n_classes - 1
    weight = np.random.default_rng(3).exponential(size=400)
    seen: list[tuple[Any, ...]] = []
    split = fastlin.training_set.split_validation_set

    def remember(*arguments: Any) -> Any:
        seen.append(split(*arguments))
        return seen[-1]

    options = {"solver": solver, "early_stopping": True, "random_state": 0, "tol": 1e-3}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fastlin.training_set, "split_validation_set", remember)
        model = LogisticRegression(max_epochs=20, **options).fit(rows, labels, weight)
    ((train_part, part),) = seen
    history = model.history_
    best = int(history.val_loss.argmin())
    probabilities = model.predict_proba(rows)
    predicted = model.predict(rows)
    assert history.val_loss[best] == pytest.approx(
        log_loss(labels[part], probabilities[part], sample_weight=weight[part]), rel=1e-9
    )
    assert history.val_loss[best] != pytest.approx(
        log_loss(labels[part], probabilities[part]), rel=1e-3
    )
    for name, rows_of in (("val_accuracy", part), ("train_accuracy", train_part)):
        expected = accuracy_score(
            labels[rows_of], predicted[rows_of], sample_weight=weight[rows_of]
        )
        assert getattr(history, name)[best] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_weights_of_classes_count_in_a_validation_set(sparse: bool) -> None:
    rows, labels = problem(300)
    X_val, y_val = problem(200, seed=1)
    if sparse:
        rows, X_val = csr_array(rows), csr_array(X_val)
    share = np.bincount(labels) / len(labels)
    own = np.random.default_rng(4).uniform(0.5, 2, 300)
    counts = np.bincount(labels, own)
    for option, weights, of_classes in (
        ({0: 5.0, 1: 1.0}, None, np.array([5.0, 1.0])),
        ("balanced", None, 1 / share),
        ("balanced", own, 1 / counts),
    ):
        model = LogisticRegression(solver="lbfgs", class_weight=option, max_epochs=3, tol=1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FastlinWarning)
            model.fit(rows, labels, weights, X_val=X_val, y_val=y_val)
        expected = log_loss(y_val, model.predict_proba(X_val), sample_weight=of_classes[y_val])
        assert model.history_.val_loss[-1] == pytest.approx(expected, rel=1e-9)
        path = fastlin.path(
            rows,
            labels,
            [1e-2],
            sample_weight=weights,
            X_val=X_val,
            y_val=y_val,
            class_weight=option,
            tol=1e-9,
        )
        best = path.best
        expected = log_loss(y_val, best.predict_proba(X_val), sample_weight=of_classes[y_val])
        assert path.val_loss[0] == pytest.approx(expected, rel=1e-9)


def test_a_validation_set_of_classes_that_weigh_nothing() -> None:
    rows, labels = problem(100)
    model = LogisticRegression(class_weight={0: 0.0, 1: 1.0})
    with pytest.raises(InputError, match="y_val holds only classes that have weight 0"):
        model.fit(rows, labels, X_val=rows[labels == 0], y_val=labels[labels == 0])


# ------------------------------------------------------------------ weight 2


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("scale", [None, "standard"])
def test_a_row_of_weight_two_is_two_rows_where_all_make_one_batch(solver: str, scale: Any) -> None:
    rows, labels = problem(300)
    times = np.random.default_rng(5).integers(0, 4, 300)
    options = {"solver": solver, "batch_size": 2000, "input_scale": scale, "max_epochs": 20}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FastlinWarning)
        weighted = LogisticRegression(**options).fit(rows, labels, sample_weight=times)
        repeated = LogisticRegression(**options)
        repeated.fit(np.repeat(rows, times, axis=0), np.repeat(labels, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-6)


def test_rows_drawn_by_weight_are_those_drawn_of_repeated_rows() -> None:
    times = np.random.default_rng(6).integers(0, 5, 1000)
    of_repeated = np.repeat(np.arange(1000), times)
    ends = np.arange(1, len(of_repeated) + 1)
    for size in (7, 100, 999):
        marks = np.arange(size) * (len(of_repeated) / size)
        expected = of_repeated[np.searchsorted(ends, marks, side="right")]
        np.testing.assert_array_equal(evenly_by_weight(times.astype(float), size), expected)
        np.testing.assert_array_equal(evenly_by_weight(0.1 * times, size), expected)
    np.testing.assert_array_equal(
        evenly_by_weight(times.astype(float), len(of_repeated)), of_repeated
    )
    # The last mark is the end itself, by rounding.
    assert evenly_by_weight(times.astype(float), 4096, np.nextafter(1, 0))[-1] == of_repeated[-1]
    equal = np.array([0.0, 2, 2, 0, 2, 2, 2, 2, 0])
    assert evenly_by_weight(equal, 3).tolist() == [1, 4, 6]


def test_means_and_rates_of_many_rows_count_a_row_as_often_as_its_weight_says() -> None:
    n, d = 3 * ROWS_OF_A_MEAN, 700
    rows, labels = problem(n, d)
    times = np.where(rows[:, 0] > 1, 8, 1)
    rows[:, 1] += 10 * (times > 1)
    rows *= 1 + (times > 1)[:, np.newaxis]
    weight = times / times.mean()
    unscaled = InputScale(np.zeros(d), np.ones(d))
    shift = unscaled.centred(rows, weight).shift
    expected = np.average(rows, axis=0, weights=times)
    deviation = rows.std(axis=0) / np.sqrt(ROWS_OF_A_MEAN)
    assert (np.abs(shift - expected) < 5 * deviation).all()
    assert abs(rows[:, 1].mean() - expected[1]) > 20 * deviation[1]
    arguments = (unscaled, 1, n, 0.0, True, np.dtype(np.float64))
    weighted = safe_step_size(Samples(rows, labels.astype(np.int32), weight), *arguments)
    some = np.random.default_rng(7).choice(n, 3000, p=weight / n)  # as many as fit in memory
    repeated = safe_step_size(Samples(rows[some], labels[some].astype(np.int32)), *arguments)
    plain = safe_step_size(Samples(rows, labels.astype(np.int32)), *arguments)
    assert weighted.learning_rate == pytest.approx(repeated.learning_rate, rel=0.1)
    assert weighted.learning_rate != pytest.approx(plain.learning_rate, rel=0.3)
