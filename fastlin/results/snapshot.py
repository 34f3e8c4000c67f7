"""A run as plain arrays and numbers, from which it goes on with the same bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Arrays: TypeAlias = "Mapping[str, NDArray[Any] | Sequence[NDArray[Any]]]"


@dataclass(frozen=True)
class Snapshot:
    """A run between two steps or iterations.

    Attributes
    ----------
    arrays : mapping of str to array, or to a sequence of arrays that are to be joined
        Nobody writes into them any more.
    numbers : mapping
        Numbers, strings, None, and lists and dicts of them.
    model : tuple of arrays
        Weights ``(k, d)`` and intercept ``(k,)`` that the run would return if it ended now, for
        scaled inputs.
    """

    arrays: Arrays
    numbers: Mapping[str, Any]
    model: tuple[NDArray[Any], NDArray[Any]]


class Recorder(Protocol):
    """Where a run's snapshots go, and where one of an earlier process comes from.

    Attributes
    ----------
    found : tuple or None
        The arrays, joined, and the numbers of the snapshot from which the run goes on.
    """

    found: tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]] | None

    def take(self, snapshot: Snapshot) -> None:
        """Keep the latest snapshot, and write it if that is due."""

    def write(self) -> None:
        """Write the latest snapshot if it has not been written; an error is only a warning."""


@contextmanager
def written_at_the_end(recorder: Recorder | None) -> Iterator[None]:
    """Write the latest snapshot when the block ends, whether it succeeds or is interrupted."""
    try:
        yield
    finally:
        if recorder is not None:
            recorder.write()


def prefixed(prefix: str, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """Return those that are not None, their names after a prefix."""
    return {f"{prefix}{name}": array for name, array in arrays.items() if array is not None}


def without_prefix(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Undo :func:`prefixed`; the arrays may be written to."""
    start = len(prefix)
    return {
        name[start:]: np.array(array, order="C")
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
