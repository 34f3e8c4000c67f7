"""Rows in several arrays, one after another, which need not fit in memory: mapped files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import ROW_TYPES, WEIGHT_TYPES, Rows, type_name
from fastlin.rows.read_ahead import read_ahead
from fastlin.rows.scratch import Scratch

ROWS_AT_ONCE = 1024

MOST_JOINED = 2**28
"""Bytes of rows from several arrays that are copied together; of more there are only views."""

ROWS_OF_A_LOT, LOTS = 4096, 100
"""Rows that :meth:`PartedRows.divided` keeps together, if there are enough for so many lots."""


class PartedRows(Rows):
    """Rows in several arrays, which are read in place wherever possible.

    Parameters
    ----------
    arrays : sequence of (n_i, d) arrays
        All of the same type: uint8, int8, float16, float32 or float64.
    names : sequence of str, optional
        Where each array comes from, for messages.

    Raises
    ------
    InputError
        There are no arrays, or they do not fit together.
    """

    can_be_shifted = True
    lie_in_memory = False

    def __init__(self, arrays: Sequence[NDArray[Any]], names: Sequence[str] | None = None) -> None:
        self._names = list(names or (f"array {place}" for place in range(len(arrays))))
        self._arrays = [
            _readable(array, name) for array, name in zip(arrays, self._names, strict=True)
        ]
        if not self._arrays:
            raise InputError("there are no rows: the list of arrays is empty")
        first = self._arrays[0]
        for array, name in zip(self._arrays, self._names, strict=True):
            for what, value, expected in (
                ("features", array.shape[1], first.shape[1]),
                ("type", array.dtype, first.dtype),
            ):
                if value != expected:
                    raise InputError(
                        f"{name} has {what} {value}, but {self._names[0]} has {expected}; all "
                        "parts need the same features and type"
                    )
        self._starts = np.cumsum([0, *map(len, self._arrays)])
        self.values = first[:0]  # the values lie in several arrays
        self._dtype: np.dtype[Any] | None = None
        self._shift: NDArray[np.float64] | None = None
        self._origin: object = None  # what the arrays are views of, and must be kept

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._dtype or self._arrays[0].dtype

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return int(self._starts[-1]), self._arrays[0].shape[1]

    @property
    def values_of_a_row(self) -> float:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return self.shape[1]

    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the same as for rows in one array."""
        return DenseRows(self.values).rows_of_a_block(dtype)

    def part(self, rows: slice | NDArray[np.int64]) -> Rows:
        """Return some rows: views where possible, copies if they lie in several arrays."""
        if not isinstance(rows, slice):
            return self._gathered(rows)
        first, stop, step = rows.indices(len(self))
        if step != 1:
            return self._gathered(np.arange(first, stop, step))
        stop = max(first, stop)
        pieces = self._between(first, stop)
        if len(pieces) == 1:
            return self._converted(pieces[0])
        if (stop - first) * self.shape[1] * self.dtype.itemsize <= MOST_JOINED:
            return self._converted(np.concatenate(pieces))
        return self._like(pieces)

    def block(self, rows: slice, dtype: np.dtype[Any], scratch: Scratch) -> Rows:
        """See :class:`~fastlin.rows.interface.Rows`."""
        first, stop, _ = rows.indices(len(self))
        pieces = self._between(first, stop)
        if self._is_read_in_place(pieces[0].dtype) and self._shift is None:
            if len(pieces) == 1:
                return DenseRows(pieces[0]).block(slice(None), dtype, scratch)
            out = scratch.array((stop - first, self.shape[1]), DenseRows(pieces[0]).type_for(dtype))
            np.concatenate(pieces, out=out, casting="same_kind")
            return DenseRows(out)
        if DenseRows(np.empty((0, 1), self.dtype)).type_for(dtype) != self.dtype:
            return super().block(rows, dtype, scratch)
        out = scratch.array((stop - first, self.shape[1]), self.dtype)
        at = 0
        with np.errstate(over="ignore"):
            for piece in pieces:
                for _, some in DenseRows(piece).blocks(ROWS_AT_ONCE):
                    shift = self._shift
                    values = some.values if shift is None else some.values - shift
                    out[at : at + len(values)] = values
                    at += len(values)
        return DenseRows(out)

    def pieces(self) -> Iterator[tuple[slice, Rows]]:
        """Iterate over parts that kernels can read; the next may take the memory of the last."""
        size, scratch = self.rows_of_a_block(np.dtype(np.float32)), Scratch()
        dtype = np.dtype(WEIGHT_TYPES[type_name(self.dtype)][0])
        for first in range(0, len(self), size):
            place = slice(first, min(first + size, len(self)))
            yield place, self.block(place, dtype, scratch)

    def near(self, order: NDArray[np.int64]) -> tuple[Rows, slice | None, NDArray[np.int64]]:
        """Return rows that hold those of ``order``; see :class:`~fastlin.rows.interface.Rows`."""
        if len(order):
            index = int(np.searchsorted(self._starts, order[0], side="right")) - 1
            first, stop = int(self._starts[index]), int(self._starts[index + 1])
            if first <= order.min() and order.max() < stop:
                rows = self._arrays[index]
                if self._shift is None and self._is_read_in_place(rows.dtype):
                    return DenseRows(rows), slice(first, stop), order - first
        return self._gathered(order), None, np.arange(len(order))

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return [(int(start), int(stop)) for _, start, stop in self._places() if start < stop]

    def prefetch(self, first: int, stop: int) -> None:
        """Ask the system to read some rows into memory while others are computed with."""
        if first < stop and first < len(self):
            for piece in self._between(first, stop):
                read_ahead(piece)

    def for_weights(self, dtype: np.dtype[Any]) -> PartedRows:
        """Return rows whose parts kernels can read; each part is converted when it is asked for."""
        if type_name(dtype) in WEIGHT_TYPES[type_name(self.dtype)]:
            return self
        return self.seen_as(dtype, self._shift)

    def minus(self, shift: NDArray[np.float64], dtype: np.dtype[Any]) -> PartedRows:
        """Return rows of which each part is shifted when it is asked for."""
        return self.seen_as(dtype, shift)

    def seen_as(self, dtype: np.dtype[Any] | None, shift: NDArray[np.float64] | None) -> PartedRows:
        """Return rows whose parts are shifted, and of a type, when they are asked for."""
        other = self._like(self._arrays)
        other._dtype, other._shift = dtype, shift
        return other

    @property
    def view(self) -> tuple[np.dtype[Any] | None, NDArray[np.float64] | None]:
        """Type and shift of :meth:`seen_as`."""
        return self._dtype, self._shift

    @property
    def arrays(self) -> Sequence[NDArray[Any]]:
        """The arrays, one after another."""
        return self._arrays

    @property
    def names(self) -> Sequence[str]:
        """Where each array comes from."""
        return self._names

    @property
    def matrix(self) -> NDArray[Any]:
        """A copy in memory."""
        return self.to_array()

    def to_array(self) -> NDArray[Any]:
        """Return a copy in memory."""
        return self._converted(np.concatenate(self._arrays)).to_array()

    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> DenseRows:
        """See :class:`~fastlin.rows.interface.Rows`; the result is in memory."""
        return DenseRows(self.to_array()).scaled(dtype, shift, scale, factors)

    def squared(self) -> DenseRows:
        """Return the square of each value, in memory."""
        return DenseRows(self.to_array()).squared()

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""
        return np.concatenate([block.squared_norms() for _, block in self.pieces()])

    def ranges(self) -> NDArray[np.float64]:
        """Return the largest value of each feature less its least, ``(d,)``."""
        parts = [block.to_array() for _, block in self.pieces()]
        return DenseRows(np.concatenate(parts)).ranges()

    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
        return np.concatenate([block.largest() for _, block in self.pieces()])

    def checksum(self) -> int:
        """Return a checksum of all values, in 32 bits."""
        return DenseRows(self.to_array()).checksum()

    def name_of(self, row: int) -> str:
        """Return where a row comes from, for messages."""
        index = int(np.searchsorted(self._starts, row, side="right")) - 1
        return f"row {row - int(self._starts[index])} of {self._names[index]}"

    def divided(
        self, fraction: float, generator: np.random.Generator
    ) -> tuple[PartedRows, NDArray[np.int64], PartedRows, NDArray[np.int64]]:
        """Divide the rows into two lots of whole blocks; the second has about a ``fraction``.

        Returns both lots, which are views, each with the indices of its rows.

        Raises
        ------
        InputError
            There are too few rows for two lots.
        """
        size = max(1, min(ROWS_OF_A_LOT, len(self) // LOTS))
        blocks = [
            (first, min(first + size, stop))
            for start, stop in self.stretches
            for first in range(start, stop, size)
        ]
        n_second = round(fraction * len(blocks))
        if not 0 < n_second < len(blocks):
            raise InputError(
                f"a fraction {fraction:g} of {len(self)} rows cannot be split off; give "
                "validation rows of their own"
            )
        is_second = np.zeros(len(blocks), bool)
        is_second[generator.choice(len(blocks), n_second, replace=False)] = True
        first_lot, second_lot = (
            self._lot([block for block, chosen in zip(blocks, lot, strict=True) if chosen])
            for lot in (~is_second, is_second)
        )
        return *first_lot, *second_lot

    def _lot(self, blocks: list[tuple[int, int]]) -> tuple[PartedRows, NDArray[np.int64]]:
        """Return some blocks of rows as views, and the indices of the rows."""
        runs: list[list[int]] = []
        for first, stop in blocks:
            if runs and runs[-1][1] == first and first not in self._starts:
                runs[-1][1] = stop
            else:
                runs.append([first, stop])
        arrays, names = [], []
        for first, stop in runs:
            index = int(np.searchsorted(self._starts, first, side="right")) - 1
            start = int(self._starts[index])
            arrays.append(self._arrays[index][first - start : stop - start])
            names.append(f"{self._names[index]} from row {first - start}")
        indices = [np.arange(first, stop) for first, stop in runs]
        return self._like(arrays, names), np.concatenate(indices)

    def _between(self, first: int, stop: int) -> list[NDArray[Any]]:
        """Return views of the rows from one to another, at least one view."""
        starts = self._starts
        place = int(np.searchsorted(starts, first, side="right")) - 1
        pieces = []
        while place < len(self._arrays) and starts[place] < stop:
            piece = self._arrays[place][max(first - starts[place], 0) : stop - starts[place]]
            if len(piece):
                pieces.append(piece)
            place += 1
        return pieces or [self._arrays[0][:0]]

    def _places(self) -> Iterator[tuple[NDArray[Any], int, int]]:
        return zip(self._arrays, self._starts[:-1], self._starts[1:], strict=True)

    def _is_read_in_place(self, stored: np.dtype[Any]) -> bool:
        return self._dtype is None or self._dtype == stored

    def _converted(self, array: NDArray[Any]) -> DenseRows:
        """Return values as they are in the arrays in the form that was asked for."""
        if self._shift is not None:
            return DenseRows(array).minus(self._shift, self.dtype)
        return DenseRows(np.asarray(array).astype(self.dtype, copy=False))

    def _gathered(self, rows: NDArray[np.int64]) -> DenseRows:
        rows = np.asarray(rows)
        out = np.empty((len(rows), self.shape[1]), self._arrays[0].dtype)
        by_place = np.argsort(rows, kind="stable")
        edges = np.searchsorted(rows, self._starts, sorter=by_place)
        for place in np.flatnonzero(np.diff(edges)):  # in the order of the file
            here = by_place[edges[place] : edges[place + 1]]
            out[here] = self._arrays[place][rows[here] - self._starts[place]]
        return self._converted(out)

    def _like(
        self, arrays: Sequence[NDArray[Any]], names: Sequence[str] | None = None
    ) -> PartedRows:
        other = PartedRows(arrays, names or (self._names if arrays is self._arrays else None))
        other._dtype, other._shift, other._origin = self._dtype, self._shift, self
        other.executor = self.executor
        return other


def _readable(array: Any, name: str) -> NDArray[Any]:
    """Return an array as rows, or say what is wrong with it."""
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} is of type {type(array).__name__}; pass NumPy arrays")
    if array.ndim == 3:
        array = array.reshape(len(array), -1)
    if array.ndim != 2 or array.shape[1] == 0:
        raise InputError(f"{name} has shape {array.shape}; expected (n, d), n rows of d features")
    if array.dtype.name not in ROW_TYPES or not array.dtype.isnative:
        raise InputError(
            f"{name} holds values of type {array.dtype}; expected {', '.join(ROW_TYPES)}, which "
            "are read in place"
        )
    if array.size and array.strides[1] != array.itemsize:
        raise InputError(
            f"{name} is not stored row by row; save it again: np.save(name, "
            "np.ascontiguousarray(array))"
        )
    plain: NDArray[Any] = array.view(np.ndarray)
    return plain
