"""Numbers at the edge: huge and tiny features, constant ones, a row or a feature, huge logits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import DivergenceError, InputError
from fastlin.kernels import BACKEND_NAMES

pytestmark = [
    pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

RNG = np.random.default_rng(0)
X = RNG.standard_normal((90, 5))
NOISE = RNG.standard_normal((90, 3))

backends = pytest.mark.parametrize("backend", BACKEND_NAMES)
solvers = pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
forms = pytest.mark.parametrize("form", [np.asarray, csr_array], ids=["dense", "csr"])
types = pytest.mark.parametrize("dtype", ["float32", "float64"])
classes = pytest.mark.parametrize("k", [2, 3])

Form = Callable[[np.ndarray], Any]


def labels(k: int) -> np.ndarray:
    """Return noisy labels, so that there is an optimum without a penalty."""
    return np.asarray((X[:, :k] + NOISE[:, :k]).argmax(axis=1))


def fitted(rows: Any, y: Any, **options: Any) -> LogisticRegression:
    model = LogisticRegression(random_state=0, **{"max_epochs": 25, "n_threads": 2, **options})
    model.fit(rows, y)
    assert np.isfinite(model.coef_).all()
    assert np.isfinite(model.intercept_).all()
    assert np.isfinite(model.history_.train_loss).all()
    shares = model.predict_proba(rows)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(model.predict_log_proba(rows)).all()
    return model


@backends
@solvers
@forms
@classes
@pytest.mark.parametrize("power", [100, -100, 300, -300])
def test_the_unit_of_the_features_does_not_matter(
    backend: str, solver: str, form: Form, k: int, power: int
) -> None:
    """Features of 1e30 and of 1e-30, even of 1e90: without a penalty the model is the same."""
    options = {"backend": backend, "solver": solver, "l2": 0.0}
    model = fitted(form(X), labels(k), **options)
    scaled = fitted(form(np.ldexp(X, power)), labels(k), **options)
    np.testing.assert_allclose(np.ldexp(scaled.coef_, power), model.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(scaled.intercept_, model.intercept_, rtol=1e-6, atol=1e-9)
    assert scaled.score(form(np.ldexp(X, power)), labels(k)) > 0.6


@backends
@solvers
@forms
@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e30), ("float64", 1e200)])
def test_features_whose_squares_overflow(
    backend: str, solver: str, form: Form, dtype: str, size: float
) -> None:
    """The remedy in the message is one that helps."""
    rows, options = (X * size).astype(dtype), {"backend": backend, "solver": solver}
    with pytest.raises((InputError, DivergenceError), match="divide the features by their largest"):
        fitted(form(rows), labels(2), **options)
    divided = rows / np.abs(rows).max(axis=0)
    assert fitted(form(divided), labels(2), **options).score(form(divided), labels(2)) > 0.6


@pytest.mark.filterwarnings("error")
def test_checking_the_largest_numbers_warns_of_nothing() -> None:
    rows = (np.sign(X) * np.finfo(np.float32).max).astype(np.float32)
    with pytest.raises(InputError, match="squares that float32 cannot hold"):
        LogisticRegression(backend="numpy").fit(rows, labels(2))


@backends
@solvers
@forms
@classes
@pytest.mark.parametrize(("dtype", "size"), [("float32", 1e-40), ("float64", 1e-310)])
def test_subnormal_features(
    backend: str, solver: str, form: Form, k: int, dtype: str, size: float
) -> None:
    """They are as good as 0, beside others and by themselves."""
    y, tiny = labels(k), (X * size).astype(dtype)
    assert tiny.any()
    options = {"backend": backend, "solver": solver}
    alone = fitted(form(tiny), y, **options)
    share = np.bincount(y) / len(y)
    np.testing.assert_allclose(alone.predict_proba(form(tiny)), np.tile(share, (90, 1)), atol=0.05)
    both = np.hstack([X.astype(dtype), tiny])
    model, without = fitted(form(both), y, **options), fitted(form(X.astype(dtype)), y, **options)
    np.testing.assert_allclose(
        model.predict_proba(form(both)), without.predict_proba(form(both[:, :5])), atol=1e-3
    )


@backends
@solvers
@types
@pytest.mark.parametrize("value", [0.1, -7.0, 1e6, 1e12, 1e20, 1e30])
def test_a_constant_feature_changes_nothing(
    backend: str, solver: str, dtype: str, value: float
) -> None:
    """However large it is: the intercept can do all that it could."""
    y, options = labels(3), {"backend": backend, "solver": solver}
    rows = np.hstack([X, np.full((90, 1), value)]).astype(dtype)
    model, without = fitted(rows, y, **options), fitted(rows[:, :5], y, **options)
    np.testing.assert_allclose(
        model.predict_proba(rows), without.predict_proba(rows[:, :5]), atol=1e-3
    )
    scaled = fitted(rows, y, input_scale="standard", **options)
    without = fitted(rows[:, :5], y, input_scale="standard", **options)
    np.testing.assert_allclose(
        scaled.predict_proba(rows), without.predict_proba(rows[:, :5]), atol=1e-3
    )


@backends
@solvers
@forms
@types
def test_only_constant_features(backend: str, solver: str, form: Form, dtype: str) -> None:
    for value in (0.0, 7.0):
        rows = form(np.full((90, 3), value, dtype))
        y = labels(3)
        model = fitted(rows, y, backend=backend, solver=solver, max_epochs=100)
        share = np.bincount(y) / len(y)
        np.testing.assert_allclose(model.predict_proba(rows)[0], share, atol=0.05)


@backends
@solvers
@forms
@types
@classes
def test_one_row_of_each_class(backend: str, solver: str, form: Form, dtype: str, k: int) -> None:
    rows, y = form(X[:k].astype(dtype)), np.arange(k)
    model = fitted(rows, y, backend=backend, solver=solver)
    assert model.score(rows, y) == 1
    equal = form(np.repeat(X[:1], k, axis=0).astype(dtype))
    shares = fitted(equal, y, backend=backend, solver=solver).predict_proba(equal)
    np.testing.assert_allclose(shares, 1 / k, atol=1e-6)
    with pytest.raises(InputError, match="one class only"):
        fitted(rows[:1], y[:1], backend=backend, solver=solver)


@backends
@solvers
@forms
@types
@classes
def test_one_feature(backend: str, solver: str, form: Form, dtype: str, k: int) -> None:
    one = X[:, :1]
    y = np.digitize(one[:, 0], np.quantile(one, np.arange(1, k) / k))
    rows = form(one.astype(dtype))
    model = fitted(rows, y, backend=backend, solver=solver, max_epochs=200, l2=1e-6)
    assert model.coef_.shape == ((1, 1) if k == 2 else (k, 1))
    assert model.score(rows, y) > (0.95 if k == 2 else 0.6)


@backends
@forms
@types
def test_batches_larger_than_the_data(backend: str, form: Form, dtype: str) -> None:
    rows, y = form(X.astype(dtype)), labels(3)
    model = fitted(rows, y, backend=backend, batch_size=90)
    for size in (91, 10**6, 2**31, 2**40):
        larger = fitted(rows, y, backend=backend, batch_size=size)
        np.testing.assert_array_equal(larger.coef_, model.coef_)
        assert larger.n_iter_ == model.n_iter_
    with pytest.raises(InputError, match="leaves no whole batch of 90 training rows; lower"):
        fitted(rows, y, backend=backend, batch_size=91, drop_last=True)


@backends
@solvers
@forms
@types
@classes
def test_training_from_logits_of_ten_thousand(
    backend: str, solver: str, form: Form, dtype: str, k: int
) -> None:
    """Right and wrong: the losses are finite, and training finds back."""
    rows, y = form(X.astype(dtype)), labels(k)
    model = fitted(rows, y, backend=backend, solver=solver, max_epochs=1)
    for factor in (1e4, -1e4):
        size = np.abs(model.decision_function(rows)).max()
        start = LogisticRegression(
            backend=backend, solver=solver, warm_start=True, max_epochs=300, random_state=0
        )
        start.coef_, start.intercept_ = (
            (array * (factor / size)).astype(dtype) for array in (model.coef_, model.intercept_)
        )
        start.classes_ = model.classes_
        start.fit(rows, y)
        losses = start.history_.train_loss
        assert np.isfinite(losses).all()
        assert np.isfinite(start.predict_log_proba(rows)).all()
        assert losses[-1] < losses[0]


@backends
@forms
@types
def test_divergence_names_step_and_remedy(backend: str, form: Form, dtype: str) -> None:
    """It leaves the model as it was, or returns the best weights that early stopping has kept."""
    rows, y = X.astype(dtype), labels(2)
    rows[-2:], y[-2:] = np.finfo(dtype).max / 1e3, [0, 1]  # one of them is wrong
    options = {"learning_rate": 0.5, "batch_size": 30, "shuffle": False, "tol": None}
    options |= {"backend": backend, "max_epochs": 20, "checks_per_epoch": 3}
    model = LogisticRegression(**options).fit(form(X.astype(dtype)), y)
    before = model.coef_.copy()
    with pytest.raises(DivergenceError) as caught:
        model.fit(form(rows), y)
    said = r"at step \d+ \(epoch \d+\) with learning_rate=0.5; lower learning_rate \(or set it to"
    assert re.search(said, str(caught.value))
    np.testing.assert_array_equal(model.coef_, before)
    model.set_params(early_stopping=True, patience=50)
    with pytest.warns(UserWarning, match=r"at step \d+ .*; the weights of step \d+, .* returned"):
        model.fit(form(rows), y, X_val=form(X.astype(dtype)), y_val=y)
    assert model.history_.stop_reason == "divergence"
    assert model.score(form(X.astype(dtype)), y) > 0.6
