"""Orders of rows that need not fit in memory: shuffled blocks, and shuffled rows within a window.

Reading single rows from all over a file would take a hundred times as long as reading the file. So
the blocks of each file are shuffled, some of them at a time make up a window, and the rows of a
window are shuffled (as in tf.data and WebDataset; Nguyen et al., "Why globally re-shuffle?
Revisiting data shuffling in large scale deep learning", 2022, compare such orders). If all rows fit
in one window, that is the same as shuffling all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.interface import Rows

BYTES_OF_A_BLOCK = 2**22
"""Bytes that are read from one place."""

BLOCKS_OF_A_WINDOW = 32

MOST_ROWS_OF_A_WINDOW = 2**20
"""Limit of the memory that the order of short rows takes."""

Block = tuple[int, int]
"""First row and stop."""


@dataclass(frozen=True)
class Plan:
    """Which rows may be in a batch together.

    Attributes
    ----------
    stretches : sequence of (first row, stop)
        Rows that lie in one file; a window has rows of several only if each has few.
    bytes_of_a_row : int
    """

    stretches: Sequence[Block]
    bytes_of_a_row: int

    @classmethod
    def of(cls, rows: Rows) -> Plan | None:
        """Return the plan for rows, or None if any of them may be in a batch together."""
        if rows.lie_in_memory:
            return None
        return cls(rows.stretches, rows.dtype.itemsize * rows.shape[1])

    @property
    def rows_of_a_block(self) -> int:
        """Rows that are read from one place."""
        most = MOST_ROWS_OF_A_WINDOW // BLOCKS_OF_A_WINDOW
        return max(1, min(BYTES_OF_A_BLOCK // max(1, self.bytes_of_a_row), most))

    @property
    def rows_of_a_window(self) -> int:
        """Most rows of a window."""
        return self.rows_of_a_block * BLOCKS_OF_A_WINDOW

    def windows(self, generator: np.random.Generator | None) -> Iterator[list[Block]]:
        """Iterate over the windows of an epoch, in a random order unless there is no generator."""
        size = self.rows_of_a_block
        windows: list[list[Block]] = []
        for first, stop in self.stretches:
            starts = np.arange(first, stop, size)
            if generator is not None:
                starts = generator.permutation(starts)
            blocks = [(int(start), min(int(start) + size, stop)) for start in starts]
            windows += [
                blocks[place : place + BLOCKS_OF_A_WINDOW]
                for place in range(0, len(blocks), BLOCKS_OF_A_WINDOW)
            ]
        order = np.arange(len(windows))
        if generator is not None:
            order = generator.permutation(order)
        yield from self._with_small_ones_joined([windows[place] for place in order])

    def _with_small_ones_joined(self, windows: list[list[Block]]) -> Iterator[list[Block]]:
        """Join windows of less than a block, which are read as copies."""
        joined: list[Block] = []
        for window in windows:
            if BLOCKS_OF_A_WINDOW * _n_rows(window) >= self.rows_of_a_window:
                if joined:
                    yield joined
                    joined = []
                yield window
                continue
            if _n_rows(joined) + _n_rows(window) > self.rows_of_a_window:
                yield joined
                joined = []
            joined += window
        if joined:
            yield joined


def batches_of(
    windows: Iterator[list[Block]],
    batch_size: int,
    generator: np.random.Generator | None,
    weight: NDArray[np.float64] | None = None,
    rows_kept: int = 0,
) -> Iterator[tuple[NDArray[np.int64], list[Block]]]:
    """Iterate over whole batches of rows, and the blocks of the window after them.

    All but the last are a multiple of ``batch_size`` long. The rows at the end of a window that
    make no whole batch form one with the first of the next window. If rows are shuffled, they wait
    until they are ``rows_kept``, since a few calls of a kernel cost less than one for each window.
    Rows of ``weight`` 0 are left out.
    """
    left = np.empty(0, np.int64)
    for window, after in _with_next(windows):
        rows = np.concatenate([np.arange(first, stop) for first, stop in window])
        if weight is not None:
            rows = rows[weight[rows] > 0]
        if generator is not None:
            rows = generator.permutation(rows)
        else:
            n_missing = -len(left) % batch_size
            left, rows = np.append(left, rows[:n_missing]), rows[n_missing:]
        enough = batch_size if generator is None else max(batch_size, rows_kept)
        if len(left) >= enough:
            n_whole = len(left) // batch_size * batch_size
            yield left[:n_whole], []
            left = left[n_whole:]
        n_whole = len(rows) // batch_size * batch_size
        if n_whole:
            yield rows[:n_whole], after
        left = np.append(left, rows[n_whole:])
    if len(left):
        yield left, []


def unevenness(plan: Plan, labels: NDArray[np.int32], n_classes: int) -> float:
    """Return how far the classes of a window are from those of all rows, from 0 to 1.

    It is the mean total variation distance over the windows of one epoch, less what random rows
    would have.
    """
    share = np.bincount(labels, minlength=n_classes) / len(labels)
    distance = expected = 0.0
    for window in plan.windows(np.random.default_rng(0)):
        counts = sum(np.bincount(labels[a:b], minlength=n_classes) for a, b in window)
        n = _n_rows(window)
        distance += n * float(np.abs(counts / n - share).sum()) / 2
        # Mean absolute deviation of a count among n random rows.
        expected += n * float(np.sqrt(share * (1 - share) / (n * np.pi / 2)).sum()) / 2
    return max(0.0, (distance - expected) / len(labels))


def _n_rows(blocks: list[Block]) -> int:
    return sum(stop - first for first, stop in blocks)


def _with_next(windows: Iterator[list[Block]]) -> Iterator[tuple[list[Block], list[Block]]]:
    """Iterate over windows, each with the one that follows it."""
    present = next(windows, None)
    while present is not None:
        after = next(windows, None)
        yield present, after or []
        present = after
