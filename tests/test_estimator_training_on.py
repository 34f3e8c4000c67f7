"""Continuing a fit: `partial_fit`, `warm_start`, copies, and rows that are read in place."""

from __future__ import annotations

import pickle
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from estimators import TWO, WORDS, X, Y, model, of_classes
from sklearn.base import clone

from fastlin import LogisticRegression
from fastlin.kernels import backends
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import ROW_TYPES

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


@pytest.mark.parametrize("dtype", ROW_TYPES)
def test_rows_are_read_where_they_lie(dtype: str) -> None:
    if not backends()["c"].available:
        pytest.skip("backend 'c' is not available")
    generator = np.random.default_rng(0)
    rows = generator.integers(0, 128, (20_000, 200)).astype(dtype)
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
    for other in models[1:]:
        np.testing.assert_array_equal(other.coef_, models[0].coef_)
    assert DenseRows(every_other).for_weights(np.dtype(np.float32)).values is every_other
