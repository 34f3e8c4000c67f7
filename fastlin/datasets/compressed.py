"""Files that may be compressed, as the bytes they hold, with a bound on what they unpack to.

A file of 1 MB can unpack to many gigabytes. Data do not: text and pixels shrink to a third, and
rows that are nearly all zero to a hundredth.

Text takes several times its size once it is parsed, so its size is counted before that begins.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from fastlin.datasets.regular_file import open_regular
from fastlin.errors import InputError

SUFFIXES = (".gz", ".bz2", ".xz")
MOST_TIMES = 200
"""How many times its size a file may unpack to."""

ALWAYS_ALLOWED = 1 << 26
"""Bytes to which a file of any size may unpack."""

_MOST_MEMORY = 1 << 28  # bytes for xz, which asks for as many as a file says; `xz -9` takes 65 MiB
_PIECE = 1 << 16  # bytes that are read and unpacked at a time

_GZIP = re.compile(rb"\x1f\x8b")
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")  # a word in a text may begin with BZh
_XZ = re.compile(rb"\xfd7zXZ\0")


def open_bytes(path: Path) -> BinaryIO:
    """Open a regular file for reading its uncompressed content; its first bytes tell which kind.

    Reading it raises ValueError if a compressed file is damaged, InputError if it unpacks to more
    than :func:`most_unpacked` allows.
    """
    return open_sized(path)[0]


def open_sized(path: Path) -> tuple[BinaryIO, int]:
    """Open a file as :func:`open_bytes` does; return also the most bytes that can be read."""
    file = open_regular(path)
    size = os.fstat(file.fileno()).st_size
    start = file.read(10)
    file.seek(0)
    read: Callable[[int], bytes]
    if _GZIP.match(start):
        read = gzip.GzipFile(fileobj=file).read1
    elif _BZIP2.match(start):
        read = _Streams(file, bz2.BZ2Decompressor).read
    elif _XZ.match(start):
        one = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MOST_MEMORY)
        read = _Streams(file, one).read
    else:
        return file, size
    most = most_unpacked(size)
    return cast("BinaryIO", io.BufferedReader(_Unpacked(file, read, most), _PIECE)), most


def require_bounded(path: Path) -> None:
    """Raise InputError if a file unpacks to more than :func:`most_unpacked` allows.

    It is unpacked as far as that, and nothing of it is kept.
    """
    with open_bytes(path) as file:
        if isinstance(file, io.BufferedReader) and isinstance(file.raw, _Unpacked):
            while file.read(_PIECE):
                pass


def most_unpacked(size: int) -> int:
    """Return the most bytes to which a file of `size` bytes may unpack."""
    return max(MOST_TIMES * size, ALWAYS_ALLOWED)


def refusal(most: int) -> InputError:
    """Return the error for a file that unpacks to more than `most` bytes."""
    return InputError(
        f"unpacks to more than {most / 1e6:.0f} MB, as only a file does that is made to fill the "
        "memory; if it is right, unpack it and give the unpacked file"
    )


class _Unpacked(io.RawIOBase):
    """What `read` gives of a compressed `file`, up to `most` bytes."""

    def __init__(self, file: BinaryIO, read: Callable[[int], bytes], most: int) -> None:
        self._file, self._read, self._most, self._left = file, read, most, most

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the beginning of `buffer`; return the number of bytes, 0 at the end."""
        try:
            data = self._read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk's, not the content's
            raise ValueError(f"its compressed content is truncated or damaged ({error})") from error
        self._left -= len(data)
        if self._left < 0:
            raise refusal(self._most)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file, too."""
        self._file.close()
        super().close()


class _Streams:
    """One compressed stream after another, to the end of a file.

    The standard library's files end at the first stream that does not begin as one, so damage there
    would take away the rest of the rows without a word.
    """

    def __init__(self, file: BinaryIO, new_decompressor: Callable[[], Any]) -> None:
        self._file, self._new = file, new_decompressor
        self._stream = new_decompressor()

    def read(self, n: int) -> bytes:
        """Return from 1 to `n` bytes, or none at the end."""
        data = b""
        while not data:
            piece = b""
            if self._stream.eof:
                piece = self._stream.unused_data or self._file.read(_PIECE)
                while piece and not piece.strip(b"\0"):  # padding, which xz allows
                    piece = self._file.read(_PIECE)
                if not piece:
                    return b""
                self._stream = self._new()
                piece = piece.lstrip(b"\0")
            elif self._stream.needs_input:
                piece = self._file.read(_PIECE)
                if not piece:
                    raise EOFError("it ends inside a compressed stream")
            data = self._stream.decompress(piece, n)
        return data
