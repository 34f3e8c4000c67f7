"""Lines of text files, compressed or not."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr, TextIO

from fastlin.datasets import compressed
from fastlin.errors import InputError

ENCODING = "utf-8-sig"  # UTF-8, with or without the mark that spreadsheets put in front
LONGEST_LINE = 1 << 24
"""Characters or bytes of a line; a million columns have about as many."""


def open_text(path: Path) -> TextIO:
    """Open a file for reading its lines, with their own line ends."""
    return io.TextIOWrapper(compressed.open_bytes(path), encoding=ENCODING, newline="")


def lines(file: IO[AnyStr]) -> Iterator[AnyStr]:
    """Return the lines of a file; raise InputError for one that is longer than any row."""
    while line := file.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            raise InputError(
                f"has a line of more than {LONGEST_LINE} characters; expected one row in each line"
            )
        yield line


def bare_suffix(path: Path) -> str:
    """Return the suffix in lower case, without that of a compression."""
    suffix = path.suffix.lower()
    return Path(path.stem).suffix.lower() if suffix in compressed.SUFFIXES else suffix
