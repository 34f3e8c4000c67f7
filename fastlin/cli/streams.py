"""Standard streams that let work continue if their reader has gone, and one-line messages."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

import click

from fastlin.errors import printable


class _Messages(io.FileIO):
    """Standard error: text that cannot be written is lost, since nobody can be told."""

    def write(self, data: Any) -> int:
        """Write bytes, if possible."""
        with suppress(OSError):
            super().write(data)
        return len(data)


class _Results(io.FileIO):
    """Standard output: a reader that has gone is not an error, but a full disk is."""

    failed = False

    def write(self, data: Any) -> int:
        """Write bytes, or raise OSError once."""
        if self.failed:
            return len(data)
        try:
            return super().write(data)
        except BrokenPipeError:
            self.failed = True
            return len(data)
        except OSError as error:
            self.failed = True
            raise OSError(
                error.errno, f"cannot write to standard output: {error.strerror}"
            ) from error


def say(message: str) -> None:
    """Print a message on standard error as one line, without line breaks or control characters."""
    click.echo(f"fastlin: {printable(' '.join(message.split()))}", err=True)


class _LogLines(logging.Handler):
    """Says what is logged."""

    def __init__(self, silent: Callable[[], bool]) -> None:
        super().__init__(logging.INFO)
        self.silent = silent

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line, unless it is to be silent now."""
        if not self.silent():
            say(record.getMessage())


@contextmanager
def log_lines(name: str, silent: Callable[[], bool]) -> Iterator[None]:
    """Say what a logger is told while the block runs, unless `silent` says no."""
    logger, handler = logging.getLogger(name), _LogLines(silent)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def steady_streams() -> Iterator[None]:
    """Replace the standard streams of this process while the block runs, if they are its own."""
    before = sys.stdout, sys.stderr
    sys.stdout = _steady(sys.stdout, 1, _Results)
    sys.stderr = _steady(sys.stderr, 2, _Messages)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, AttributeError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


def _steady(stream: TextIO, descriptor: int, kind: type[io.FileIO]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    try:
        if stream.fileno() != descriptor:
            return stream
        stream.flush()
    except (OSError, ValueError):  # somebody's own, in memory
        return stream
    # Names of files may hold bytes that are not text; they are written as they are.
    errors = "surrogateescape" if stream.encoding.lower() == "utf-8" else "backslashreplace"
    return io.TextIOWrapper(
        io.BufferedWriter(kind(descriptor, "w", closefd=False)),
        encoding=stream.encoding,
        errors=errors if stream.errors == "strict" else stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
