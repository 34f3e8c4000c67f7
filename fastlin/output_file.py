"""Write a file whole or not at all, and find out beforehand whether it can be written."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastlin.errors import OutputError


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Give a temporary path; move what was written there to `path` once all went well.

    The temporary file lies in the same folder, so the move is atomic: whoever
    opens `path` finds the old content or the new, never a part. After any
    exception, Ctrl-C included, `path` is as it was and the temporary file is gone.

    Parameters
    ----------
    path : str or Path
        File to write or replace. A link is followed.

    Yields
    ------
    Path
        Where to write; it has the suffix of `path`, by which some libraries choose a format.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    final, temporary = _places(path)
    try:
        yield temporary
        temporary.replace(final)
    except OSError as error:
        raise OutputError(_refusal(path, error.strerror or str(error))) from error
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Raise now what :func:`replacing` would raise after a long computation.

    Parameters
    ----------
    path : str or Path
        File that will be written. An existing file keeps its content.

    Raises
    ------
    OutputError
        If `path` is a folder or a device, if its folder is missing or cannot be
        written to, or if an existing file is write-protected.
    """
    final, temporary = _places(path)
    try:
        temporary.touch()  # permission bits alone say little to root or on a full disk
    except OSError as error:
        raise OutputError(_refusal(path, error.strerror or str(error))) from error
    finally:
        temporary.unlink(missing_ok=True)
    if final.exists() and not os.access(final, os.W_OK):
        raise OutputError(_refusal(path, "the file is write-protected"))


def _places(path: str | Path) -> tuple[Path, Path]:
    """Return the file behind `path` and the temporary file beside it."""
    final = Path(path).resolve()
    if final.is_dir():
        raise OutputError(_refusal(path, "it is a folder; a file name is needed"))
    if final.exists() and not final.is_file():
        raise OutputError(_refusal(path, "it is no regular file; a file name is needed"))
    if not final.parent.is_dir():
        raise OutputError(_refusal(path, f"there is no folder '{final.parent}'; create it first"))
    return final, final.with_name(f".{final.stem}.{os.getpid()}{final.suffix}")


def _refusal(path: str | Path, reason: str) -> str:
    return f"cannot write '{path}': {reason}"
