"""Bring the rows and labels of a local file to the types that training takes, or refuse them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError


def check_rows(rows: NDArray[Any]) -> NDArray[Any]:
    """Give rows (n, d), C-ordered, as uint8, float32 or float64.

    Takes (n, d) or (n, height, width). Raises InputError for another shape or type, for no
    rows, and for nan and infinity.
    """
    if rows.dtype.kind not in "buif":
        raise InputError(f"rows have the type {rows.dtype}; expected numbers")
    if rows.ndim not in (2, 3):
        raise InputError(
            f"rows have the shape {rows.shape}; expected (rows, features) or (rows, height, width)"
        )
    if rows.size == 0:
        raise InputError(f"there is no data: rows have the shape {rows.shape}")
    X = rows.reshape(len(rows), -1)
    if X.dtype.kind == "f":
        bad = np.argwhere(~np.isfinite(X))
        if len(bad):
            raise InputError(
                f"{len(bad)} of the values are nan or infinite, the first one in row {bad[0, 0]}, "
                f"column {bad[0, 1]} (counted from 0); replace them or remove those rows"
            )
    return np.ascontiguousarray(X, dtype=_row_type(X))


def _row_type(X: NDArray[Any]) -> type[np.generic]:
    """Choose the smallest of uint8, float32 and float64 that keeps the values exactly."""
    if X.dtype.kind == "b" or X.dtype == np.uint8:
        return np.uint8
    if X.dtype.kind == "f":
        return np.float32 if X.dtype.itemsize <= 4 else np.float64
    exact_in_float32 = 2**24
    largest = max(abs(int(X.min())), abs(int(X.max())))
    return np.float32 if largest <= exact_in_float32 else np.float64


def check_labels(labels: NDArray[Any], n: int) -> NDArray[Any]:
    """Give labels (n,): int64 where they are whole numbers, else float64 or strings.

    Raises InputError for another shape, length or type, and for nan and infinity.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"labels have the shape {labels.shape}; expected one label for each row")
    if len(labels) != n:
        raise InputError(f"there are {n} rows, but {len(labels)} labels; expected as many")
    if labels.dtype.kind in "bui":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise InputError("some labels are nan or infinite; expected a label for each row")
        whole = labels.astype(np.int64)
        return whole if np.array_equal(whole, labels) else labels.astype(np.float64)
    if labels.dtype.kind in "US":
        return labels.astype(np.str_)
    raise InputError(f"labels have the type {labels.dtype}; expected whole numbers or strings")
