"""A temporary file of rows, for sources that can be read only once, or slowly."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import platformdirs
from numpy.typing import NDArray

from fastlin.errors import InputError, OutputError
from fastlin.rows.containers import row_type
from fastlin.rows.labels import read_labels
from fastlin.rows.stored import StoredRows

Said: TypeAlias = Callable[[str], None]

VARIABLE = "FASTLIN_SPILL_DIR"


def to_log(line: str) -> None:
    """Tell something by Python's logging."""
    logging.getLogger("fastlin").info(line)


class Spill:
    """A temporary file that rows are appended to, and that is then mapped into memory.

    Parameters
    ----------
    folder : path or None
        Where to make it; None is ``FASTLIN_SPILL_DIR`` or else the user's cache folder.
    said : callable
        Told where it is and how large it is.
    """

    def __init__(self, folder: str | Path | None, said: Said) -> None:
        chosen = folder or os.environ.get(VARIABLE)
        parent = Path(chosen) if chosen else platformdirs.user_cache_path("fastlin") / "spill"
        host = socket.gethostname().replace("-", "_")
        try:
            parent.mkdir(parents=True, exist_ok=True)
            _remove_those_of_dead_processes(parent, host)
            self.folder = parent / f"rows-{host}-{os.getpid()}-{secrets.token_hex(4)}"
            self.folder.mkdir(mode=0o700)
            self.path = self.folder / "rows.npy"
            self._file = self.path.open("wb")
        except OSError as error:
            raise OutputError(f"cannot write to {parent}: {error.strerror or error}") from error
        self.remove = weakref.finalize(self, _remove, self.folder, self._file)
        self._said, self._n_rows, self._header = said, 0, 0
        self._like: NDArray[Any] | None = None

    @property
    def free(self) -> int:
        """Bytes that the disk can still take."""
        return shutil.disk_usage(self.folder).free

    def append(self, rows: NDArray[Any]) -> None:
        """Write rows ``(m, d)``, all of one type and with as many features."""
        try:
            if self._like is None:
                self._like = rows[:0]
                self._write_header()
            self._file.write(np.ascontiguousarray(rows).view(np.uint8).data)
        except OSError as error:
            self.remove()
            raise OutputError(
                f"the rows do not fit in {self.folder.parent}: {error.strerror or error}; name "
                f"another folder by spill= or {VARIABLE}"
            ) from error
        self._n_rows += len(rows)

    def finished(self, **more: Any) -> StoredRows:
        """Return the rows; the file is removed with them. ``more``: for :class:`StoredRows`."""
        assert self._like is not None, "rows were appended"
        self._write_header()
        self._file.close()
        array = np.lib.format.open_memmap(self.path, mode="r")
        size = f"{array.nbytes / 1e6:,.1f} MB"
        self._said(f"the rows were written to {self.path} ({size}), which is removed at the end")
        return StoredRows([array], close=self.close, **more)

    def close(self) -> None:
        """Remove the file, as happens anyway when nobody holds this object any more."""
        self.remove()

    def _write_header(self) -> None:
        assert self._like is not None
        self._file.seek(0)
        header = {
            "descr": np.lib.format.dtype_to_descr(self._like.dtype),
            "fortran_order": False,
            "shape": (self._n_rows, self._like.shape[1]),
        }
        # NumPy leaves room for the first number of a shape to grow.
        np.lib.format.write_array_header_1_0(self._file, header)
        size = self._file.tell()
        assert self._header in (0, size), "the header has become longer"
        self._header = size


def from_batches(batches: Iterable[Any], folder: str | Path | None, said: Said) -> StoredRows:
    """Write what an iterator yields, rows or pairs of rows and labels, to a temporary file.

    Raises
    ------
    InputError
        There are no batches, or one differs from the first.
    """
    spill, labels = Spill(folder, said), []
    first: NDArray[Any] | None = None
    has_labels = False
    try:
        for place, batch in enumerate(batches):
            name = f"batch {place} (counted from 0)"
            is_pair = isinstance(batch, tuple) and len(batch) == 2
            rows = np.asarray(batch[0] if is_pair else batch)
            if rows.ndim != 2:
                raise InputError(f"{name} has shape {rows.shape}; yield rows (m, d), or (rows, y)")
            rows = rows.astype(row_type(rows, name), copy=False)
            if first is None:
                first, has_labels = rows[:0], is_pair
            if is_pair != has_labels:
                raise InputError(f"{name} has {'' if is_pair else 'no '}labels, unlike the first")
            if rows.shape[1] != first.shape[1] or rows.dtype != first.dtype:
                raise InputError(
                    f"{name} has {rows.shape[1]} features of type {rows.dtype}, the first batch "
                    f"{first.shape[1]} of type {first.dtype}; yield the same"
                )
            if is_pair:
                labels.append(read_labels(batch[1], f"y of {name}"))
                if labels[-1].shape != (len(rows),):
                    raise InputError(f"{name} has {len(rows)} rows, y of shape {labels[-1].shape}")
            spill.append(rows)
        if first is None:
            raise InputError("the function yielded no rows")
        return spill.finished(labels=np.concatenate(labels) if has_labels else None)
    except BaseException:
        spill.remove()
        raise


def _remove(folder: Path, file: Any) -> None:
    with suppress(OSError):
        file.close()
    shutil.rmtree(folder, ignore_errors=True)


def _remove_those_of_dead_processes(parent: Path, host: str) -> None:
    """Remove what processes that were killed on this machine have left."""
    for folder in parent.glob(f"rows-{host}-*-*"):
        owner = folder.name.split("-")[-2]
        if owner.isdecimal() and not _is_alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
