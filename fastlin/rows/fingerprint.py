"""Checksums by which a run that goes on recognises its data."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.threads import map_in_threads
from fastlin.rows.interface import Rows

FLOAT32 = np.dtype(np.float32)


def checksum_of_rows(rows: Rows, n_threads: int) -> int:
    """Return a checksum of all values, the same wherever the rows are stored."""
    size = rows.rows_of_a_block(FLOAT32)
    sums = np.zeros(-(-len(rows) // size), np.uint32)

    def add(index: int) -> None:
        sums[index] = rows.part(slice(index * size, (index + 1) * size)).checksum()

    map_in_threads(add, range(len(sums)), n_threads)
    return checksum(sums)


def checksum(*arrays: NDArray[Any] | None) -> int:
    """Return a checksum of arrays, of which some may be None."""
    total = 0
    for array in arrays:
        if array is None:
            total = zlib.crc32(b"none", total)
            continue
        if array.dtype.kind == "O":
            array = array.astype(np.str_)
        total = zlib.crc32(f"{array.dtype.str} {array.shape}".encode(), total)
        total = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, total)
    return total
