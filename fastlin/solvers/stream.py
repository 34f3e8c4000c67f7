"""What a stream of blocks has brought so far, by which the steps on its next block are measured."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.solvers.schedules import StepSize

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

ROWS_MEASURED = 256
"""After so many rows an automatic rate is kept: a rate of a few rows may not fit the next."""

BATCHES_OF_A_WHOLE = 2
"""A block of so many batches tells what all rows are; of fewer, a batch is few of all rows."""


@dataclass(frozen=True)
class Seen:
    """Rows of earlier calls of ``fit`` and ``partial_fit``; those of weight 0 do not count.

    Attributes
    ----------
    n_rows : int
    weight : float
        The sum of their weights.
    largest_block : int
        Most rows of one call.
    epochs : int
        Orders of rows that were drawn, over all calls.
    rows_measured, batch_measured : int
        By how many rows the automatic rate was measured, and for what size of batch.
    """

    n_rows: int = 0
    weight: float = 0.0
    largest_block: int = 0
    epochs: int = 0
    rows_measured: int = 0
    batch_measured: int = 0

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Seen:
        """Undo :func:`dataclasses.asdict`; what is missing is as if nothing had been seen.

        Raises
        ------
        ValueError
            A value is no number, or negative.
        """
        values = {name: type(old)(content.get(name, old)) for name, old in vars(cls()).items()}
        if not all(0 <= value < np.inf for value in values.values()):
            raise ValueError(f"what was seen is {dict(content)!r}")
        return cls(**values)

    def with_block(self, n_rows: int, sample_weight: NDArray[np.float64] | None) -> Seen:
        """Return what has been seen with one more block of ``n_rows`` rows that count."""
        weight = float(n_rows) if sample_weight is None else float(sample_weight.sum())
        return replace(
            self,
            n_rows=self.n_rows + n_rows,
            weight=self.weight + weight,
            largest_block=max(self.largest_block, n_rows),
        )

    def full_batch(self, batch_size: int) -> int:
        """Return how many rows make a whole step."""
        return min(batch_size, self.largest_block)

    def row_weight(self, before: Seen) -> float:
        """Return the mean weight of the latest block's rows in units of that of all rows."""
        of_block = (self.weight - before.weight) / (self.n_rows - before.n_rows)
        return of_block / (self.weight / self.n_rows)

    def measured(
        self, known: StepSize | None, batch: int, n_rows: int, measure: Callable[[], StepSize]
    ) -> tuple[StepSize, Seen]:
        """Return the rate to take for a block of ``n_rows``, and what has been seen then.

        The rate of few rows is measured again on the next ones. The curvatures are joined by their
        contraharmonic mean, as those of single rows are in ``safe_step_size``. Where batches are
        twice as large as those that were measured, or more, the old measure does not count.
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
