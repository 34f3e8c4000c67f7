"""Opens regular files, and nothing for which a reader could wait or which never ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from fastlin.errors import InputError


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading; raise InputError unless it is regular, OSError if it cannot be read.

    A pipe, a socket or a device is refused before it is opened, since a device may act on that, and
    again once it is open, since it may have taken the file's place in between.
    """
    check_regular(path, path.stat().st_mode)
    file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  (Path's has no opener)
    try:
        check_regular(path, os.fstat(file.fileno()).st_mode)
        os.pread(file.fileno(), 1, 0)  # raises OSError if it waits for more, as /proc/kmsg does
    except (InputError, OSError):
        file.close()
        raise
    return file


def check_regular(path: Path, mode: int) -> None:
    """Raise InputError unless `mode`, as ``stat`` gives it, is that of a regular file."""
    if not stat.S_ISREG(mode):
        raise InputError(
            f"{path} is not a regular file but {_kind(mode)}; save its output to a file and pass it"
        )


def _without_waiting(path: str, flags: int) -> int:
    """Open a pipe at once, too, even if nobody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFDIR: "a folder"}
    return kinds.get(stat.S_IFMT(mode), "a device")
