"""The rows that a stream of blocks has brought so far, which scale the steps on its next block."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.solvers.schedules import StepSize

ROWS_MEASURED = 256
"""Rows after which an automatic rate is kept: a rate from a few rows may not fit the next ones."""

BATCHES_OF_A_WHOLE = 2
"""A block of at least this many batches represents all rows; else a batch is few of all rows."""


@dataclass(frozen=True)
class Seen:
    """Rows of earlier calls of ``fit`` and ``partial_fit``, without those of weight 0.

    Attributes
    ----------
    n_rows : int
    weight : float
        Sum of their weights.
    largest_block : int
        Largest number of rows in one call.
    epochs : int
        Number of row orders drawn, over all calls.
    rows_measured, batch_measured : int
        Number of rows on which the automatic rate was measured, and the batch size it is for.
    """

    n_rows: int = 0
    weight: float = 0.0
    largest_block: int = 0
    epochs: int = 0
    rows_measured: int = 0
    batch_measured: int = 0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Seen:
        """Undo :func:`dataclasses.asdict`; a missing field keeps the value of an unused model.

        Raises
        ------
        ValueError
            A value is not a number, or is negative.
        """
        values = {name: type(old)(content.get(name, old)) for name, old in vars(cls()).items()}
        if not all(0 <= value < np.inf for value in values.values()):
            raise ValueError(f"what was seen is {dict(content)!r}")
        return cls(**values)

    def with_block(self, n_rows: int, sample_weight: NDArray[np.float64] | None) -> Seen:
        """Return the record after one more block of ``n_rows`` rows with a positive weight."""
        weight = float(n_rows) if sample_weight is None else float(sample_weight.sum())
        return replace(
            self,
            n_rows=self.n_rows + n_rows,
            weight=self.weight + weight,
            largest_block=max(self.largest_block, n_rows),
        )

    def full_batch(self, batch_size: int) -> int:
        """Return how many rows make a full step."""
        return min(batch_size, self.largest_block)

    def row_weight(self, before: Seen) -> float:
        """Return the mean row weight of the latest block relative to that of all rows."""
        of_block = (self.weight - before.weight) / (self.n_rows - before.n_rows)
        return of_block / (self.weight / self.n_rows)

    def measured(
        self, known: StepSize | None, batch: int, n_rows: int, measure: Callable[[], StepSize]
    ) -> tuple[StepSize, Seen]:
        """Return the rate for a block of ``n_rows``, and the record after measuring it.

        A rate from few rows is measured again on the next ones. The curvatures are combined by
        their contraharmonic mean, as those of single rows are in ``safe_step_size``. If batches are
        at least twice as large as those that were measured, the old measurement is discarded.
        """
        outgrown = batch >= 2 * self.batch_measured
        if known is not None and self.rows_measured >= ROWS_MEASURED and not outgrown:
            return known, self
        now = measure()
        if known is None or outgrown:
            return now, replace(self, rows_measured=n_rows, batch_measured=batch)
        old_rows, old, new = self.rows_measured, 1 / known.learning_rate, 1 / now.learning_rate
        if now == known:  # the same rows again
            return known, replace(self, rows_measured=old_rows + n_rows)
        joined = (old_rows * old**2 + n_rows * new**2) / (old_rows * old + n_rows * new)
        gain = (old_rows * known.intercept_gain + n_rows * now.intercept_gain) / (old_rows + n_rows)
        return StepSize(1 / joined, gain), replace(self, rows_measured=old_rows + n_rows)
