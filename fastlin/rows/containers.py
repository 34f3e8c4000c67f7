"""Reads the rows, labels and weights that users pass as NumPy arrays, or refuses them by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastlin.errors import FastlinError, InputError, InputTypeError, shown
from fastlin.rows.interface import ROW_TYPES

ROWS_AT_ONCE = 1024


@contextmanager
def reading(what: str, remedy: str = "pass a NumPy array of numbers") -> Iterator[None]:
    """Turn every exception that a container raises while it is read into a fastlin error."""
    try:
        yield
    except (FastlinError, MemoryError, Warning):
        raise
    except Exception as error:  # containers are of any library
        kind = InputTypeError if isinstance(error, TypeError) else InputError
        reason = " ".join(str(error).split()) or type(error).__name__
        raise kind(
            f"{what} cannot be read as an array ({reason[:120].rstrip('. ')}); {remedy}"
        ) from error


def plain(values: Any, what: str) -> Any:
    """Return arrays and tensors of any library as NumPy arrays, and everything else as it is.

    scikit-learn would leave other libraries' arrays as they are while its array API dispatch is
    switched on, and would ignore the mask of a masked array.
    """
    if hasattr(values, "collect_schema") and hasattr(values, "collect"):
        raise InputError(f"{what} is a LazyFrame, which holds no rows yet; pass {what}.collect()")
    if is_collection(values):
        return plain(values.compute(), what)
    if isinstance(values, np.ma.MaskedArray):
        n_masked = int(np.ma.getmaskarray(values).sum())
        if n_masked:
            raise InputError(
                f"{what} is a masked array, of which {n_masked} values are missing; fill them in, "
                f"for example with {what}.filled(0), or leave those rows out"
            )
        return np.asarray(values)
    if isinstance(values, np.matrix):
        raise InputTypeError(f"{what} is an np.matrix; pass np.asarray({what})")
    if isinstance(values, np.ndarray) or issparse(values) or is_table(values):
        return values
    if hasattr(values, "__array__") and not hasattr(values, "iloc"):
        remedy = "pass a NumPy array"
        if hasattr(values, "detach"):  # a tensor
            remedy += f", such as {what}.detach().cpu().to_dense().float().numpy()"
        with reading(what, remedy):
            return np.asarray(values)
    return values


def is_collection(values: Any) -> bool:
    """Whether this is a collection of Dask, whose rows may be on other machines."""
    return type(values).__module__.partition(".")[0] == "dask" and hasattr(values, "compute")


def is_table(values: Any) -> bool:
    """Whether this is a pandas or Polars data frame or an Arrow table."""
    return _is_frame(values) or _is_arrow(values)


def numbers(values: Any, what: str) -> NDArray[np.float64]:
    """Return numbers, such as weights of rows, from any container as float64."""
    values = plain(values, what)
    with reading(what):
        array = np.asarray(values)
        if array.dtype.kind in "cmMV":
            raise InputError(f"{what} holds values of type {array.dtype}; pass real numbers")
        array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise InputError(
            f"Input {what} contains {'NaN' if np.isnan(array).any() else 'infinity'}; give each "
            "row a finite number, for example 0 to leave it out"
        )
    return array


def require_rows(X: Any, what: str = "X") -> None:
    """Raise an error if these are not rows but, for example, a single row, a column or images."""
    shape: tuple[int, ...] = getattr(X, "shape", ())
    if len(shape) == 2:
        if is_table(X) and shape[1] == 0:
            raise InputError(f"{what} has 0 feature(s), its shape is {shape}; give it columns")
        return
    if hasattr(X, "to_frame"):  # a series
        remedy = f"Pass {what}.to_frame() if it is one feature of all rows"
    elif shape == ():
        raise InputTypeError(
            f"{what} is of type {type(X).__name__}; pass an array (n, d) of n rows of d features"
        )
    elif len(shape) < 2:
        # scikit-learn's users know the first words, and its estimator checks look for them.
        remedy = (
            f"Reshape your data with {what}.reshape(-1, 1) if it is one feature of all rows, or "
            f"with {what}.reshape(1, -1) if it is a single row"
        )
    else:
        remedy = f"Pass {what}.reshape(len({what}), -1) if each row is an image"
    raise InputError(f"{what} has shape {shape}; expected (n, d), n rows of d features. {remedy}")


def row_type(X: Any, what: str = "X") -> np.dtype[Any]:
    """Return the type in which rows are stored: the smallest that holds all their values.

    uint8, int8, float16 and float32 for themselves; uint8 for booleans; float32 for int16 and
    uint16; float64 for all others. A table has the common type of its columns. Sparse rows are
    float32 for float16, float32 and uint8, else float64.
    """
    if is_table(X):
        return _type_for(_shared_type(X, what), what)
    dtype = getattr(X, "dtype", None)
    if not isinstance(dtype, np.dtype):
        return np.dtype(np.float64)
    chosen = _type_for(dtype, what)
    if issparse(X):
        short = dtype.kind == "f" or dtype == np.uint8
        return np.result_type(np.float32 if short else np.float64, chosen)
    return chosen


def type_of_rows(types: Sequence[np.dtype[Any]], what: str = "X") -> np.dtype[Any]:
    """Return the type in which rows are stored whose columns have these types."""
    return _type_for(np.result_type(*types), what)


def _type_for(dtype: np.dtype[Any], what: str) -> np.dtype[Any]:
    if dtype.kind == "c":
        raise InputError(
            f"Complex data not supported: {what} holds {dtype} numbers; pass real ones, such as "
            f"np.abs({what}), or {what}.real and {what}.imag as features"
        )
    if dtype.kind in "mM":
        raise InputError(
            f"{what} holds {_dates(dtype)}; convert them to numbers, such as days since a date: "
            f"({what} - start) / np.timedelta64(1, 'D')"
        )
    if dtype.kind == "V":
        raise InputError(
            f"{what} is a structured array; pass numpy.lib.recfunctions.structured_to_unstructured"
            f"({what})"
        )
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind in "iuf" and dtype.itemsize <= 2 and dtype.name in ROW_TYPES:
        return np.dtype(dtype.name)
    if dtype.kind in "iuf" and np.can_cast(dtype, np.float32):
        return np.dtype(np.float32)
    return np.dtype(np.float64)


def _dates(dtype: np.dtype[Any]) -> str:
    return f"{'dates' if dtype.kind == 'M' else 'durations'} ({dtype})"


# ------------------------------------------------------------------ tables


def column_names(X: Any) -> list[Any] | None:
    """Return the names of a table's columns, or None for anything else."""
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):  # columns would run a lazy query
        return None
    return list(X.column_names if _is_arrow(X) else X.columns) if is_table(X) else None


def _is_frame(values: Any) -> bool:
    return hasattr(values, "columns") and hasattr(values, "dtypes")


def _is_arrow(values: Any) -> bool:
    return hasattr(values, "schema") and hasattr(values, "column_names")


def _columns(table: Any) -> Iterator[tuple[Any, Any]]:
    """Yield name and values of each column; pandas columns may share a name."""
    if hasattr(table, "iloc"):
        yield from ((name, table.iloc[:, i]) for i, name in enumerate(table.columns))
    elif _is_arrow(table):
        yield from zip(table.column_names, table.columns, strict=True)
    else:
        yield from ((name, table[name]) for name in table.columns)


def _types(table: Any) -> Iterator[tuple[Any, np.dtype[Any]]]:
    """Yield name and NumPy type of each column, ``object`` if NumPy has no such type."""
    if hasattr(table, "iloc"):
        for name, dtype in zip(table.columns, table.dtypes, strict=True):
            dtype = getattr(dtype, "numpy_dtype", dtype)
            if not isinstance(dtype, np.dtype):
                dates = getattr(dtype, "kind", "O") == "M"  # with a time zone
                dtype = np.dtype("M8[ns]" if dates else object)
            yield name, dtype
    elif _is_arrow(table):
        for field in table.schema:
            try:
                yield field.name, np.dtype(field.type.to_pandas_dtype())
            except (NotImplementedError, TypeError):  # a type that pandas or NumPy does not have
                yield field.name, np.dtype(object)
    else:
        empty = table.head(0)
        for name, dtype in zip(table.columns, table.dtypes, strict=True):
            held = empty[name].to_numpy().dtype
            if held.kind == "O" and dtype.is_temporal():  # times of the day
                held = np.dtype("m8[ns]")
            yield name, np.dtype(object) if dtype.is_nested() else held


def _shared_type(table: Any, what: str) -> np.dtype[Any]:
    types = []
    for name, dtype in _types(table):
        if dtype.kind in "mMc":
            held = "complex numbers" if dtype.kind == "c" else _dates(dtype)
            raise InputError(
                f"column {name!r} of {what} holds {held}; convert it to numbers, or leave it out: "
                f"{what}.drop({'columns=' if hasattr(table, 'iloc') else ''}[{name!r}])"
            )
        if dtype.kind not in "biuf":
            return np.dtype(np.float64)
        types.append(np.dtype(np.uint8) if dtype.kind == "b" else dtype)
    shared = np.result_type(*types) if types else np.dtype(np.float64)
    # A small integer cannot say that a value is missing.
    return np.dtype(np.float64) if shared.kind != "f" and _has_missing(table) else shared


def _has_missing(table: Any) -> bool:
    if hasattr(table, "isna"):
        return bool(np.asarray(table.isna()).any())
    if _is_arrow(table):
        return any(column.null_count for column in table.columns)
    return bool(np.asarray(table.null_count()).any())


# ------------------------------------------------------------------ what was wrong


def explain(X: Any, what: str, error: Exception) -> InputError:
    """Return the error to raise if rows could not be read, with the place of the wrong value."""
    message = str(error)
    if "contains NaN" in message or "contains infinity" in message:
        first = message.partition("\n")[0].rstrip(".")
        return InputError(
            f"{first}{_first_not_finite(X)}. Leave those rows out, or fill them in, for example "
            "with sklearn.impute.SimpleImputer"
        )
    kind = InputTypeError if isinstance(error, TypeError) else InputError
    if is_table(X):
        for name, column in _columns(X):
            word = _first_no_number(column)
            if word is not None:
                return kind(
                    f"column {name!r} of {what} holds {word}, which is not a number; convert the "
                    "column, for example with sklearn.preprocessing.OneHotEncoder, or leave it out"
                )
    if "inhomogeneous" in message:
        return kind(f"{what} has rows of different lengths; pass as many features in each row")
    of_names = "eature names" in message
    no_number = isinstance(error, TypeError | OverflowError) or "could not convert" in message
    if no_number and not of_names:
        reason = " ".join(message.split())[:150].rstrip(". ")
        return kind(
            f"{what} cannot be read as numbers ({reason}); pass an array (n, d) of numbers, with "
            "words encoded, for example by sklearn.preprocessing.OneHotEncoder"
        )
    # Text after the first sentence is advice on other estimators, unless it is about feature names.
    first = message.partition("\n")[0]
    return kind(first if first.endswith(".") and not of_names else message)


def _first_not_finite(X: Any) -> str:
    """Return where the first nan or infinity is, or an empty string if that is not known."""
    try:
        if issparse(X):
            return ""
        names, first = column_names(X), 0
        with np.errstate(over="ignore"):
            if isinstance(X, np.ndarray):  # a memory map may be larger than memory
                while np.isfinite(np.asarray(X[first : first + ROWS_AT_ONCE], np.float64)).all():
                    first += ROWS_AT_ONCE
                    if first >= len(X):
                        return ""
                values = np.asarray(X[first : first + ROWS_AT_ONCE], np.float64)
            elif names is None:
                values = np.asarray(X, np.float64)
            else:
                values = np.column_stack([np.asarray(c, np.float64) for _, c in _columns(X)])
        bad = np.argwhere(~np.isfinite(values))
        name = int(bad[0, 1]) if names is None else names[bad[0, 1]]
    except (TypeError, ValueError, IndexError):
        return ""
    return f", the first in row {first + bad[0, 0]} (counted from 0), column {name!r}"


def _first_no_number(column: Any) -> str | None:
    """Return the first value that is not a number, or None."""
    try:
        if np.asarray(column, np.float64).ndim == 1:
            return None
    except (TypeError, ValueError, OverflowError):
        pass
    for value in column:
        plain_value = value.as_py() if hasattr(value, "as_py") else value  # of Arrow
        try:
            float(plain_value)
        except (TypeError, ValueError, OverflowError):
            return shown(plain_value)
    return None
