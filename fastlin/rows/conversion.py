"""Turns NumPy arrays and SciPy matrices into rows; only this module asks which of them it has."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from fastlin.errors import InputError
from fastlin.rows.csr import CsrRows
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import Rows
from fastlin.rows.stored import StoredRows, parted


def as_rows(rows: Rows | NDArray[Any] | Any) -> Rows:
    """Return a NumPy array or a SciPy CSR matrix, ``(n, d)``, as rows over its memory."""
    if isinstance(rows, Rows):
        return rows
    if isinstance(rows, StoredRows):
        return parted(rows)
    return sparse_rows(rows) if issparse(rows) else DenseRows(np.asarray(rows))


def sparse_rows(matrix: Any) -> CsrRows:
    """Return the rows of a SciPy CSR matrix or array, over its memory.

    Unsorted or duplicate column indices are sorted and summed in a copy.
    """
    from scipy.sparse import csr_array

    # A new array over the same memory: SciPy caches flags on an array, and those of the caller's
    # must not change and may be out of date.
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
