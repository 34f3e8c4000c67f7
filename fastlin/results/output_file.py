"""Write a file whole or not at all, and check beforehand whether it can be written."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fastlin.errors import OutputError

LONGEST_SUFFIX = 64
"""Longest suffix, in bytes, that a temporary name takes over: a name has at most 255."""


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path; move the file written there to `path` if the block succeeds.

    The temporary file is in the same folder, so the move is atomic: whoever opens `path` finds the
    old content or the new, never a part. Threads, processes and machines that write to one path do
    not interfere: each has its own temporary file, and the last to finish wins. After any
    exception, Ctrl-C included, `path` is as it was and the temporary file is gone; after a loss of
    power too, except that the temporary file may be left. A replaced file
    passes on its permissions; a new file gets the usual ones.

    Parameters
    ----------
    path : str or Path
        File to write or replace. A link is followed.

    Yields
    ------
    Path
        Where to write. It has the suffix of `path`, from which some libraries choose a format.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    final = _file_behind(path)
    try:
        temporary = _free_name_beside(final)
        try:
            _make(temporary, final)
            yield temporary
            _to_disk(temporary)
            move_over(temporary, final)
            _to_disk(final.parent)
        finally:
            with suppress(OSError):  # which would hide the original error
                temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(_refusal(path, error.strerror or str(error))) from error


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, would survive a loss of power."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot sync a folder; what the disk lacks or cannot write is an error.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EROFS, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def move_over(temporary: Path, final: Path) -> None:
    """Move a file over another, if there is one, and keep its mode and, if possible, its owner."""
    try:
        before = final.stat()
    except FileNotFoundError:
        temporary.replace(final)
        return
    # The mode would grant its group's rights to a wrong group.
    with suppress(OSError):
        os.chown(temporary, -1, before.st_gid)
    with suppress(OSError):
        os.chown(temporary, before.st_uid, -1)
    mode = stat.S_IMODE(before.st_mode)
    if stat.S_IMODE(temporary.stat().st_mode) != mode:
        temporary.chmod(mode)
    temporary.replace(final)


def check_writable(path: str | Path) -> None:
    """Raise the error now that :func:`replacing` would raise after a long computation.

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
    final = _file_behind(path)
    try:
        # By trying: permission bits say little for root or on a full disk.
        temporary = _free_name_beside(final)
        try:
            _make(temporary, final)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(_refusal(path, error.strerror or str(error))) from error
    if final.exists() and not os.access(final, os.W_OK):
        raise OutputError(_refusal(path, "the file is write-protected"))


def _file_behind(path: str | Path) -> Path:
    """Return the file that `path` leads to, in a folder that exists."""
    if _stands_for_a_stream(Path(os.path.abspath(path))):  # noqa: PTH100  # follows no links
        raise OutputError(_refusal(path, "it is not a regular file; a file name is needed"))
    try:
        final = Path(path).resolve()
        there_is_a_folder = final.parent.is_dir()
        mode = final.stat().st_mode if there_is_a_folder else 0
    except FileNotFoundError:
        return final
    except OSError as error:  # a name that is too long, or a link to itself
        raise OutputError(_refusal(path, error.strerror or str(error))) from error
    except RuntimeError as error:  # a link to itself, before Python 3.13
        raise OutputError(_refusal(path, os.strerror(errno.ELOOP))) from error
    except ValueError as error:  # a NUL
        raise OutputError(_refusal(repr(os.fspath(path))[1:-1], str(error))) from error
    if not there_is_a_folder:
        raise OutputError(_refusal(path, f"there is no folder '{final.parent}'; create it first"))
    if stat.S_ISDIR(mode):
        raise OutputError(_refusal(path, "it is a folder; a file name is needed"))
    if not stat.S_ISREG(mode):
        raise OutputError(_refusal(path, "it is not a regular file; a file name is needed"))
    return final


def _stands_for_a_stream(path: Path) -> bool:
    """Whether a path such as ``/dev/stdout`` leads to a file that a process already has open."""
    folders = ("/dev", "/dev/fd", "/proc/self/fd", f"/proc/{os.getpid()}/fd")
    return str(path.parent) in folders and path.is_symlink()


def _free_name_beside(final: Path) -> Path:
    """Return a unique name in the folder of `final`, which cannot be guessed."""
    suffix = final.suffix if len(os.fsencode(final.suffix)) <= LONGEST_SUFFIX else ""
    return final.with_name(f".fastlin-{secrets.token_hex(8)}{suffix}")


def _make(temporary: Path, final: Path) -> None:
    """Make an empty file, whose name the caller knows already, and so can remove at any signal.

    If `final` is new, the file has the mode of any new file, which ``tempfile`` would not give it.
    Otherwise only the user can read it until it takes over the mode of `final`.
    """
    mode = 0o600 if final.exists() else 0o666
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def _refusal(path: str | Path, reason: str) -> str:
    text = str(path)
    shown = text if len(text) <= 160 else f"{text[:78]}...{text[-78:]}"
    return f"cannot write '{shown}': {reason}"
