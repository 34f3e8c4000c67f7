"""The idx format of MNIST's files: a magic number, the sizes, then the values.

Bytes 0 and 1 are zero, byte 2 is the type, byte 3 the number of dimensions;
then one big-endian uint32 for each dimension; then the values, big-endian, in C order.
Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file formats.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CODES = {np.dtype(name): code for code, name in _TYPES.items()}
_GZIP_MAGIC = b"\x1f\x8b"


def decode(data: bytes) -> NDArray[Any]:
    """Read the array from the bytes of an uncompressed idx file.

    Returns a read-only view of ``data`` if the type is one byte wide, else
    a copy in native byte order. Raises ValueError, which says what is wrong with the bytes.
    """
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or data[3] == 0:
        raise ValueError(f"not an idx file (it begins with the bytes {data[:4].hex(' ')})")
    n_dimensions = data[3]
    start = 4 + 4 * n_dimensions
    if len(data) < start:
        raise ValueError("idx header is cut off")
    shape = struct.unpack_from(f">{n_dimensions}I", data, 4)
    dtype = np.dtype(_TYPES[data[2]])
    expected = start + dtype.itemsize * math.prod(shape)
    if len(data) != expected:
        raise ValueError(
            f"idx header promises {expected} bytes (shape {shape}), the file has {len(data)}"
        )
    values = np.frombuffer(data, dtype, offset=start).reshape(shape)
    return values.astype(dtype.newbyteorder("="), copy=False)


def encode(values: NDArray[Any]) -> bytes:
    """Return the bytes of an uncompressed idx file with ``values`` (any shape)."""
    big_endian = values.dtype.newbyteorder(">")
    header = struct.pack(
        f">BBBB{values.ndim}I", 0, 0, _CODES[big_endian], values.ndim, *values.shape
    )
    return header + values.astype(big_endian, copy=False).tobytes()


def read(path: Path) -> NDArray[Any]:
    """Read an idx file, compressed by gzip or not, as its first bytes tell.

    Raises ValueError for a damaged file, OSError for one that cannot be read.
    """
    data = path.read_bytes()
    if data[:2] == _GZIP_MAGIC:
        data = gunzip(data)
    return decode(data)


def gunzip(data: bytes) -> bytes:
    """Decompress; raise ValueError if the stream is truncated or damaged."""
    try:
        return gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"gzip stream is truncated or damaged ({error})") from error
