"""Rows that need not fit in memory, opened from files, arrays, or a function that yields them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, shown
from fastlin.rows.labels import read_labels
from fastlin.rows.stored import StoredRows, parted
from fastlin.storage import npy, paths, spilling
from fastlin.storage.spilling import Said, to_log

__all__ = ["StoredRows", "open_rows"]

Source = str | os.PathLike[str] | Sequence[Any] | NDArray[Any] | Callable[[], Iterable[Any]]


def open_rows(
    source: Source,
    *,
    labels: Any = None,
    label: str | None = None,
    drop: Sequence[str] = (),
    spill: str | Path | None = None,
    said: Said = to_log,
    executor: Executor | None = None,
) -> StoredRows:
    """Open rows that need not fit in memory, for ``LogisticRegression``'s methods.

    Parameters
    ----------
    source : path, sequence, array or callable
        - A ``.npy`` file, or several: a list, a pattern such as ``"rows/*.npy"``, or a folder.
          They are mapped into memory and read in place. In a pattern and a folder numbers in the
          names count as numbers, so that ``part-10`` comes after ``part-9``.
        - Parquet files, likewise. They are read once and written to a temporary ``.npy`` file.
          A column holds numbers, or lists of one length.
        - Arrays, such as memory maps.
        - A function without arguments that returns an iterator of rows, or of pairs of rows and
          labels. It is called once, and what it yields is written to a temporary file.
    labels : path, sequence, array, optional
        Labels of ``.npy`` files, ``.npy`` too, one for each file of rows and in the same order; or
        an array of all labels.
    label : str, optional
        Column of Parquet files that holds the labels; all others are features.
    drop : sequence of str
        Columns of Parquet files that are neither features nor labels.
    spill : str or Path, optional
        Folder for a temporary file; by default ``FASTLIN_SPILL_DIR``, or else the user's cache
        folder.
    said : callable, optional
        Gets a line about the temporary file; by default it goes to the log ``fastlin``.
    executor : concurrent.futures.Executor, optional
        Runs each pass of ``solver="lbfgs"`` over the files, which its processes open by themselves;
        the result has the same bits.

    Returns
    -------
    StoredRows
        Rows with ``shape``, ``dtype``, ``labels`` and ``feature_names``. Use it in a ``with``
        block, or call ``close()``, to remove a temporary file; otherwise it is removed when nobody
        has the rows any more, and when the process ends.

    Raises
    ------
    InputError
        A file cannot be read, or its rows differ from those before; the message names it, and the
        row.

    Examples
    --------
    >>> import numpy as np
    >>> from fastlin import LogisticRegression, open_rows
    >>> rng = np.random.default_rng(0)
    >>> def read():
    ...     for _ in range(3):
    ...         X = rng.standard_normal((1000, 5), np.float32)
    ...         yield X, X[:, 0] > 0
    >>> with open_rows(read) as rows:
    ...     model = LogisticRegression(random_state=0).fit(rows, rows.labels)
    ...     bool(model.score(rows, rows.labels) > 0.95)
    True
    """
    rows = _opened(source, labels, label, drop, spill, said)
    if executor is not None:
        from fastlin.storage.pools import Pool

        parted(rows).executor = Pool(executor)
    return rows


def _opened(
    source: Source,
    labels: Any,
    label: str | None,
    drop: Sequence[str],
    spill: str | Path | None,
    said: Said,
) -> StoredRows:
    if callable(source):
        _refuse(labels=labels, label=label)
        return spilling.from_batches(source(), spill, said)
    if isinstance(source, np.ndarray):
        source = [source]
    arrays = [] if isinstance(source, str | os.PathLike) else list(source)
    if arrays and all(isinstance(array, np.ndarray) for array in arrays):
        _refuse(label=label)
        rows = StoredRows(arrays)
        rows.labels = None if labels is None else _labels(labels, len(rows))
        return rows
    files = paths.found(source, (".npy", ".parquet"))
    if files[0].suffix.lower() == ".parquet":
        _refuse(labels=labels)
        from fastlin.storage import parquet

        return parquet.open_files(files, label, drop, spill, said)
    _refuse(label=label)
    return npy.open_files(files, labels)


def _labels(given: Any, n_rows: int) -> NDArray[Any]:
    found = read_labels(given, "labels")
    if found.shape != (n_rows,):
        raise InputError(f"labels has shape {found.shape}, and there are {n_rows} rows")
    return found


def _refuse(**unused: Any) -> None:
    for name, value in unused.items():
        if value is not None:
            wants = "Parquet files" if name == "label" else ".npy files and arrays"
            raise InputError(f"{name}={shown(value)} is for {wants} only; leave it out here")
