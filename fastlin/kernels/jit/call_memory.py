"""The arrays of one call of a kernel, which gets them by their addresses."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

LINE = 64
"""Bytes of a cache line."""

BLOCK = 2**16
"""Bytes that are allocated at once, since a call on few rows needs a dozen small arrays."""


class Memory:
    """The arrays of one call, which kernels get by their addresses.

    ``dtype``: of the weights.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._kept: list[NDArray[Any]] = []
        self._known: dict[int, int] = {}  # addresses of arrays that are kept, by their `id`
        self._block: NDArray[Any] | None = None  # the latest block, and what is left of it
        self._first, self._next, self._stop = 0, 0, 0

    def zeros(self, *shape: int, dtype: np.dtype[Any] | None = None) -> int:
        """Return the address of zeros on lines of their own, 0 if there are none."""
        size = math.prod(shape) * (dtype or self.dtype).itemsize
        if size == 0:
            return 0
        size += -size % LINE
        if self._next + size > self._stop:
            self.reserve(max(size, BLOCK))
        address = self._next
        self._next += size
        return address

    def reserve(self, size: int) -> None:
        """Allocate a block of so many bytes, from which the next arrays are taken.

        One large block costs less than several: the system hands it out in large pages.
        """
        self._block = aligned(size)
        self._kept.append(self._block)
        self._first = self._next = address_of_array(self._block)
        self._stop = self._next + size

    def array(self, *shape: int, dtype: np.dtype[Any] | None = None) -> NDArray[Any]:
        """Return zeros on lines of their own, whose address is known from then on."""
        dtype = dtype or self.dtype
        address = self.zeros(*shape, dtype=dtype)
        block, offset = (self._block, address - self._first) if address else (None, 0)
        array: NDArray[Any] = np.ndarray(shape, dtype, block, offset)
        self._kept.append(array)
        self._known[id(array)] = address
        return array

    def address(self, array: NDArray[Any] | None, dtype: Any = None) -> int:
        """Return where an array lies, C-ordered and aligned, 0 for None; it lives as long as this.

        It is copied if it is not of that type, C-ordered or aligned.
        """
        if array is None:
            return 0
        known = self._known.get(id(array))
        if known is not None:
            return known
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned and dtype in (None, array.dtype)):
            array = np.require(array, dtype, ["C", "A"])
        self._kept.append(array)
        return address_of_array(array)


def zeros_written(shape: int | tuple[int, ...], dtype: Any = np.float64) -> NDArray[Any]:
    """Return zeros that have been written, unlike those of :func:`numpy.zeros`.

    If a thread adds to a page of those, the system finds it a page of zeros to read, and then
    another one to write, for which it interrupts all threads.
    """
    out = np.empty(shape, dtype)
    out.fill(0)
    return out


def aligned(size: int) -> NDArray[np.uint8]:
    """Return bytes of zeros that start on a cache line."""
    block = zeros_written(size + LINE, np.uint8)
    first = -address_of_array(block) % LINE
    return block[first : first + size]


def address_of_array(array: NDArray[Any]) -> int:
    """Return where a C-ordered array lies.

    NumPy's own way takes five times as long, which counts in a prediction of one row.
    """
    if array.size and array.flags.writeable:
        return ctypes.addressof(ctypes.c_char.from_buffer(array.data))
    return int(array.ctypes.data)
