"""Arrays from outside become :class:`~fastlin.kernels.Samples`: checked, copied if need be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.errors import InputError, listed
from fastlin.kernels.arguments import ROW_TYPES, WEIGHT_TYPES, CsrRows, Samples
from fastlin.rows.labels import locate

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import Rows
    from fastlin.rows.scaling import InputScale


def sparse_rows(matrix: Any) -> CsrRows:
    """Return the rows of a CSR matrix or array of SciPy, over its memory.

    Columns that do not ascend, or that a row has twice, are sorted and summed up on a copy.
    """
    from scipy.sparse import csr_array

    # One of our own over the same memory: what SciPy notes on it does not change the caller's, and
    # what it noted on the caller's before may have become wrong.
    own = csr_array((matrix.data, matrix.indices, matrix.indptr), shape=matrix.shape)
    try:
        own.check_format(full_check=True)
    except ValueError as error:
        raise InputError(
            f"X is a broken CSR matrix ({error}); build it again from its parts with "
            "scipy.sparse.csr_array((data, indices, indptr), shape=shape)"
        ) from error
    if not own.has_canonical_format:
        own = own.copy()
        own.sum_duplicates()
    values, columns, row_starts = (
        np.require(array, requirements=["C", "A"]) for array in (own.data, own.indices, own.indptr)
    )
    return CsrRows(values, columns, row_starts, own.shape[1])


def take_rows(rows: Rows, index: NDArray[np.int64]) -> Rows:
    """Return copies of some rows."""
    return rows.part(index) if isinstance(rows, CsrRows) else rows[index]


def weight_type(rows: Rows, option: str) -> np.dtype[Any]:
    """Return the type of the weights for these rows and ``dtype=option``."""
    return np.dtype(WEIGHT_TYPES[rows.dtype.name][0] if option == "auto" else option)


def kernel_rows(rows: Rows, weights_dtype: np.dtype[Any]) -> Rows:
    """Return the rows as the kernels can read them for weights of that type.

    Rows that are contiguous, at any distance from one another, stay where they are; columns and a
    floating-point type other than that of the weights are copied. Of sparse rows at most the values
    are, where they are of another type.
    """
    if isinstance(rows, CsrRows):
        return replace(rows, values=rows.values.astype(weights_dtype, copy=False))
    if rows.size and rows.strides[1] != rows.itemsize:
        rows = np.ascontiguousarray(rows)
    if weights_dtype.name in WEIGHT_TYPES.get(rows.dtype.name, ()):
        return rows
    return rows.astype(weights_dtype)


def encode_labels(y: NDArray[Any], classes: NDArray[Any], what: str = "y") -> NDArray[np.int32]:
    """Return the index in the sorted ``classes`` of every label, ``(n,)``."""
    index, known = locate(y, classes)
    if not known.all():
        raise InputError(
            f"{what} holds labels that were not seen in training: "
            f"{listed(np.unique(y[~known]).tolist())}; expected {listed(classes.tolist(), 10)}; "
            "leave those rows out, or write labels as in training"
        )
    return index.astype(np.int32)


def make_samples(
    rows: Rows,
    labels: NDArray[np.int32],
    scale: InputScale,
    weights_dtype: np.dtype[Any],
    sample_weight: NDArray[np.float64] | None = None,
    of_counted: bool = False,
) -> Samples:
    """Bind rows ``(n, d)`` and labels ``(n,)`` for the kernels.

    ``sample_weight`` is divided by its mean, so that the mean of the weighted losses is the
    weighted mean of the losses; over all rows, or ``of_counted``, over those it is not zero for.
    Dense rows so far from zero that folding the shift would cost too many digits are shifted here,
    on a copy in the weights' type.
    """
    assert rows.dtype.name in ROW_TYPES, "the estimator validated it"
    if isinstance(rows, CsrRows) and scale.has_shift:
        raise InputError(
            "sparse rows cannot be shifted, which would fill in their zeros, but the features have "
            "a shift, of input_scale or of dense rows that came before; pass "
            "input_scale=(0, scale), or dense rows, for example X.toarray()"
        )
    shift = scale.shift.astype(weights_dtype) if scale.has_shift else None
    if isinstance(rows, np.ndarray) and scale.loses_digits(rows, weights_dtype, sample_weight):
        rows, shift = scale.shifted(rows, weights_dtype), None
    if sample_weight is not None:
        counted = sample_weight[sample_weight > 0] if of_counted else sample_weight
        sample_weight = sample_weight / counted.mean()
    return Samples(
        rows=kernel_rows(rows, weights_dtype),
        labels=labels,
        sample_weight=sample_weight,
        shift=shift,
    )
