"""Rows that need not fit in memory: several arrays one after another, mapped files for example."""

from __future__ import annotations

import ctypes
import functools
import itertools
import mmap
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import ROW_TYPES, WEIGHT_TYPES, Rows, type_name

MOST_JOINED = 2**28
"""Bytes of rows from several arrays that are copied together; of more there are only views."""

ROWS_OF_A_LOT, LOTS = 4096, 100
"""Rows that :meth:`PartedRows.divided` keeps together, if there are enough for so many lots."""

PAGE = mmap.PAGESIZE

SLOW = 30_000
"""Nanoseconds after which a value must have come from a disk."""


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
        pieces = [
            array[max(first - start, 0) : stop - start]
            for array, start, end in self._places()
            if start < stop and first < end
        ] or [self._arrays[0][:0]]
        if len(pieces) == 1:
            return self._converted(pieces[0])
        if (stop - first) * self.shape[1] * self.dtype.itemsize <= MOST_JOINED:
            return self._converted(np.concatenate(pieces))
        return self._like(pieces)

    def pieces(self) -> Iterator[tuple[slice, Rows]]:
        """Iterate over parts that kernels can read."""
        yield from self.blocks(self.rows_of_a_block(np.dtype(np.float32)))

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
        for array, start, end in self._places():
            if start < stop and first < end:
                rows = array[max(first - start, 0) : stop - start]
                if not _is_in_memory(rows):
                    _advise(rows)

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
        for place, (first, stop) in enumerate(itertools.pairwise(edges)):
            if first < stop:  # in the order of the file
                here = by_place[first:stop]
                out[here] = self._arrays[place][rows[here] - self._starts[place]]
        return self._converted(out)

    def _like(
        self, arrays: Sequence[NDArray[Any]], names: Sequence[str] | None = None
    ) -> PartedRows:
        other = PartedRows(arrays, names or (self._names if arrays is self._arrays else None))
        other._dtype, other._shift, other._origin = self._dtype, self._shift, self
        other.executor = self.executor
        return other


class StoredRows:
    """Rows that need not fit in memory, for the estimator's methods in place of an array.

    :func:`fastlin.open_rows` opens them. Labels, if the files had any, are in memory.

    Parameters
    ----------
    arrays : sequence of (n_i, d) arrays
        All of the same type: uint8, int8, float16, float32 or float64; they are read in place.
    names : sequence of str, optional
        Where each array comes from, for messages.
    labels : (n,) array, optional
    feature_names : sequence of str, optional
    close : callable, optional
        Releases what the arrays lie in; called by :meth:`close`.

    Attributes
    ----------
    labels : (n,) array or None
    feature_names : list of str or None

    Raises
    ------
    InputError
        There are no arrays, or they do not fit together.
    """

    ndim = 2

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]] | PartedRows,
        names: Sequence[str] | None = None,
        *,
        labels: NDArray[Any] | None = None,
        feature_names: Sequence[str] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        parts = arrays if isinstance(arrays, PartedRows) else PartedRows(arrays, names)
        self._parts: PartedRows | None = parts
        self.labels, self._close, self._shape = labels, close, parts.shape
        self.feature_names = None if feature_names is None else list(feature_names)
        if close is not None:  # views of the rows keep what they lie in
            parts._origin = close

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return parted(self).dtype

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some rows as an array."""
        return parted(self).part(rows).to_array()

    def __enter__(self) -> StoredRows:
        """Return the rows, which are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the rows."""
        self.close()

    def close(self) -> None:
        """Remove temporary files, if the rows lie in some; they cannot be read afterwards."""
        self._parts, close, self._close = None, self._close, None
        if close is not None:
            close()


def parted(rows: StoredRows) -> PartedRows:
    """Return the rows as the solvers read them.

    Raises
    ------
    InputError
        They have been closed.
    """
    if rows._parts is None:
        raise InputError("the rows have been closed; open them again")
    return rows._parts


def views(rows: StoredRows, size: int) -> Iterator[StoredRows]:
    """Iterate over the rows, ``size`` at a time, as rows of the same kind."""
    for _, block in parted(rows).blocks(size):
        yield StoredRows([block.to_array()], feature_names=rows.feature_names)


def divided(
    rows: StoredRows, fraction: float, generator: np.random.Generator
) -> tuple[StoredRows, StoredRows]:
    """Divide labelled rows into two lots, as :meth:`PartedRows.divided` does."""
    assert rows.labels is not None, "the caller has looked"
    first, of_first, second, of_second = parted(rows).divided(fraction, generator)
    names = rows.feature_names
    return (
        StoredRows(first, labels=rows.labels[of_first], feature_names=names),
        StoredRows(second, labels=rows.labels[of_second], feature_names=names),
    )


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


# ------------------------------------------------------------------ advice to the system


def _is_in_memory(rows: NDArray[Any]) -> bool:
    """Whether the last value is there at once, and so probably all of them.

    If they are, asking the system to read them would cost more than reading them.
    """
    started = time.perf_counter_ns()
    _ = rows[-1, -1]
    return time.perf_counter_ns() - started < SLOW


@functools.cache
def _madvise() -> Any:
    """Return the system's function, or None; NumPy's maps do not offer it."""
    if not sys.platform.startswith("linux"):
        return None
    function = ctypes.CDLL(None, use_errno=True).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function


def _advise(array: NDArray[Any]) -> None:
    """Begin to read the pages of an array; without effect on memory that is no map of a file."""
    function = _madvise()
    if function is None or not array.size:
        return
    first = array.__array_interface__["data"][0]
    stop = first + (len(array) - 1) * array.strides[0] + array.shape[1] * array.itemsize
    first -= first % PAGE
    function(first, stop - first, mmap.MADV_WILLNEED)
