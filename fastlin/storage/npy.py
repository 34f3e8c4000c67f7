"""Rows in ``.npy`` files, mapped into memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.rows.labels import read_labels
from fastlin.rows.stored import StoredRows
from fastlin.storage.paths import found


def open_files(files: list[Path], labels: Any) -> StoredRows:
    """Map files of rows, and read their labels into memory.

    Raises
    ------
    InputError
        A file is no array, or the numbers of rows and labels differ.
    """
    arrays = [mapped(file) for file in files]
    rows = StoredRows(arrays, [str(file) for file in files])
    if labels is None:
        return rows
    if not _is_path(labels):
        rows.labels = read_labels(labels, "labels")
        if rows.labels.shape != (len(rows),):
            raise InputError(
                f"labels has shape {rows.labels.shape}, and there are {len(rows)} rows"
            )
        return rows
    names = found(labels, (".npy",), "labels")
    parts = [_labels(name) for name in names]
    if len(names) != len(files):
        if len(names) > 1 or len(parts[0]) != len(rows):
            raise InputError(
                f"there are {len(files)} files of rows and {len(names)} of labels; give one for "
                "each, or one with all labels"
            )
    else:
        for array, part, file, name in zip(arrays, parts, files, names, strict=True):
            if len(array) != len(part):
                raise InputError(f"{file} has {len(array)} rows, and {name} {len(part)} labels")
    kinds = {part.dtype.kind in "US" for part in parts}
    if len(kinds) > 1:
        raise InputError("some files of labels hold words and others numbers; save all alike")
    rows.labels = np.concatenate(parts)
    return rows


def mapped(file: Path) -> NDArray[Any]:
    """Return the array in a file, of which only what is read will be in memory."""
    try:
        if file.stat().st_size == 0:
            raise ValueError("it is empty")
        array = np.lib.format.open_memmap(file, mode="r")
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from error
    except Exception as error:  # NumPy raises almost any type for a wrong header
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file} is not a whole .npy file ({reason})") from error
    return array


def _is_path(labels: Any) -> bool:
    one = labels[0] if isinstance(labels, list | tuple) and labels else labels
    return isinstance(one, str | Path)


def _labels(file: Path) -> NDArray[Any]:
    array = np.array(mapped(file))
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"{file} has shape {array.shape}; expected (n,), one label for each row")
    try:
        return read_labels(array, "y")
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
