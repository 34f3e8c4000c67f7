"""The idx format of MNIST's files: a magic number, the sizes, then the values.

Bytes 0 and 1 are zero, byte 2 is the type, byte 3 the number of dimensions;
then one big-endian uint32 for each dimension; then the values, big-endian, in C order.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.compressed import open_sized
from fastlin.errors import listed, shown

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name): code for code, name in _TYPES.items()}


def decode(data: bytes) -> NDArray[Any]:
    """Read the array from the bytes of an uncompressed idx file.

    Returns an array in native byte order, which is read-only if the type is one byte wide. Raises
    ValueError, which says what is wrong with the bytes.
    """
    return _read(io.BytesIO(data), len(data))


def _read(file: BinaryIO, most: int) -> NDArray[Any]:
    """Read the array in a file that has at most `most` bytes, and no byte after the array."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES or start[3] == 0:
        raise ValueError(f"not an idx file (it begins with the bytes {start.hex(' ')})")
    sizes = file.read(4 * start[3])
    if len(sizes) < 4 * start[3]:
        raise ValueError("idx header is cut off")
    shape = struct.unpack(f">{start[3]}I", sizes)
    dtype = np.dtype(_TYPES[start[2]])
    n_header, n_values = len(start) + len(sizes), dtype.itemsize * math.prod(shape)
    promise = f"idx header promises {shown(n_header + n_values)} bytes (shape {listed(shape)})"
    if n_header + n_values > most:
        raise ValueError(f"{promise}, the file has at most {most}")
    data = file.read(n_values)
    if len(data) < n_values:
        raise ValueError(f"{promise}, the file has {n_header + len(data)}")
    if file.read(1):
        raise ValueError(f"{promise}, the file has more")
    values = np.frombuffer(data, dtype).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def encode(values: NDArray[Any]) -> bytes:
    """Return the bytes of an uncompressed idx file with ``values`` (any shape)."""
    big_endian = values.dtype.newbyteorder(">")
    header = struct.pack(
        f">BBBB{values.ndim}I", 0, 0, _CODES[big_endian], values.ndim, *values.shape
    )
    return header + values.astype(big_endian, copy=False).tobytes()


def read(path: Path) -> NDArray[Any]:
    """Read an idx file, compressed or not, as its first bytes tell.

    No more memory is taken than the header promises, and none if the file cannot have as much.
    Raises ValueError for a damaged file, InputError if it is no regular file, OSError if it cannot
    be read.
    """
    file, most = open_sized(path)
    with file:
        return _read(file, most)


def gunzip(data: bytes) -> bytes:
    """Decompress; raise ValueError if the stream is truncated or damaged."""
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"gzip stream is truncated or damaged ({error})") from error
