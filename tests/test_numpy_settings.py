"""What NumPy's users set or pass: ``np.seterr``, huge whole numbers, numbers of small types."""

from __future__ import annotations

import fractions
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastlin
from fastlin import LogisticRegression
from fastlin.errors import InputError

BACKENDS = ["numba", "c", "numpy"]
RNG = np.random.default_rng(0)
X = RNG.standard_normal((120, 4))
X[:, 3] *= 1e-200
X[0] *= 1e-300
Y = np.digitize(X[:, 0], [-0.5, 0.5])
SPARSE = csr_array(np.where(np.abs(X) > 0.5, X, 0))


@pytest.fixture
def raising() -> Iterator[None]:
    with np.errstate(all="raise"), warnings.catch_warnings():
        warnings.simplefilter("ignore", fastlin.advice.FastlinWarning)
        yield


def use(model: LogisticRegression, rows: Any, labels: Any) -> list[np.ndarray]:
    """Return what every method computes."""
    model.fit(rows, labels, X_val=rows, y_val=labels)
    found = [model.coef_, model.predict(rows), model.predict_proba(1000 * rows)]
    found += [model.predict_log_proba(rows), np.array(model.score(rows, labels))]
    if model.solver == "sgd":
        found.append(model.partial_fit(rows, labels).coef_)
    return found


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize(
    ("rows", "labels"),
    [(X, Y), (X, Y > 0), (X.astype("f4"), Y), (SPARSE, Y), (X.astype("f2"), Y > 0)],
)
@pytest.mark.parametrize(
    "options", [{}, {"l2": 1e-320}, {"momentum": 0.9, "average": True}], ids=str
)
def test_numpys_error_settings_change_nothing(
    backend: str, solver: str, rows: Any, labels: Any, options: dict[str, Any], raising: None
) -> None:
    model = LogisticRegression(backend=backend, solver=solver, max_epochs=3, **options)
    model.set_params(random_state=0)
    found = use(model, rows, labels)
    with np.errstate(over="warn", divide="warn", invalid="warn", under="ignore"):
        expected = use(model, rows, labels)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert np.geterr()["under"] == "raise"


@pytest.mark.parametrize("backend", BACKENDS)
def test_numpys_error_settings_and_a_path(backend: str, raising: None) -> None:
    found = fastlin.path(X, Y, [1e-1, 1e-300], backend=backend, X_val=X, y_val=Y)
    assert np.isfinite(found.objective).all()


HUGE = [2**31, 2**32, 2**63, 2**64, 10**30, np.uint64(2**64 - 1)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
@pytest.mark.parametrize("huge", HUGE, ids=str)
def test_huge_whole_numbers_are_as_good_as_large_ones(backend: str, solver: str, huge: Any) -> None:
    for rows in (X, SPARSE):
        for name, large in (
            ("batch_size", 1000),
            ("patience", 1000),
            ("n_threads", 4),
            ("checks_per_epoch", 1000),
        ):
            options = {"backend": backend, "solver": solver, "max_epochs": 3, "random_state": 0}
            found, expected = (
                LogisticRegression(**options, **{name: value}).fit(rows, Y, X_val=rows, y_val=Y)
                for value in (huge, large)
            )
            np.testing.assert_array_equal(found.coef_, expected.coef_)
            np.testing.assert_array_equal(found.predict(rows), expected.predict(rows))


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
@pytest.mark.parametrize("huge", HUGE, ids=str)
def test_endless_training_still_ends(huge: Any) -> None:
    options = {"backend": "numpy", "tol": 10.0, "patience": 2, "random_state": 0}
    found = LogisticRegression(max_epochs=huge, **options).fit(X, Y)
    expected = LogisticRegression(max_epochs=1000, **options).fit(X, Y)
    assert found.history_.stop_reason == "tol"
    np.testing.assert_array_equal(found.coef_, expected.coef_)


def test_a_path_takes_huge_numbers_or_says_why_not() -> None:
    found, expected = (
        fastlin.path(X, Y, [1e-2], n_threads=n, max_epochs=50, backend="c") for n in (2**40, 4)
    )
    np.testing.assert_array_equal(found.coef, expected.coef)
    with pytest.raises(InputError, match="is not a list of penalties"):
        fastlin.path(X, Y, [10**400])


@pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")
def test_penalties_and_rates_may_be_large_integers() -> None:
    options = {"backend": "numpy", "max_epochs": 3, "random_state": 0}
    for name in ("l2", "tol"):
        found = LogisticRegression(**{**options, name: 10**10}).fit(X, Y)
        expected = LogisticRegression(**{**options, name: 1e10}).fit(X, Y)
        np.testing.assert_array_equal(found.coef_, expected.coef_)
    LogisticRegression(**{**options, "tol": 10**400}).fit(X, Y)
    with pytest.raises(InputError, match=r"cannot be compared .* pass int or float"):
        LogisticRegression(**{**options, "l2": fractions.Fraction(1, 3)}).fit(X, Y)
