"""Rows and labels of every container and type that scikit-learn's users bring."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.rows.interface import ROW_TYPES
from fastlin.rows.validation import check_rows, check_rows_and_labels

NAMES = ["a", "b", "c", "d"]
VALUES = np.random.default_rng(0).integers(0, 128, (60, 4))
Y = np.arange(60) % 3


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(backend="numpy", max_epochs=3, tol=None, random_state=0, **options)


def pandas_frame(types: list[str]) -> Any:
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(
        {name: pandas.Series(VALUES[:, i]).astype(types[i]) for i, name in enumerate(NAMES)}
    )


def polars_frame(types: list[str]) -> Any:
    polars = pytest.importorskip("polars")
    return polars.DataFrame(
        {name: VALUES[:, i] for i, name in enumerate(NAMES)},
        schema={name: getattr(polars, types[i]) for i, name in enumerate(NAMES)},
    )


PANDAS = [
    (["uint8"] * 4, "uint8"),
    (["int8"] * 4, "int8"),
    (["uint8", "int8", "uint8", "int8"], "float32"),
    (["float16"] * 4, "float16"),
    (["float16", "int8", "bool", "float16"], "float16"),
    (["float32"] * 4, "float32"),
    (["float64"] * 4, "float64"),
    (["int64"] * 4, "float64"),
    (["uint8", "float32", "uint8", "bool"], "float32"),
    (["uint8", "float32", "float64", "uint8"], "float64"),
    (["UInt8"] * 4, "uint8"),
    (["Float32", "UInt8", "float32", "uint8"], "float32"),
]
POLARS = [
    (["UInt8"] * 4, "uint8"),
    (["Int8"] * 4, "int8"),
    (["Float32"] * 4, "float32"),
    (["Float64"] * 4, "float64"),
    (["Int64"] * 4, "float64"),
    (["UInt8", "Float32", "UInt8", "UInt8"], "float32"),
    (["UInt8", "Float32", "Float64", "Int32"], "float64"),
]


@pytest.mark.parametrize(
    ("make", "types", "expected"),
    [(pandas_frame, *case) for case in PANDAS] + [(polars_frame, *case) for case in POLARS],
)
def test_a_frame_keeps_the_type_and_names_of_its_columns(
    make: Any, types: list[str], expected: str
) -> None:
    frame = make(types)
    trained = model().fit(frame, Y)
    assert trained.feature_names_in_.tolist() == NAMES
    rows = check_rows(trained, frame).to_array()
    assert rows.dtype == expected
    plain = model().fit(rows.copy(), Y)
    np.testing.assert_array_equal(trained.coef_, plain.coef_)
    assert trained.coef_.dtype == ("float64" if expected == "float64" else "float32")
    np.testing.assert_array_equal(trained.predict_proba(frame), plain.predict_proba(rows))


@pytest.mark.parametrize(
    ("make", "types"), [(pandas_frame, ["uint8"] * 4), (polars_frame, ["UInt8"] * 4)]
)
def test_columns_of_other_names_are_refused(make: Any, types: list[str]) -> None:
    frame = make(types)
    trained = model().fit(frame, Y)
    with pytest.raises(InputError, match="feature names should match"):
        trained.predict(frame[["b", "a", "c", "d"]])
    with pytest.raises(InputError, match="feature names should match"):
        trained.predict(frame[NAMES[:3]])


def test_missing_values_are_not_taken_for_numbers() -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    column = [1, None, 3] * 20
    for frame in (
        pandas.DataFrame({"a": pandas.array(column, dtype="UInt8")}),
        pandas.DataFrame({"a": pandas.array(column, dtype="Float32")}),
        polars.DataFrame({"a": column}, schema={"a": polars.UInt8}),
        polars.DataFrame({"a": column}, schema={"a": polars.Float32}),
    ):
        with pytest.raises(InputError, match="X contains NaN"):
            model().fit(frame, Y)


def test_columns_of_words_are_refused() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": Y, "b": ["word"] * 60})
    with pytest.raises(
        InputError, match="column 'b' of X holds 'word', which is not a number; convert"
    ):
        model().fit(frame, Y)


# ------------------------------------------------------------------ labels

WORDS = np.array(["ant", "bee", "cat"])


@pytest.mark.parametrize(
    "labels",
    [
        WORDS[Y],
        WORDS[Y].astype(object),
        Y > 0,
        np.array([-5, 1000, 7])[Y],
        np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "datetime64[D]")[Y],
        Y.astype(np.uint8),
    ],
    ids=lambda labels: labels.dtype.name,
)
def test_labels_come_back_as_they_were(labels: np.ndarray) -> None:
    trained = model().fit(VALUES, labels)
    assert trained.classes_.dtype == labels.dtype
    assert trained.classes_.tolist() == sorted(set(labels.tolist()))
    predicted = trained.predict(VALUES)
    assert predicted.dtype == labels.dtype
    assert set(predicted.tolist()) <= set(labels.tolist())
    assert trained.score(VALUES, labels) == np.mean(predicted == labels)


def test_series_of_labels() -> None:
    pandas = pytest.importorskip("pandas")
    polars = pytest.importorskip("polars")
    for labels, kind in (
        (pandas.Series(WORDS[Y]), "O"),
        (pandas.Series(WORDS[Y]).astype("category"), "O"),
        (pandas.Series(Y > 0).astype("boolean"), "b"),
        (pandas.Series(Y).astype("Int64"), "i"),
        (polars.Series(WORDS[Y]), "U"),
        (polars.Series(Y), "i"),
    ):
        trained = model().fit(VALUES, labels)
        assert trained.classes_.dtype.kind == kind
        assert trained.classes_.tolist() == sorted(set(labels.to_list()))
    missing = pandas.array([True, None] * 30, dtype="boolean")
    with pytest.raises(InputError, match="y contains NaN"):
        model().fit(VALUES, pandas.Series(missing))


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.array(["ant", 1, 2], object)[Y], "of type int, str"),
        (np.array([b"ant", b"bee", b"cat"])[Y], "of type bytes"),
    ],
)
def test_labels_that_cannot_be_sorted(labels: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=f"y holds labels {said}; convert .* to strings"):
        model().fit(VALUES, labels)


# ------------------------------------------------------------------ where rows lie


@pytest.mark.parametrize("dtype", ROW_TYPES)
def test_a_read_only_memory_map_is_read_where_it_lies(dtype: str, tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", VALUES.astype(dtype))
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    estimator = model(input_scale="standard")
    rows, _ = check_rows_and_labels(estimator, mapped, Y, reset=True)
    weights_dtype = np.dtype("float64" if dtype == "float64" else "float32")
    assert np.shares_memory(rows.for_weights(weights_dtype).values, mapped)
    trained = estimator.fit(mapped, Y)
    in_memory = model(input_scale="standard").fit(np.array(mapped), Y)
    np.testing.assert_array_equal(trained.coef_, in_memory.coef_)


def test_a_lazy_frame_is_to_be_collected() -> None:
    polars = pytest.importorskip("polars")
    lazy = polars.DataFrame({"a": [0.0, 1.0], "b": [1.0, 0.0]}).lazy()
    with pytest.raises(InputError, match=r"LazyFrame.*X\.collect\(\)"):
        LogisticRegression().fit(lazy, [0, 1])
