"""Converts the rows and labels of a local file to the types of training, or refuses them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError

_LARGEST = 2**63 - 1
"""The largest int64."""


def check_rows(rows: Any) -> Any:
    """Return rows (n, d), C-ordered, in a type of training; sparse ones as they are.

    The rows are (n, d) or (n, height, width). Raises InputError for another shape or type, if
    there are no rows, for nan and infinity, and for numbers that float64 cannot hold.
    """
    if not isinstance(rows, np.ndarray):
        return _check_sparse(rows)
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
        with np.errstate(over="ignore"):  # long doubles, which are checked below
            X = X.astype(_row_type(X), copy=False)
        bad = np.argwhere(~np.isfinite(X))
        if len(bad):
            raise InputError(
                f"{len(bad)} of the values are nan or infinite, the first one in row {bad[0, 0]}, "
                f"column {bad[0, 1]} (counted from 0); replace them or remove those rows"
            )
    return np.ascontiguousarray(X, dtype=_row_type(X))


def _check_sparse(rows: Any) -> Any:
    if 0 in rows.shape:
        raise InputError(f"there is no data: rows have the shape {rows.shape}")
    bad = np.flatnonzero(~np.isfinite(rows.data))
    if len(bad):
        row = int(np.searchsorted(rows.indptr, bad[0], side="right")) - 1
        raise InputError(
            f"{len(bad)} of the values are nan or infinite, the first one in row {row} (counted "
            "from 0); replace them or remove those rows"
        )
    return rows


def _row_type(X: NDArray[Any]) -> type[np.generic]:
    """Return the smallest type of rows that holds the values exactly.

    uint8 for uint8 and booleans, int8 and float16 for themselves, else float32 or float64.
    """
    if X.dtype.kind == "b":
        return np.uint8
    if X.dtype.type in (np.uint8, np.int8, np.float16):
        return X.dtype.type
    if X.dtype.kind == "f":
        return np.float32 if X.dtype.itemsize <= 4 else np.float64
    exact_in_float32 = 2**24
    largest = max(abs(int(X.min())), abs(int(X.max())))
    return np.float32 if largest <= exact_in_float32 else np.float64


def check_labels(labels: NDArray[Any], n: int) -> NDArray[Any]:
    """Return labels (n,): int64 if they are whole numbers, else float64 or strings.

    Raises InputError for another shape, length or type, and for nan and infinity.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise InputError(f"labels have the shape {labels.shape}; expected one label for each row")
    if len(labels) != n:
        raise InputError(f"there are {n} rows, but {len(labels)} labels; expected as many")
    if labels.dtype.kind == "u" and len(labels) and int(labels.max()) > _LARGEST:
        return labels  # int64 would make them negative
    if labels.dtype.kind in "bui":
        return labels.astype(np.int64)
    if labels.dtype.kind == "f":
        return _float_labels(labels)
    if labels.dtype.kind == "S":
        try:
            return np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"labels are bytes, but not UTF-8 ({error.object[:20]!r}); save them as strings"
            ) from error
    if labels.dtype.kind == "U":
        _check_characters(labels)
        return labels.astype(np.str_)
    raise InputError(f"labels have the type {labels.dtype}; expected whole numbers or strings")


def _check_characters(labels: NDArray[Any]) -> None:
    """Raise InputError unless each string can be written as UTF-8; a damaged file's may not."""
    codes = np.ascontiguousarray(labels.astype(labels.dtype.newbyteorder("="))).view(np.uint32)
    halves = (codes >= 0xD800) & (codes <= 0xDFFF)
    if halves.any() or codes.max(initial=0) > sys.maxunicode:
        raise InputError("some labels hold numbers that are no characters; save them as strings")


def _float_labels(labels: NDArray[Any]) -> NDArray[Any]:
    """Return floating-point labels as int64 if all are whole, else as float64."""
    if not np.isfinite(labels).all():
        raise InputError("some labels are nan or infinite; expected a label for each row")
    with np.errstate(over="ignore", invalid="ignore"):
        as_float64 = labels.astype(np.float64, copy=False)
        whole = labels.astype(np.int64)
    if len(np.unique(as_float64)) < len(np.unique(labels)):
        raise InputError(
            f"some labels of type {labels.dtype} are the same in float64; save them as whole "
            "numbers or strings"
        )
    inside = len(labels) == 0 or bool((np.abs(labels) < _LARGEST).all())
    return whole if inside and np.array_equal(whole, labels) else as_float64
