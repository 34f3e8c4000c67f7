"""Rows that need not fit in memory, as users hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.rows.parted import PartedRows


class StoredRows:
    """Rows that need not fit in memory, for the estimator's methods in place of an array.

    :func:`fastlin.open_rows` opens them. Labels, if the files had any, are in memory.

    Parameters
    ----------
    arrays : sequence of (n_i, d) arrays
        All of the same type: uint8, int8, float16, float32 or float64; they are read in place.
    names : sequence of str, optional
        Where each array comes from, for messages.
    labels : (n,) array, optional
    feature_names : sequence of str, optional
    close : callable, optional
        Releases what the arrays lie in; called by :meth:`close`.

    Attributes
    ----------
    labels : (n,) array or None
    feature_names : list of str or None

    Raises
    ------
    InputError
        There are no arrays, or they do not fit together.
    """

    ndim = 2

    def __init__(
        self,
        arrays: Sequence[NDArray[Any]] | PartedRows,
        names: Sequence[str] | None = None,
        *,
        labels: NDArray[Any] | None = None,
        feature_names: Sequence[str] | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        parts = arrays if isinstance(arrays, PartedRows) else PartedRows(arrays, names)
        self._parts: PartedRows | None = parts
        self.labels, self._close, self._shape = labels, close, parts.shape
        self.feature_names = None if feature_names is None else list(feature_names)
        if close is not None:  # views of the rows keep what they lie in
            parts._origin = close

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return parted(self).dtype

    def __len__(self) -> int:
        return self._shape[0]

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        """Return some rows as an array."""
        return parted(self).part(rows).to_array()

    def __enter__(self) -> StoredRows:
        """Return the rows, which are closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the rows."""
        self.close()

    def close(self) -> None:
        """Remove temporary files, if the rows lie in some; they cannot be read afterwards."""
        self._parts, close, self._close = None, self._close, None
        if close is not None:
            close()


def parted(rows: StoredRows) -> PartedRows:
    """Return the rows as the solvers read them.

    Raises
    ------
    InputError
        They have been closed.
    """
    if rows._parts is None:
        raise InputError("the rows have been closed; open them again")
    return rows._parts


def views(rows: StoredRows, size: int) -> Iterator[StoredRows]:
    """Iterate over the rows, ``size`` at a time, as rows of the same kind."""
    for _, block in parted(rows).blocks(size):
        yield StoredRows([block.to_array()], feature_names=rows.feature_names)


def divided(
    rows: StoredRows, fraction: float, generator: np.random.Generator
) -> tuple[StoredRows, StoredRows]:
    """Divide labelled rows into two lots, as :meth:`PartedRows.divided` does."""
    assert rows.labels is not None, "the caller has looked"
    first, of_first, second, of_second = parted(rows).divided(fraction, generator)
    names = rows.feature_names
    return (
        StoredRows(first, labels=rows.labels[of_first], feature_names=names),
        StoredRows(second, labels=rows.labels[of_second], feature_names=names),
    )
