"""Dense rows: a NumPy array, used in place."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.interface import WEIGHT_TYPES, Rows, type_name
from fastlin.rows.scratch import Scratch

BYTES_OF_A_BLOCK = 2**27
"""Maximum memory of a block in the weights' type: large enough that starting a call takes at most
about 2 % of the time, and small enough for a copy."""

ROWS_AT_ONCE, NUMBERS_AT_ONCE = 1024, 2**15

LEAST_ROWS_OF_A_BLOCK = 1024
"""With so many rows, adding two gradients takes a negligible part of the time."""


@dataclass(frozen=True, eq=False)
class DenseRows(Rows):
    """Rows over a NumPy array.

    Attributes
    ----------
    values : (n, d) uint8, int8, float16, float32 or float64
        Kernels need contiguous rows, but any stride from row to row, even a negative one, and any
        address, even an unaligned one.
    """

    values: NDArray[Any]
    can_be_shifted = True

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.values, dtype, copy=True) if copy else np.asarray(self.values, dtype)

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        n, d = self.values.shape
        return n, d

    @property
    def values_of_a_row(self) -> float:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return self.shape[1]

    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the number of rows of a block of a full pass, a power of two."""
        most = BYTES_OF_A_BLOCK // (dtype.itemsize * max(1, self.shape[1]))
        return max(LEAST_ROWS_OF_A_BLOCK, int(2 ** (most.bit_length() - 1)))

    def part(self, rows: slice | NDArray[np.int64]) -> DenseRows:
        """Return some rows: a view for a slice, copies in the given order for indices ``(m,)``."""
        return DenseRows(self.values[rows])

    def block(self, rows: slice, dtype: np.dtype[Any], scratch: Scratch) -> DenseRows:
        """See :class:`~fastlin.rows.interface.Rows`."""
        some = self.part(rows)
        if some._is_for(dtype):
            return some
        out = scratch.array(some.shape, some.type_for(dtype))
        out[:] = some.values
        return DenseRows(out)

    def minus(self, shift: NDArray[np.float64], dtype: np.dtype[Any]) -> DenseRows:
        """Return a copy of the rows less a shift ``(d,)``, with a single rounding."""
        out = np.empty(self.shape, dtype)
        with np.errstate(over="ignore"):
            for place, block in self.blocks(ROWS_AT_ONCE):
                out[place] = block.to_array() - shift
        return DenseRows(out)

    def for_weights(self, dtype: np.dtype[Any]) -> DenseRows:
        """Return the rows in a form that kernels can read for weights of ``dtype``.

        Contiguous rows are not copied, whatever their stride. Rows that are not contiguous, and
        floating-point values of another type than the weights, are copied.
        """
        if self._is_for(dtype):
            return self
        return DenseRows(self.values.astype(self.type_for(dtype), order="C"))

    def type_for(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the type of the values that kernels read for weights of ``dtype``."""
        readable = type_name(dtype) in WEIGHT_TYPES.get(type_name(self.values.dtype), ())
        return self.values.dtype if readable else dtype

    def _is_for(self, dtype: np.dtype[Any]) -> bool:
        values = self.values
        is_contiguous = not values.size or values.strides[1] == values.itemsize
        return is_contiguous and self.type_for(dtype) == values.dtype

    @property
    def matrix(self) -> NDArray[Any]:
        """The array."""
        return self.values

    def to_array(self) -> NDArray[Any]:
        """Return the array."""
        return self.values

    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> DenseRows:
        """See :class:`~fastlin.rows.interface.Rows`."""
        if shift is None and scale is None and factors is None:
            return DenseRows(self.values.astype(dtype, copy=False))
        shift, scale, factors = (
            None if part is None else part.astype(dtype, copy=False)
            for part in (shift, scale, factors)
        )
        x = np.empty(self.shape, dtype)
        size = max(1, NUMBERS_AT_ONCE // max(1, self.shape[1]))
        for place, block in self.blocks(size):  # which the cache holds
            out = x[place]
            out[:] = block.to_array()
            if shift is not None:
                out -= shift
            if scale is not None:
                out *= scale
            if factors is not None:
                out *= factors[place, np.newaxis]
        return DenseRows(x)

    def checksum(self) -> int:
        """Return a checksum of all values, in 32 bits."""
        return zlib.crc32(np.ascontiguousarray(self.values).view(np.uint8).data)

    def squared(self) -> DenseRows:
        """Return the square of each value."""
        return DenseRows(self.values**2)

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""
        return np.asarray(np.einsum("ij,ij->i", self.values, self.values))

    def ranges(self) -> NDArray[np.float64]:
        """Return the largest value of each feature less its least, ``(d,)``."""
        values = self.values
        if values.dtype == np.float16:  # in which NumPy is slow
            values = values.astype(np.float32)
        with np.errstate(over="ignore"):
            return np.asarray(np.ptp(values, axis=0), np.float64)

    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
        highest = self.values.max(axis=1, initial=0).astype(np.float64)
        # In int8 the absolute value of -128 would be -128.
        lowest = self.values.min(axis=1, initial=0).astype(np.float64)
        return np.asarray(np.maximum(highest, -lowest))
