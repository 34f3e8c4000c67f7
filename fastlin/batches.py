"""Which rows make which batch, and how many steps an epoch has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastlin.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Batches:
    """The plan of an epoch: ``n_rows`` rows in batches of ``batch_size``.

    Steps are counted over all epochs from 0. A check falls on every step that is a multiple of
    ``steps_per_epoch // checks_per_epoch`` (at least 1), the very first included.
    """

    n_rows: int
    batch_size: int
    drop_last: bool = False
    shuffle: bool = True
    checks_per_epoch: int = 1

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

    def order(self, generator: np.random.Generator) -> NDArray[np.int64]:
        """Return the rows of one epoch in the order in which they are used, ``(m,)``."""
        if self.shuffle:
            order = generator.permutation(self.n_rows)
        else:
            order = np.arange(self.n_rows, dtype=np.int64)
        if self.drop_last:
            order = order[: self.steps_per_epoch * self.batch_size]
        return order

    def runs(self, epoch: int, with_checks: bool) -> Iterator[tuple[int, int, bool]]:
        """Cut an epoch into runs of steps that end at a check or with the epoch.

        Yields
        ------
        first, stop : int
            Steps of the run within the epoch, ``stop`` excluded.
        check : bool
            Whether a check follows the run's last step.
        """
        first_of_epoch = epoch * self.steps_per_epoch
        first = 0
        while first < self.steps_per_epoch:
            if not with_checks:
                yield 0, self.steps_per_epoch, False
                return
            to_check = -(first_of_epoch + first) % self.check_interval + 1
            stop = min(first + to_check, self.steps_per_epoch)
            yield first, stop, stop - first == to_check
            first = stop
