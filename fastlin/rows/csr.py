"""Sparse rows, of which only the non-zero values are stored."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastlin.rows.interface import FloatArray, Rows

PRODUCTS_OF_A_VALUE = 8
"""Number of products that take as long as looking up the weights of a stored value."""

LEAST_ROWS_OF_A_BLOCK = 32768
"""With so many rows the start of a call takes a negligible part of the time."""

ROWS_OF_A_FEATURE = 4
"""Rows of a block for each feature, so that adding the blocks' gradients ``(k, d)`` takes a small
part of the time."""


@dataclass(frozen=True, eq=False)
class CsrRows(Rows):
    """Rows in SciPy's compressed sparse row format, with ``z`` stored values in all.

    Row ``i`` holds ``values[s]`` in feature ``columns[s]`` for
    ``row_starts[i] <= s < row_starts[i + 1]``, and zeros elsewhere. The columns of a row are sorted
    and unique, and below ``d``, on which the kernels rely; a row may be empty.

    Attributes
    ----------
    values : (z,) float32 or float64
        Contiguous and aligned, in the weights' type.
    columns : (z,) int32 or int64
        Contiguous and aligned.
    row_starts : (n + 1,) of the columns' type
        Contiguous and aligned; starts at 0 and never falls.
    n_features : int
        ``d``.
    """

    values: FloatArray
    columns: NDArray[np.int32] | NDArray[np.int64]
    row_starts: NDArray[np.int32] | NDArray[np.int64]
    n_features: int
    can_be_shifted = False

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return len(self.row_starts) - 1, self.n_features

    @property
    def values_of_a_row(self) -> float:
        """Mean number of stored values of a row."""
        return len(self.values) / max(1, len(self))

    @property
    def products_of_a_row(self) -> float:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return PRODUCTS_OF_A_VALUE * (self.values_of_a_row + 1)

    @property
    def bytes_of_a_float64_row(self) -> int:
        """Mean memory of a row with float64 values, including its columns."""
        return 16 * (int(self.values_of_a_row) + 1)

    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the number of rows of a block of a full pass, which grows with the features."""
        return max(LEAST_ROWS_OF_A_BLOCK, ROWS_OF_A_FEATURE * self.n_features)

    def part(self, rows: slice | NDArray[np.int64]) -> CsrRows:
        """Return some rows: a view for a slice, copies in the given order for indices ``(m,)``.

        A view copies only the starts of the rows. A slice with a step gives copies.
        """
        if isinstance(rows, slice):
            first, stop, step = rows.indices(len(self))
            if step == 1:
                starts = self.row_starts[first : max(first, stop) + 1]
                stored = slice(starts[0], starts[-1])
                starts = starts - starts[0] if starts[0] else starts
                return replace(
                    self,
                    values=self.values[stored],
                    columns=self.columns[stored],
                    row_starts=starts,
                )
            rows = np.arange(first, stop, step)
        lengths = np.diff(self.row_starts)[rows]
        row_starts = np.zeros(len(rows) + 1, self.row_starts.dtype)
        np.cumsum(lengths, out=row_starts[1:])
        where = np.repeat(self.row_starts[rows] - row_starts[:-1], lengths)
        where += np.arange(len(where), dtype=where.dtype)
        return CsrRows(self.values[where], self.columns[where], row_starts, self.n_features)

    def minus(self, shift: NDArray[np.float64], dtype: np.dtype[Any]) -> CsrRows:
        """Raise: a shift would fill in the zeros."""
        raise AssertionError("sparse rows have no shift")

    def for_weights(self, dtype: np.dtype[Any]) -> CsrRows:
        """Return the rows with values in the weights' type; only values are copied, if needed."""
        values = self.values.astype(dtype, copy=False)
        return self if values is self.values else replace(self, values=values)

    @property
    def matrix(self) -> csr_array:
        """The rows as a SciPy array ``(n, d)`` over the same memory."""
        # csr_matrix would copy 64-bit columns that fit in 32 bits.
        return csr_array((self.values, self.columns, self.row_starts), shape=self.shape)

    def to_array(self) -> NDArray[Any]:
        """Return the rows as a dense array, ``(n, d)``."""
        return np.asarray(self.matrix.toarray())

    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> CsrRows:
        """See :class:`~fastlin.rows.interface.Rows`; ``shift`` must be None."""
        assert shift is None, "sparse rows have no shift"
        values = self.values.astype(dtype, copy=False)
        if scale is not None:
            values = values * scale.astype(dtype, copy=False)[self.columns]
        if factors is not None:
            values = values * np.repeat(factors.astype(dtype, copy=False), np.diff(self.row_starts))
        return replace(self, values=values)

    def checksum(self) -> int:
        """Return a checksum of all values and their places, in 32 bits."""
        total = 0
        for array in (self.values, self.columns, np.diff(self.row_starts)):
            total = zlib.crc32(array.view(np.uint8).data, total)
        return total

    def squared(self) -> CsrRows:
        """Return the square of each value."""
        return replace(self, values=self.values**2)

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""
        return np.asarray(self.squared().matrix.sum(axis=1))

    def ranges(self) -> NDArray[np.float64]:
        """Return the largest value of each feature less its least, ``(d,)``."""
        out = np.zeros(self.n_features)
        by_feature = self.matrix.tocsc()
        counts = np.diff(by_feature.indptr)
        held = np.flatnonzero(counts)
        if not len(held):
            return out
        highest, lowest = (
            reduce.reduceat(by_feature.data, by_feature.indptr[held]).astype(np.float64)
            for reduce in (np.maximum, np.minimum)
        )
        with_zeros = counts[held] < len(self)
        highest[with_zeros] = np.maximum(highest[with_zeros], 0)
        lowest[with_zeros] = np.minimum(lowest[with_zeros], 0)
        with np.errstate(over="ignore"):
            out[held] = highest - lowest
        return out

    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
        return np.asarray(abs(self.matrix).max(axis=1).toarray().ravel(), np.float64)
