"""Asks the system to read parts of mapped files before they are needed."""

from __future__ import annotations

import ctypes
import functools
import mmap
import sys
import time
from typing import Any

from numpy.typing import NDArray

PAGE = mmap.PAGESIZE

SLOW = 30_000
"""Nanoseconds after which a value must have come from a disk."""


def read_ahead(rows: NDArray[Any]) -> None:
    """Begin to read the pages of rows, unless they seem to be in memory."""
    if not _is_in_memory(rows):
        _advise(rows)


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
