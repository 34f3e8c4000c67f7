"""Validation sets in another form than the training rows."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from estimators import WORDS, X, Y, model
from scipy.sparse import coo_array, csc_matrix, csr_array

import fastlin
from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES

# Whole numbers, which all of these types can hold, far from zero.
ROWS = np.round(X - X.min() + 5)
NAMES = list("abcd")
assert ROWS.max() < 128

KINDS: dict[str, Callable[[Any], Any]] = {
    "float64": np.asarray,
    "float32": lambda rows: rows.astype(np.float32),
    "uint8": lambda rows: rows.astype(np.uint8),
    "int8": lambda rows: rows.astype(np.int8),
    "float16": lambda rows: rows.astype(np.float16),
    "int64": lambda rows: rows.astype(np.int64),
    "columns": np.asfortranarray,
    "backwards": lambda rows: rows[::-1].copy()[::-1],
    "list": lambda rows: rows.tolist(),
    "frame": lambda rows: pd.DataFrame(rows, columns=NAMES),
    "CSR": csr_array,
    "CSR of float32": lambda rows: csr_array(rows.astype(np.float32)),
    "CSC": csc_matrix,
    "COO": coo_array,
}
EXACT = ("float64", "float32", "float16", "uint8", "int8", "CSR", "frame")


def train(solver: str, backend: str, rows: Any, val: Any, y_val: Any, **options: Any) -> Any:
    """Return the validation losses of a fit or a path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        if solver == "path":
            options = {"backend": backend, "max_epochs": 100, **options}
            return fastlin.path(rows, Y, [1.0, 0.1], X_val=val, y_val=y_val, **options).val_loss
        estimator = model(solver=solver, backend=backend, l2=0.1, **options)
        return estimator.fit(rows, Y, X_val=val, y_val=y_val).history_.val_loss


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "path"])
@pytest.mark.parametrize("train_kind", EXACT)
def test_each_kind_beside_each(train_kind: str, solver: str, backend: str) -> None:
    rows = KINDS[train_kind](ROWS)
    expected = train(solver, backend, rows, rows[:40], Y[:40])
    assert len(expected) > 1
    assert np.ptp(expected) > 0
    for kind, convert in KINDS.items():
        losses = train(solver, backend, rows, convert(ROWS[:40]), Y[:40])
        np.testing.assert_allclose(losses, expected, rtol=1e-4, err_msg=kind)


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "path"])
@pytest.mark.parametrize("scale", ["standard", "minmax", (3, 0.5)], ids=str)
def test_sparse_beside_shifted_dense_rows(scale: Any, solver: str, backend: str) -> None:
    expected = train(solver, backend, ROWS, ROWS[:40], Y[:40], input_scale=scale)
    losses = train(solver, backend, ROWS, csr_array(ROWS[:40]), Y[:40], input_scale=scale)
    np.testing.assert_allclose(losses, expected, rtol=1e-9)


def test_early_stopping_by_sparse_rows() -> None:
    options = {"early_stopping": True, "patience": 2, "max_epochs": 40}
    expected = model(**options).fit(ROWS, Y, X_val=ROWS[:40], y_val=Y[:40])
    trained = model(**options).fit(ROWS, Y, X_val=csr_array(ROWS[:40]), y_val=Y[:40])
    assert trained.history_.best_step == expected.history_.best_step
    np.testing.assert_array_equal(trained.coef_, expected.coef_)


FRAME = pd.DataFrame(ROWS, columns=NAMES)
TELL = {
    "another order": (FRAME, FRAME[list("bacd")], Y, r"another order; pass X_val\[list\(X.col"),
    "another name": (FRAME, FRAME.rename(columns={"d": "e"}), Y, "lacks column 'd' and has .*'e'"),
    "one more": (FRAME, FRAME.assign(e=1.0), Y, "has column 'e', which X lacks"),
    "one less": (FRAME, FRAME[list("abc")], Y, "lacks column 'd'; pass"),
    "fewer features": (ROWS, ROWS[:, :3], Y, "X has 3 features, .* expecting 4"),
    "too large for float32": (ROWS.astype(np.float32), 1e300 * ROWS, Y, "X_val holds .*float32"),
    "sparse and too large": (ROWS.astype("u1"), csr_array(-1e300 * ROWS), Y, "X_val holds .*e"),
    "words beside numbers": (ROWS, ROWS, WORDS[Y], "y_val holds labels .*'ant'"),
    "objects beside numbers": (
        ROWS,
        ROWS,
        WORDS[Y].astype(object),
        "y_val.* not seen in training: 'ant', .* expected 0, 1, 2",
    ),
    "a label too many": (ROWS, ROWS, Y + 1, "y_val holds labels that were not seen.*: 3"),
    "a table of labels": (ROWS, ROWS, np.column_stack([Y, Y]), "y_val should be a 1d array"),
    "fewer labels": (ROWS, ROWS, Y[:-1], "90 rows and 89 labels in y_val"),
    "no labels": (ROWS, ROWS, None, "y_val is missing"),
}


@pytest.mark.parametrize("solver", ["sgd", "lbfgs", "path"])
@pytest.mark.parametrize("name", TELL)
def test_what_cannot_be_is_said_before_training_starts(name: str, solver: str) -> None:
    rows, val, y_val, message = TELL[name]
    told: list[Any] = []
    with pytest.raises(InputError, match=message) as caught:
        train(solver, "numpy", rows, val, y_val, callbacks=[told.append])
    assert not told
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "convert",
    [
        lambda y: y.astype(float),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(object),
        pd.Series,
        lambda y: pd.Series(y, dtype="Int64"),
        lambda y: pd.Series(y).astype("category"),
        list,
    ],
)
def test_labels_of_other_kinds(convert: Callable[[Any], Any]) -> None:
    expected = train("sgd", "numpy", ROWS, ROWS, Y)
    np.testing.assert_array_equal(train("sgd", "numpy", ROWS, ROWS, convert(Y)), expected)
