"""Predictions of huge rows are right, or an error names the row."""

from __future__ import annotations

import itertools
import warnings
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES, backends
from fastlin.kernels.reference import predicted
from fastlin.solvers.prediction import most_probable, softmax

SCALES: tuple[Any, ...] = (None, "standard", (3.0, 2.0), (1e4, 1.0))


def trained(k: int, dtype: str, scale: Any) -> LogisticRegression:
    generator = np.random.default_rng(k)
    labels = np.arange(120) % k
    rows = 3 * generator.standard_normal((120, 5))
    rows[np.arange(120), labels % 5] += 4
    if scale == (1e4, 1.0):
        rows += 1e4
    options: dict[str, Any] = {"solver": "lbfgs", "l2": 1e-3, "backend": "numpy"}
    return LogisticRegression(**options, input_scale=scale).fit(rows.astype(dtype), labels)


def huge(dtype: str) -> np.ndarray:
    """Rows up to the largest numbers of a type, of both signs, beside ordinary ones."""
    generator = np.random.default_rng(0)
    largest = float(np.finfo(dtype).max)
    rows = generator.standard_normal((16, 5))
    rows[::2] *= 0.2 * largest
    rows[4], rows[6, 2], rows[10] = largest, -largest, 0
    rows[10, 1] = largest**0.9
    return rows.clip(-largest, largest).astype(dtype)


def exact_logits(model: LogisticRegression, row: np.ndarray) -> tuple[list[Fraction], Fraction]:
    """The logits in fractions, and the sum of the absolute values of their terms."""
    logits, size = [], Fraction(0)
    for weights, intercept in zip(model.coef_, model.intercept_, strict=True):
        terms = [Fraction(float(w)) * Fraction(float(u)) for w, u in zip(weights, row, strict=True)]
        terms.append(Fraction(float(intercept)))
        logits.append(sum(terms, Fraction(0)))
        size = max(size, sum(map(abs, terms), Fraction(0)))
    return logits, size


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("k", [2, 9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", SCALES)
def test_huge_rows_are_predicted_right(backend: str, k: int, dtype: str, scale: Any) -> None:
    if not backends()[backend].available:
        pytest.skip(f"backend {backend!r} is not available")
    model = trained(k, dtype, scale).set_params(backend=backend)
    model.coef_ *= 0.1  # so that float64 holds all logits
    for type_of_rows in ("float32", "float64"):
        rows = huge(type_of_rows)
        for form in (rows, csr_array(rows)):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                logits = model.decision_function(form).reshape(len(rows), -1)
                labels, logs = model.predict(form), model.predict_log_proba(form)
                probabilities = model.predict_proba(form)
            assert probabilities.dtype == logs.dtype == model.coef_.dtype
            assert np.isfinite(logs).all()
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
            for row, found, label, given in zip(rows, logits, labels, probabilities, strict=True):
                expected, size = exact_logits(model, row)
                for z, right in zip(found, expected, strict=True):
                    assert abs(Fraction(float(z)) - right) <= Fraction(1e-5) * size
                with_other = [Fraction(0), *expected] if k == 2 else expected
                order = sorted(range(k), key=lambda c: with_other[c])
                if with_other[order[-1]] - with_other[order[-2]] > Fraction(1e-4) * size:
                    assert label == order[-1] == given.argmax()


def test_the_row_whose_logits_overflow_is_named() -> None:
    model = trained(3, "float64", None)
    model.coef_[:] = [[1, 1, 0, 0, 0], [2, 2, 0, 0, 0], [3, 3, 0, 0, 0]]
    rows = np.ones((6, 5))
    rows[4] = 1.7e308
    for form in (rows, csr_array(rows)):
        for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
            with pytest.raises(InputError, match=r"^row 4 of X holds 1.7e\+308, .* too large"):
                getattr(model, method)(form)
    assert model.predict(rows[:4]).tolist() == [2] * 4


def test_logits_beyond_float32_are_given_in_float64() -> None:
    model = trained(2, "float32", None)
    model.coef_[:] = [[3, 0, 0, 0, 0]]
    rows = np.zeros((3, 5), np.float32)
    assert model.decision_function(rows).dtype == np.float32
    rows[1, 0] = 3e38
    logits = model.decision_function(rows)
    assert logits.dtype == np.float64
    assert logits[1] == pytest.approx(9e38, rel=1e-6)
    assert model.predict_proba(rows)[1].tolist() == [0, 1]


def test_huge_numbers_that_cancel_are_no_nan() -> None:
    for k in (2, 3):
        model = trained(k, "float32", None)
        model.coef_[:] = 0
        model.coef_[0, :2] = 10, -10
        rows = np.full((2, 5), 3e38, np.float32)
        expected = np.broadcast_to(model.predict_proba(np.zeros((1, 5))), (2, k))
        np.testing.assert_allclose(model.predict_proba(rows), expected, rtol=1e-6)


def test_products_that_float64_cannot_hold_may_cancel_too() -> None:
    model = LogisticRegression(backend="numpy")
    model.classes_, model.n_features_in_ = np.array([0, 1]), 2
    model.coef_, model.intercept_ = np.array([[1e200, -1e200]]), np.array([0.0])
    assert model.decision_function([[1e200, 1e200], [0, 0]]).tolist() == [0, 0]


def test_assigned_weights_predict() -> None:
    model = LogisticRegression(backend="numpy")
    model.classes_, model.n_features_in_ = np.array([0, 1]), 2
    model.coef_, model.intercept_ = np.array([[1.0, -1.0]]), np.array([0.5])
    assert model.decision_function([[2.0, 1.0], [0.0, 1.0]]).tolist() == [1.5, -0.5]


@pytest.mark.parametrize("name", [name for name, found in backends().items() if found.available])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_nan_and_infinity_is_found_by_the_logits(name: str, dtype: str) -> None:
    """They are not looked for beforehand, which would read all rows once more."""
    for k in (2, 3, 70):
        model = trained(k, dtype, None).set_params(backend=name)
        model.coef_[:, 2] = 0
        for column, value in itertools.product(range(5), (np.nan, np.inf, -np.inf)):
            rows = np.zeros((131, 5), dtype)
            rows[130, column] = value
            said = "NaN" if np.isnan(value) else "infinity"
            with pytest.raises(InputError, match=rf"{said}.* row 130 .* column {column}"):
                model.predict(rows)
            with pytest.raises(InputError, match=f"X contains {said}"):
                model.predict_proba(csr_array(rows))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 3, 10, 24, 25])
def test_the_first_of_equal_logits_is_predicted(k: int, dtype: str) -> None:
    logits = np.random.default_rng(k).integers(-2, 3, (9000, k)).astype(dtype)
    logits[0], logits[1] = 0.0, -0.0
    for order, n in itertools.product("CF", (1, 64, 65, 9000)):
        given = np.array(logits[:n], order=order)
        np.testing.assert_array_equal(most_probable(given), predicted(logits[:n]))
        np.testing.assert_array_equal(given, logits[:n])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [3, 10, 24, 25])
def test_probabilities_of_a_row_do_not_depend_on_the_others(k: int, dtype: str) -> None:
    logits = (5 * np.random.default_rng(k).standard_normal((5000, k))).astype(dtype)
    found = softmax(logits.copy())
    right = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.longdouble)
    right /= right.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, right, rtol=40 * np.finfo(dtype).eps)
    for n in (1, 2, 63, 64, 65, 4097):
        np.testing.assert_array_equal(softmax(logits[-n:].copy()), found[-n:])
