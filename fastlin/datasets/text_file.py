"""Files of text, compressed or not, as bytes and as lines."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

ENCODING = "utf-8-sig"  # UTF-8, with or without the mark that spreadsheets put in front
COMPRESSED = (".gz", ".bz2", ".xz")
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, lzma.LZMAError)
"""Errors besides OSError that readers of compressed files raise for a damaged file."""

_OPENERS: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def open_bytes(path: Path) -> BinaryIO:
    """Open a file for reading its uncompressed content; its first bytes tell the compression."""
    with path.open("rb") as file:
        start = file.read(5)
    for magic, opener in _OPENERS.items():
        if start.startswith(magic):
            return cast("BinaryIO", opener(path, "rb"))
    return path.open("rb")


def open_text(path: Path) -> TextIO:
    """Open a file for reading its lines, with their own line ends."""
    return io.TextIOWrapper(open_bytes(path), encoding=ENCODING, newline="")


def bare_suffix(path: Path) -> str:
    """Return the suffix in lower case, without that of a compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in COMPRESSED else suffix
