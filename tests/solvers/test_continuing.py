"""Options that change between calls, and the state from which training then continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimators import WORDS, X, Y, model, of_classes
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.solvers.continuing import REMEMBERED, unchanged

CLASSES = np.arange(3)
STILL = {"learning_rate": 1e-300}
"""Steps that change no weight: what a call then returns is what it started from."""
OF_RATE = {"momentum": 0.9, "average": True, "batch_size": 30, "l2": 3.0}


def trained(**options: Any) -> LogisticRegression:
    return model(**options).partial_fit(X, Y, classes=CLASSES).partial_fit(X, Y)


def objective(estimator: LogisticRegression) -> float:
    """Mean cross-entropy plus penalty, of the unscaled weights."""
    log_p = estimator.predict_log_proba(X)[np.arange(len(Y)), Y]
    return float(-log_p.mean() + estimator.l2 * np.square(estimator.coef_).sum())


HOWS = {
    "partial_fit": lambda m, **_: m.partial_fit(X, Y),
    "warm start": lambda m, **options: m.set_params(warm_start=True, **options).fit(X, Y),
}
each_how = pytest.mark.parametrize("how", HOWS)


# ------------------------------------------------------------------ intercept and scale


@each_how
@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("rate", ["auto", 0.1])  # with the former the features are centred
def test_an_intercept_that_shall_not_be_is_gone(how: str, average: bool, rate: Any) -> None:
    estimator = trained(momentum=0.9, average=average, learning_rate=rate)
    assert np.abs(estimator.intercept_).max() > 1e-3
    before = estimator.coef_
    estimator.set_params(fit_intercept=False)
    HOWS[how](estimator.set_params(**STILL), max_epochs=1)
    np.testing.assert_array_equal(estimator.intercept_, 0)
    np.testing.assert_allclose(estimator.coef_, before, rtol=1e-12)
    for _ in range(2):
        HOWS[how](estimator.set_params(learning_rate="auto"))
        np.testing.assert_array_equal(estimator.intercept_, 0)
    HOWS[how](estimator.set_params(fit_intercept=True))
    assert np.abs(estimator.intercept_).max() > 0


def test_without_an_intercept_it_ends_where_a_new_one_does() -> None:
    """The features must not stay centred, which would be an intercept in disguise."""
    options = {"max_epochs": 3000, "tol": 0, "l2": 0.1, "batch_size": len(X)}
    for change in ({"fit_intercept": False}, {"regularize_intercept": True}):
        expected = model(**options, **change).fit(X, Y)
        estimator = model(**options, warm_start=True).set_params(max_epochs=3).fit(X, Y)
        estimator.set_params(**change, max_epochs=3000).fit(X, Y)
        np.testing.assert_allclose(
            estimator.predict_proba(X), expected.predict_proba(X), rtol=0, atol=1e-4
        )


@each_how
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "standard"),
        ("standard", None),
        ("minmax", "standard"),
        ((1, 2), (3, np.array([1, 0.5, 0.3, 0.2]))),
        (("1", 2), "minmax"),
    ],
    ids=str,
)
def test_a_new_scale_scales_and_keeps_the_model(how: str, before: Any, after: Any) -> None:
    estimator = trained(input_scale=before, momentum=0.5)
    answers = estimator.predict_proba(X)
    HOWS[how](estimator.set_params(input_scale=after, **STILL))
    np.testing.assert_allclose(estimator.predict_proba(X), answers, rtol=1e-9)
    expected = model(input_scale=after, **STILL).fit(X, Y)._state.scale
    np.testing.assert_array_equal(estimator._state.scale.scale, expected.scale)
    np.testing.assert_array_equal(estimator._state.scale.shift, expected.shift)


def test_an_array_changed_in_place_is_a_new_scale() -> None:
    factors = np.ones(4)
    estimator = trained(input_scale=(0, factors))
    factors[:] = 0.25
    estimator.set_params(**STILL).partial_fit(X, Y)
    np.testing.assert_array_equal(estimator._state.scale.scale, 0.25)


def test_the_same_scale_is_that_of_the_first_rows() -> None:
    estimator = trained(input_scale="standard")
    before = estimator._state.scale.scale
    estimator.partial_fit(100 * X, Y)
    np.testing.assert_array_equal(estimator._state.scale.scale, before)


# ------------------------------------------------------------------ the descent


@each_how
@pytest.mark.parametrize("change", OF_RATE)
def test_a_rate_is_measured_anew_for_other_options(how: str, change: str) -> None:
    estimator = trained()
    rate = estimator.learning_rate_
    HOWS[how](estimator.set_params(**{change: OF_RATE[change]}))
    if change == "average":
        assert estimator.learning_rate_ == rate
    else:
        assert (
            estimator.learning_rate_ == model(**{change: OF_RATE[change]}).fit(X, Y).learning_rate_
        )
        assert estimator.learning_rate_ != rate


@each_how
def test_a_penalty_takes_effect(how: str) -> None:
    estimator = trained()
    for _ in range(30):
        HOWS[how](estimator.set_params(l2=1e3))
    assert np.abs(estimator.coef_).max() < 1e-3
    assert estimator.history_.stop_reason == "max_epochs"


@each_how
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_an_average_that_begins_is_of_new_iterates_alone(how: str, momentum: float) -> None:
    estimator = trained(momentum=momentum)
    answers = estimator.predict_proba(X)
    HOWS[how](estimator.set_params(average=True, **STILL))
    np.testing.assert_allclose(estimator.predict_proba(X), answers, rtol=1e-9)


@each_how
def test_an_average_that_ends_is_what_goes_on(how: str) -> None:
    estimator = trained(average=True, momentum=0.9)
    answers = estimator.predict_proba(X)
    HOWS[how](estimator.set_params(average=False, **STILL))
    np.testing.assert_allclose(estimator.predict_proba(X), answers, rtol=1e-9)


@each_how
def test_momentum_comes_and_goes(how: str) -> None:
    estimator = trained()
    for momentum in (0.9, 0.5, 0.0, 0.9):
        HOWS[how](estimator.set_params(momentum=momentum))
        velocity = estimator._state.parameters.weights_velocity
        assert (velocity is not None) == (momentum > 0)
    assert estimator.score(X, Y) > 0.7


def test_a_velocity_that_ended_does_not_come_back() -> None:
    plain = trained(momentum=0.9).set_params(momentum=0.0).partial_fit(X, Y)
    answers = plain.predict_proba(X)
    plain.set_params(momentum=0.9, **STILL).partial_fit(X, Y)
    np.testing.assert_allclose(plain.predict_proba(X), answers, rtol=1e-12)


def test_the_schedule_goes_on_where_the_features_are_scaled_anew() -> None:
    estimator = trained(schedule="cosine", learning_rate=0.01, max_epochs=10)
    estimator.set_params(input_scale="standard").partial_fit(X, Y)
    assert estimator._state.epochs_done == 3


def test_another_solver_goes_on_from_the_model() -> None:
    estimator = trained(average=True)
    answers = estimator.predict_proba(X)
    estimator.set_params(solver="lbfgs", warm_start=True, max_epochs=200, tol=1e-6).fit(X, Y)
    best = objective(estimator)
    assert best < objective(trained(average=True))
    estimator.set_params(solver="sgd", **STILL).partial_fit(X, Y)
    assert objective(estimator) == pytest.approx(best, rel=1e-9)
    assert np.abs(answers - estimator.predict_proba(X)).max() > 1e-3


# ------------------------------------------------------------------ types and layouts


@each_how
def test_a_new_type_takes_effect(how: str) -> None:
    estimator = trained()
    coef = estimator.coef_
    assert coef.dtype == np.float64
    HOWS[how](estimator.set_params(dtype="float32", **STILL))
    assert estimator.coef_.dtype == np.float32
    np.testing.assert_allclose(estimator.coef_, coef, rtol=1e-6)
    HOWS[how](estimator.set_params(dtype="float64"))
    assert estimator.coef_.dtype == np.float64


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_rows_of_another_type_do_not_round_the_model(dtype: str) -> None:
    rows = X.clip(0, 255).astype(dtype)
    estimator = trained()
    estimator.partial_fit(rows, Y)
    assert estimator.coef_.dtype == np.float64
    narrow = model().partial_fit(rows, Y, classes=CLASSES).partial_fit(rows, Y)
    assert narrow.coef_.dtype == np.float32
    assert narrow.partial_fit(X, Y).coef_.dtype == np.float64
    assert narrow.partial_fit(rows, Y).coef_.dtype == np.float64
    assert narrow.fit(rows, Y).coef_.dtype == np.float32  # from zero


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_dense_and_sparse_rows_in_turn(momentum: float) -> None:
    estimator = trained(momentum=momentum)
    for rows in (csr_array(X), X, csr_array(X), X):
        answers = estimator.predict_proba(X)
        rate = estimator.learning_rate
        estimator.set_params(**STILL).partial_fit(rows, Y)
        # A velocity that goes on moves by nothing at such a rate.
        np.testing.assert_allclose(estimator.predict_proba(X), answers, rtol=1e-9)
        estimator.set_params(learning_rate=rate).partial_fit(rows, Y)
    assert estimator.score(X, Y) > 0.7


# ------------------------------------------------------------------ weights that were assigned


@each_how
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"average": True, "momentum": 0.5}])
def test_it_goes_on_from_weights_that_were_assigned(how: str, options: dict[str, Any]) -> None:
    coef, intercept = np.arange(12.0).reshape(3, 4) / 10, np.array([1.0, 0, -1])
    for in_place in (False, True):
        estimator = trained(**options)
        if in_place:
            estimator.coef_[...], estimator.intercept_[...] = coef, intercept
        else:
            estimator.coef_, estimator.intercept_ = coef, intercept
        HOWS[how](estimator.set_params(**STILL), max_epochs=1)
        np.testing.assert_allclose(estimator.coef_, coef, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(estimator.intercept_, intercept, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("in_place", [False, True])
def test_an_intercept_alone_that_was_assigned(in_place: bool) -> None:
    # With a rate of its own the run could go on from where it was.
    estimator = trained(momentum=0.9, learning_rate=0.1)
    coef = estimator.coef_
    if in_place:
        estimator.intercept_[...] = [5, 0, -5]
    else:
        estimator.intercept_ = np.array([5.0, 0, -5])
    estimator.set_params(**STILL).partial_fit(X, Y)
    np.testing.assert_allclose(estimator.coef_, coef, rtol=1e-12)
    np.testing.assert_allclose(estimator.intercept_, [5, 0, -5], atol=1e-12)


def test_weights_assigned_in_place_change_nothing_else() -> None:
    """The velocity and the iterates that the average is of are not the arrays of the model."""
    estimator = trained(average=True, momentum=0.9)
    shared = [
        name
        for name, values in vars(estimator._state.parameters).items()
        if np.shares_memory(estimator.coef_, values)
        or np.shares_memory(estimator.intercept_, values)
    ]
    assert shared == ["weights_average"]


def test_the_present_weights_have_one_holder() -> None:
    estimator = trained(momentum=0.9)
    assert estimator.coef_ is estimator._state.parameters.weights
    estimator.coef_ = estimator.coef_.copy()
    assert estimator._state.parameters is None  # the velocity begins anew


def test_an_edit_in_place_is_kept_in_a_file(tmp_path: Path) -> None:
    estimator = trained(momentum=0.9)
    estimator.intercept_[...] = [5, 0, -5]
    estimator.save(tmp_path / "m")
    loaded = LogisticRegression.load(tmp_path / "m").set_params(**STILL).partial_fit(X, Y)
    np.testing.assert_allclose(loaded.intercept_, [5, 0, -5], atol=1e-12)
    assert loaded._state.epochs_done == 3


@pytest.mark.parametrize("k", [2, 3])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_warm_start_from_weights_that_nobody_fitted(k: int, solver: str) -> None:
    rows, labels = of_classes(k)
    start = model(warm_start=True, solver=solver, max_epochs=100)
    n_models = 1 if k == 2 else k
    start.coef_, start.intercept_ = [[0.1, 0, 0, 0]] * n_models, np.zeros(n_models)
    start.classes_ = list(range(k))
    start.fit(rows, labels)
    assert start.score(rows, labels) > 0.7
    assert start.n_features_in_ == 4


def test_weights_that_nobody_fitted_predict() -> None:
    fitted, assigned = trained(), model()
    assigned.coef_, assigned.intercept_ = fitted.coef_, fitted.intercept_
    assigned.classes_ = CLASSES
    np.testing.assert_allclose(assigned.predict_proba(X), fitted.predict_proba(X), rtol=1e-9)


def test_parts_from_weights_that_nobody_fitted() -> None:
    start = model()
    start.coef_, start.intercept_ = np.zeros((3, 4)), np.zeros(3)
    start.partial_fit(X, Y, classes=CLASSES)
    start = model(**STILL)
    start.coef_, start.classes_ = np.ones((3, 4)), WORDS
    start.partial_fit(X, WORDS[Y])
    np.testing.assert_array_equal(start.coef_, 1)
    np.testing.assert_allclose(start.intercept_, 0, atol=1e-12)


@each_how
@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("coef_", np.zeros((3, 5)), r"(coef_ has shape \(3, 5\)|with 4 features)"),
        ("coef_", np.zeros((2, 4)), r"coef_ has shape \(2, 4\), expected \(3, 4\)"),
        ("coef_", "weights", "coef_ is a str that holds no numbers"),
        ("coef_", np.full((3, 4), np.nan), "coef_.* nan or infinite"),
        ("intercept_", 0.0, r"intercept_ has shape \(\), expected \(3,\)"),
        ("intercept_", np.array([0, np.inf, 0]), "intercept_.* nan or infinite"),
        ("classes_", np.array([2, 1, 0]), "(classes_ is .*sorted|but the model was trained)"),
    ],
)
def test_what_cannot_be_gone_on_from(how: str, name: str, value: Any, message: str) -> None:
    estimator = trained()
    setattr(estimator, name, value)
    with pytest.raises(InputError, match=message) as caught:
        HOWS[how](estimator)
    assert len(str(caught.value)) < 300
    assert getattr(estimator, name) is value


# ------------------------------------------------------------------ classes, files


@pytest.mark.parametrize("classes", [[0, 1], [0, 1, 2, 3], ["0", "1", "2"], WORDS])
def test_other_classes_are_refused(classes: Any) -> None:
    with pytest.raises(InputError, match=r"classes=.* differ from those of the first call"):
        trained().partial_fit(X, Y, classes=classes)


def test_a_file_keeps_what_is_compared(tmp_path: Path) -> None:
    options = {"momentum": 0.9, "average": True, "input_scale": (0, np.array([1, 0.5, 0.2, 0.1]))}
    estimator = trained(**options)
    # Changed, and not trained with since.
    estimator.set_params(fit_intercept=False, l2=0.5, input_scale="minmax").save(tmp_path / "m")
    loaded = LogisticRegression.load(tmp_path / "m")
    for name in REMEMBERED:
        assert unchanged(loaded, loaded._state.trained_with, name) == (
            name not in ("fit_intercept", "l2", "input_scale")
        )
    estimator.partial_fit(X, Y)
    loaded.partial_fit(X, Y)
    np.testing.assert_array_equal(loaded.coef_, estimator.coef_)
    np.testing.assert_array_equal(loaded.intercept_, estimator.intercept_)


def test_a_file_keeps_the_shift_before_centring(tmp_path: Path) -> None:
    for scale in (None, "minmax"):
        estimator = trained(input_scale=scale)
        estimator.save(tmp_path / "m")
        loaded = LogisticRegression.load(tmp_path / "m")
        for each in (estimator, loaded):
            each.set_params(learning_rate=0.01).partial_fit(X, Y)
        np.testing.assert_array_equal(loaded._state.scale.shift, estimator._state.scale.shift)
        np.testing.assert_array_equal(loaded.coef_, estimator.coef_)
