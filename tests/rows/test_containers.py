"""Rows of every container and type: in the smallest type that holds them, or refused by name."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_array, csr_array

import fastlin
from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.rows.validation import check_rows_and_labels

RNG = np.random.default_rng(0)
X = RNG.standard_normal((60, 3))
Y = (X[:, 0] > 0).astype(int)
SMALL = {name: name for name in ("uint8", "int8", "float16", "float32")} | {
    "bool": "uint8",
    "int16": "float32",
    "uint16": "float32",
}
LARGE = dict.fromkeys(["float64", "int32", "int64", "uint32", "uint64", "longdouble"], "float64")


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(**{"backend": "numpy", "max_epochs": 3, "random_state": 0, **options})


def rows_of(dtype: str) -> np.ndarray:
    return (np.abs(X) * 40).astype(dtype)


# ------------------------------------------------------------------ types


@pytest.mark.parametrize(("given", "kept"), (SMALL | LARGE).items())
def test_rows_take_the_smallest_type_that_holds_their_type(given: str, kept: str) -> None:
    rows, _ = check_rows_and_labels(model(), rows_of(given), Y, reset=True)
    assert rows.dtype == kept
    np.testing.assert_array_equal(rows, rows_of(given))
    trained = model().fit(rows_of(given), Y)
    assert trained.coef_.dtype == ("float64" if kept == "float64" else "float32")
    np.testing.assert_array_equal(trained.coef_, model().fit(rows_of(given).astype(kept), Y).coef_)


@pytest.mark.parametrize("given", SMALL | LARGE)
def test_the_columns_of_a_table_share_a_type(given: str) -> None:
    if given == "longdouble":
        pytest.skip("no table holds these")
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    columns = {name: rows_of(given)[:, i] for i, name in enumerate("abc")}
    kept = (SMALL | LARGE)[given]
    frame = pandas.DataFrame(columns)
    if given == "bool":
        frame["c"] = frame["c"].astype("uint8")
    # Polars 1.0 widens float16, a type that it did not yet have.
    widened = "float32" if given == "float16" and not hasattr(polars, "Float16") else kept
    for table, expected in ((frame, kept), (polars.DataFrame(columns), widened)):
        rows, _ = check_rows_and_labels(model(), table, Y, reset=True)
        assert rows.dtype == expected
        np.testing.assert_array_equal(rows, rows_of(given))
    mixed = pandas.DataFrame({**columns, "d": X[:, 0].astype("float16")})
    held = check_rows_and_labels(model(), mixed, Y, reset=True)[0].dtype
    assert held == ("float16" if kept in ("uint8", "int8") else kept)


@pytest.mark.parametrize("given", ["float16", "float32", "int8", "int64", "bool"])
def test_tables_of_arrow(given: str) -> None:
    arrow = pytest.importorskip("pyarrow")
    columns = {name: rows_of(given)[:, i] for i, name in enumerate("abc")}
    for table in (arrow.table(columns), arrow.record_batch(columns)):
        rows, _ = check_rows_and_labels(model(), table, Y, reset=True)
        assert rows.dtype == (SMALL | LARGE)[given]
        np.testing.assert_array_equal(rows, rows_of(given))
        trained = model().fit(table, Y, X_val=table, y_val=Y)
        np.testing.assert_array_equal(
            trained.coef_, model().fit(rows.values, Y, X_val=rows.values, y_val=Y).coef_
        )
    with pytest.raises(InputError, match=r"X contains NaN, the first in row 1 .* 'a'"):
        model().fit(arrow.table({"a": [1, None], "b": [1, 2]}), [0, 1])
    with pytest.raises(InputError, match="column 'b' of X holds 'x', which is not a number"):
        model().fit(arrow.table({"a": [1, 2], "b": ["x", "y"]}), [0, 1])
    with pytest.raises(InputError, match=r"column 'b' of X holds dates \(datetime64"):
        model().fit(arrow.table({"a": [1, 2], "b": [datetime.date(2020, 1, 1)] * 2}), [0, 1])


@pytest.mark.parametrize(
    ("given", "kept"),
    [("float16", "float32"), ("uint8", "float32"), ("int8", "float64"), ("bool", "float64")],
)
def test_values_of_sparse_rows(given: str, kept: str) -> None:
    dense = np.where(np.abs(X) > 0.5, rows_of(given), 0).astype(given)
    sparse = csr_array(dense.astype("float32" if given == "float16" else given))
    assert check_rows_and_labels(model(), sparse, Y, reset=True)[0].dtype == kept


def test_what_a_sparse_matrix_holds_twice_is_summed_up_beyond_8_bits() -> None:
    twice = csr_array((np.full(8, 200, np.uint8), np.tile([0, 0, 1, 1], 2), [0, 4, 8]))
    rows, _ = check_rows_and_labels(model(), twice, [0, 1], reset=True)
    np.testing.assert_array_equal(rows.matrix.toarray(), np.full((2, 2), 400))


# ------------------------------------------------------------------ columns that are no numbers


def tables() -> dict[str, Any]:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    when = pandas.Series(pandas.date_range("2024-01-01", periods=60))
    frame = pandas.DataFrame({"a": X[:, 0], "when": when})
    days = [datetime.date(2024, 1, 1)] * 60
    return {
        "dates": frame,
        "dates alone": frame[["when"]],
        "dates of a zone": frame.assign(when=when.dt.tz_localize("UTC")),
        "durations": frame.assign(when=when - when[0]),
        "durations alone": frame.assign(when=when - when[0])[["when"]],
        "periods": frame.assign(when=when.dt.to_period("D")),
        "days": frame.assign(when=days),
        "words": frame.assign(when="red"),
        "categories": frame.assign(when=pandas.Categorical(["red"] * 60)),
        "complex": frame.assign(when=1j),
        "Polars' dates": polars.DataFrame({"a": X[:, 0], "when": days}),
        "Polars' times": polars.DataFrame({"a": X[:, 0], "when": [datetime.time(1)] * 60}),
        "Polars' durations": polars.DataFrame({"a": X[:, 0], "when": [datetime.timedelta(1)] * 60}),
        "Polars' words": polars.DataFrame({"a": X[:, 0], "when": ["red"] * 60}),
        "Polars' lists": polars.DataFrame({"a": X[:, 0], "when": [[1]] * 60}),
        "Polars' structs": polars.DataFrame({"a": X[:, 0], "when": [{"k": 1}] * 60}),
    }


@pytest.mark.filterwarnings("ignore:X has feature names")
@pytest.mark.parametrize("name", tables())
def test_a_column_that_holds_no_numbers_is_named(name: str) -> None:
    table = tables()[name]
    plain = X[:, : table.shape[1]]
    for call, what in (
        (lambda: model().fit(table, Y), "X"),
        (lambda: model().partial_fit(table, Y, classes=[0, 1]), "X"),
        (lambda: model().fit(plain, Y).predict(table), "X"),
        (lambda: model().fit(plain, Y, X_val=table, y_val=Y), "X_val"),
        (lambda: fastlin.path(table, Y, [1e-2], backend="numpy"), "X"),
    ):
        with pytest.raises(
            InputError, match=f"column 'when' of {what} holds .*leave it out"
        ) as caught:
            call()
        assert len(str(caught.value)) <= 300


def test_arrays_that_hold_no_numbers() -> None:
    dates = np.full((60, 2), "2024-01-01", "M8[D]")
    trained = model().fit(X, Y)
    for rows, said in (
        (dates, r"X holds dates \(datetime64\[D\]\); convert them to numbers"),
        (dates - dates, r"X holds durations \(timedelta64"),
        (X + 1j, r"^Complex data not supported: X holds complex128 numbers; .* X.real and X.imag"),
        (csr_array(X + 1j), "^Complex data not supported"),
        (np.zeros((60, 2), [("a", "f4")]), "structured array; pass numpy.lib.recfunctions"),
        (np.full((60, 2), "red"), "could not convert string to float.*OneHotEncoder"),
        (np.full(X.shape, None), "X contains NaN, the first in row 0 .* column 0"),
        ([[1, 2], [3]], "X has rows of different lengths"),
        ([[10**400, 1]] * 60, "int too large to convert to float"),
        (np.full(X.shape, 10, np.longdouble) ** 400, "X contains infinity"),
        (np.ma.masked_array(X, X > 1), f"masked array, of which {(X > 1).sum()} values"),
        ("rows.csv", "X is of type str; pass an array"),
        (None, "X is of type NoneType"),
        ((row for row in X), "X is of type generator"),
        (X.view(np.matrix), r"X is an np.matrix; pass np.asarray\(X\)"),
    ):
        if "infinity" in said and np.finfo(np.longdouble).nmant == 52:
            continue
        labels = Y[: len(rows)] if isinstance(rows, list) else Y
        with pytest.raises(InputError, match=said) as caught:
            model().fit(rows, labels)
        assert len(str(caught.value)) <= 300
        with pytest.raises(InputError, match=said):
            trained.predict(rows)


def test_rows_of_other_shapes() -> None:
    pandas = pytest.importorskip("pandas")
    for rows, said in (
        (X[:, 0], r"shape \(60,\); expected \(n, d\).*Reshape your data with X.reshape\(-1, 1\)"),
        (X[0].tolist(), r"shape \(3,\); expected \(n, d\)"),
        (coo_array(X[0]), r"shape \(3,\)"),
        (pandas.Series(X[:, 0]), r"Pass X.to_frame\(\)"),
        (X[:, :, np.newaxis], r"Pass X.reshape\(len\(X\), -1\) if each row is an image"),
        (np.zeros((1,) * 32), "X has shape"),
        (pandas.DataFrame(index=range(60)), r"X has 0 feature\(s\)"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            model().fit(rows, Y)
        assert len(str(caught.value)) <= 300


def test_nothing_masked_is_nothing_missing() -> None:
    trained = model().fit(np.ma.masked_array(X, X > 9), np.ma.masked_array(Y, Y > 9))
    np.testing.assert_array_equal(trained.coef_, model().fit(X, Y).coef_)


# ------------------------------------------------------------------ other libraries' arrays


class Tensor:
    """What a tensor of another library is to NumPy."""

    def __init__(self, values: Any, why_not: Exception | None = None) -> None:
        self.values, self.why_not = np.asarray(values), why_not
        self.shape, self.dtype, self.ndim = self.values.shape, "a type of its own", 2

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if self.why_not:
            raise self.why_not
        return self.values if dtype is None else self.values.astype(dtype)

    def detach(self) -> Tensor:
        return self


def test_tensors_are_read_as_arrays() -> None:
    trained = model().fit(Tensor(X), Tensor(Y), Tensor(np.ones(60)), Tensor(X), Tensor(Y))
    plain = model().fit(X, Y, np.ones(60), X, Y)
    np.testing.assert_array_equal(trained.coef_, plain.coef_)
    np.testing.assert_array_equal(trained.predict(Tensor(X)), plain.predict(X))
    assert trained.score(Tensor(X), Tensor(Y)) == plain.score(X, Y)


@pytest.mark.parametrize(
    "why_not",
    [
        RuntimeError("Can't call numpy() on Tensor that requires grad."),
        TypeError("can't convert cuda:0 device type tensor to numpy."),
        AttributeError("no such thing\nat all"),
    ],
)
def test_tensors_that_cannot_be_read(why_not: Exception) -> None:
    for call, what in (
        (lambda: model().fit(Tensor(X, why_not), Y), "X"),
        (lambda: model().fit(X, Tensor(Y, why_not)), "y"),
        (lambda: model().fit(X, Y, Tensor(Y, why_not)), "sample_weight"),
        (lambda: model().fit(X, Y).predict(Tensor(X, why_not)), "X"),
    ):
        with pytest.raises(
            InputError, match=rf"{what} cannot be read .*{what}.detach\(\)"
        ) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_tensors_of_torch_while_scikit_learn_dispatches(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    import sklearn
    from sklearn.utils import _array_api

    monkeypatch.setattr(_array_api, "_check_array_api_dispatch", lambda dispatch: None)
    rows, labels = torch.from_numpy(X), torch.from_numpy(Y)
    with sklearn.config_context(array_api_dispatch=True):
        trained = model().fit(rows, labels)
        assert isinstance(trained.coef_, np.ndarray)
        np.testing.assert_array_equal(trained.predict(rows), model().fit(X, Y).predict(X))
        assert trained.score(rows, labels) == trained.score(X, Y)
        assert model().fit(rows.half(), labels).coef_.dtype == np.float32
        for unreadable in (rows.bfloat16(), rows.clone().requires_grad_(), rows.to_sparse()):
            with pytest.raises(InputError, match=r"X cannot be read .* X.detach\(\)"):
                model().fit(unreadable, labels)


# ------------------------------------------------------------------ weights


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (["a"] * 60, "sample_weight cannot be read .* could not convert|could not convert"),
        ([None] * 60, "sample_weight contains NaN"),
        (np.where(Y, np.inf, 1.0), "sample_weight contains infinity"),
        (np.ones(60) * 1j, "sample_weight holds values of type complex128"),
        (np.full(60, "2020", "M8[Y]"), "sample_weight holds values of type datetime64"),
        ([10**400] * 60, "sample_weight cannot be read"),
        (10**400, "sample_weight cannot be read"),
        (np.nan, "sample_weight contains NaN"),
        ({}, "sample_weight cannot be read"),
        (np.ma.masked_array(np.ones(60), Y > 0), "sample_weight is a masked array"),
    ],
)
def test_weights_that_are_no_numbers(weights: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        model().fit(X, Y, sample_weight=weights)
    with pytest.raises(InputError, match=said):
        model().partial_fit(X, Y, classes=[0, 1], sample_weight=weights)
