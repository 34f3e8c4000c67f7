"""Sparse rows: of every row only the features that are not zero are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.rows.interface import Rows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    from fastlin.rows.interface import FloatArray

PRODUCTS_OF_A_VALUE = 8
"""Products that take as long as finding the weights of a stored value."""

LEAST_ROWS_OF_A_BLOCK = 32768
"""Enough that the start of a call takes no time beside them."""

ROWS_OF_A_FEATURE = 4
"""Rows of a block for each feature: adding two gradients ``(k, d)`` takes as long as some values of
``d`` rows."""


@dataclass(frozen=True, eq=False)
class CsrRows(Rows):
    """Rows of which only what is not zero is stored: SciPy's compressed sparse rows, ``z`` in all.

    Row ``i`` holds ``values[s]`` in feature ``columns[s]`` for
    ``row_starts[i] <= s < row_starts[i + 1]``, and zeros elsewhere. The columns of a row ascend and
    each occurs once; a row may be empty. Kernels rely on it, and on all columns being below ``d``.

    Attributes
    ----------
    values : (z,) float32 or float64
        Contiguous and aligned, of the weights' type.
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
        """Values that are stored for a row on average."""
        return len(self.values) / max(1, len(self))

    @property
    def products_of_a_row(self) -> float:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return PRODUCTS_OF_A_VALUE * (self.values_of_a_row + 1)

    @property
    def bytes_of_a_float64_row(self) -> int:
        """Memory that a row takes on average if its values are float64, with its columns."""
        return 16 * (int(self.values_of_a_row) + 1)

    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the rows of a block of a pass over all rows: at least some for each feature."""
        return max(LEAST_ROWS_OF_A_BLOCK, ROWS_OF_A_FEATURE * self.n_features)

    def part(self, rows: slice | NDArray[np.int64]) -> CsrRows:
        """Return some rows: a view for a slice, copies in the order given for indices ``(m,)``.

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

    def for_weights(self, dtype: np.dtype[Any]) -> CsrRows:
        """Return the rows with values of the weights' type, which alone are copied if need be."""
        values = self.values.astype(dtype, copy=False)
        return self if values is self.values else replace(self, values=values)

    def to_scipy(self) -> csr_array:
        """Return the rows as SciPy's array ``(n, d)`` over the same memory."""
        from scipy.sparse import csr_array

        # Unlike csr_matrix, which would copy 64-bit columns that 32 bits can hold.
        return csr_array((self.values, self.columns, self.row_starts), shape=self.shape)

    @property
    def matrix(self) -> csr_array:
        """SciPy's array; see :meth:`to_scipy`."""
        return self.to_scipy()

    def to_array(self) -> NDArray[Any]:
        """Return the rows with all their zeros, ``(n, d)``."""
        return np.asarray(self.to_scipy().toarray())

    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> CsrRows:
        """See :class:`~fastlin.rows.interface.Rows`; there must be no shift."""
        assert shift is None, "sparse rows have no shift"
        values = self.values.astype(dtype, copy=False)
        if scale is not None:
            values = values * scale.astype(dtype, copy=False)[self.columns]
        if factors is not None:
            values = values * np.repeat(factors.astype(dtype, copy=False), np.diff(self.row_starts))
        return replace(self, values=values)

    def squared(self) -> CsrRows:
        """Return the square of each value."""
        return replace(self, values=self.values**2)

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""
        return np.asarray(self.squared().to_scipy().sum(axis=1))

    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
        return np.asarray(abs(self.to_scipy()).max(axis=1).toarray().ravel(), np.float64)
