"""Assigns rows to batches, and counts the steps of an epoch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.solvers.windows import Plan, batches_of

LONGEST_STEP = 2.0
"""Upper limit of the factor by which a block's weight lengthens steps; up to 2, a safe rate stays
stable."""


@dataclass(frozen=True)
class Batches:
    """The plan of an epoch: ``n_rows`` rows in batches of ``batch_size``.

    Steps are counted over all epochs from 0. A check falls on every step that is a multiple of
    ``steps_per_epoch // checks_per_epoch`` (at least 1), including the very first.

    A batch of ``full_batch`` rows, by default the size of the epoch's largest batch, makes a whole
    step; a smaller batch makes a proportionally smaller step, so that every row moves the model
    equally whichever batch it is in. ``row_weight`` is the mean weight of these rows relative to
    those of all calls. ``counted (n_rows,)`` are the rows that are used, by default the first
    ``n_rows``. ``plan`` says which rows may be in a batch together, if not all.
    After at most ``most_steps``, a run looks up: tells of its progress, and keeps a snapshot.
    """

    n_rows: int
    batch_size: int
    drop_last: bool = False
    shuffle: bool = True
    checks_per_epoch: int = 1
    full_batch: int | None = None
    row_weight: float = 1.0
    counted: NDArray[np.int64] | None = None
    plan: Plan | None = None
    most_steps: int = 2**62

    def __post_init__(self) -> None:
        if self.steps_per_epoch == 0:
            raise InputError(
                f"batch_size={self.batch_size} with drop_last=True leaves no whole batch of "
                f"{self.n_rows} training rows; lower batch_size or set drop_last=False"
            )

    @property
    def steps_per_epoch(self) -> int:
        """Number of steps of each epoch."""
        whole, rest = divmod(self.n_rows, self.batch_size)
        return whole if self.drop_last or rest == 0 else whole + 1

    @property
    def check_interval(self) -> int:
        """Number of steps from one check to the next."""
        return max(1, self.steps_per_epoch // self.checks_per_epoch)

    def windows(
        self, generator: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.int64], list[tuple[int, int]]]]:
        """Iterate over an epoch's row indices, in the order in which they are used.

        Yields
        ------
        order : (m,) int64
            A multiple of the batch size long, except the last one.
        blocks : list
            First rows and stops of what the next indices are among, if that can be known.
        """
        if self.plan is None:
            order, size = self.order(generator), self.most_steps * self.batch_size
            for first in range(0, len(order), size):
                yield order[first : first + size], []
            return
        shuffler, weight = generator if self.shuffle else None, None
        if self.counted is not None:
            weight = np.zeros(max(stop for _, stop in self.plan.stretches))
            weight[self.counted] = 1
        found = batches_of(
            self.plan.windows(shuffler),
            self.batch_size,
            shuffler,
            weight,
            self.plan.rows_of_a_block,
        )
        n_left = self.steps_per_epoch * self.batch_size
        for order, after in found:
            if n_left > 0:
                yield order[:n_left], after
            n_left -= len(order)

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the row indices of one epoch in the order in which they are used, ``(m,)``."""
        if self.shuffle:
            order = generator.permutation(self.n_rows)
        else:
            order = np.arange(self.n_rows, dtype=np.int64)
        if self.drop_last:
            order = order[: self.steps_per_epoch * self.batch_size]
        return order if self.counted is None else self.counted[order]

    def rows_of_steps(self, first: int, stop: int) -> NDArray[np.int64]:
        """Return the number of rows in each of some steps of an epoch, ``(stop - first,)``."""
        return np.minimum(
            self.batch_size, self.n_rows - np.arange(first, stop, dtype=np.int64) * self.batch_size
        )

    def shares(self, first: int, stop: int) -> NDArray[np.float64]:
        """Return each step's size as a fraction of a whole step, ``(stop - first,)``."""
        full_batch = self.full_batch or min(self.batch_size, self.n_rows)
        shares: NDArray[np.float64] = self.rows_of_steps(first, stop) / full_batch
        return np.minimum(self.row_weight * shares, LONGEST_STEP)

    def runs(
        self, epoch: int, with_checks: bool, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int, bool]]:
        """Split an epoch, or its steps ``first`` to ``end - 1``, into runs of steps.

        Each ends at a check, or with the last of these steps.

        Yields
        ------
        first, stop : int
            Steps of the run within the epoch, ``stop`` excluded.
        check : bool
            Whether a check follows the run's last step.
        """
        first_of_epoch = epoch * self.steps_per_epoch
        end = self.steps_per_epoch if end is None else end
        while first < end:
            if not with_checks:
                yield first, end, False
                return
            to_check = -(first_of_epoch + first) % self.check_interval + 1
            stop = min(first + to_check, end)
            yield first, stop, stop - first == to_check
            first = stop
