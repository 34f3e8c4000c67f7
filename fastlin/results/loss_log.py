"""The losses of a run's steps, in bounded memory: a long run keeps means over several steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_HELD = 2**18
"""Losses of finished epochs that a run keeps, 16 bytes each; a longer record is thinned."""


class LossLog:
    """Records the loss of every step.

    The losses of the present epoch are all kept. If earlier epochs have more than
    :data:`MOST_HELD`, neighbours are averaged, see :func:`thinned`.

    Attributes
    ----------
    steps_per_epoch : int
    """

    def __init__(self, steps_per_epoch: int) -> None:
        self.steps_per_epoch = steps_per_epoch
        self._epoch: list[NDArray[np.float64]] = []
        self._first = 0  # step of the epoch's first loss
        self._steps: list[NDArray[np.int64]] = []
        self._losses: list[NDArray[np.float64]] = []
        self._n_held, self._length = 0, 1

    def add(self, losses: NDArray[np.float64]) -> None:
        """Record the losses of the next steps, ``(s,)``."""
        self._epoch.append(losses)

    def of_epoch(self) -> NDArray[np.float64]:
        """Return the losses of the present epoch, or of the latest if none has begun since."""
        return _joined(self._epoch)

    def begin_epoch(self) -> None:
        """Move the losses of the epoch that has ended to those of earlier epochs."""
        losses = self.of_epoch()
        self._steps.append(np.arange(self._first, self._first + len(losses)))
        self._losses.append(losses)
        self._first, self._epoch = self._first + len(losses), []
        self._n_held += len(losses)
        if self._n_held > MOST_HELD:
            steps, means, self._length = self._thinned(*self._earlier(), MOST_HELD // 2)
            self._steps, self._losses, self._n_held = [steps], [means], len(steps)

    def all(self) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        """Return the last step of each run of steps, their mean losses, and the runs' length."""
        steps, losses = self._earlier()
        present = self.of_epoch()
        steps = np.append(steps, np.arange(self._first, self._first + len(present)))
        losses = np.append(losses, present)
        if self._length == 1:
            return steps, losses, 1
        return self._thinned(steps, losses, MOST_HELD)

    def to_plain(self) -> dict[str, Sequence[NDArray[Any]]]:
        """Return what a log continues from: lists of arrays, to be joined."""
        return {
            "steps": tuple(self._steps),
            "losses": tuple(self._losses),
            "epoch_losses": tuple(self._epoch),
        }

    def restore(self, plain: Mapping[str, NDArray[Any]]) -> None:
        """Continue from what :meth:`to_plain` returned, joined."""
        self._steps, self._losses = [plain["steps"]], [plain["losses"]]
        self._epoch, self._n_held = [plain["epoch_losses"]], len(plain["steps"])
        self._first = int(plain["steps"][-1]) + 1 if self._n_held else 0
        lengths = np.diff(plain["steps"], prepend=-1)
        self._length = int(lengths.max(initial=1))

    def _earlier(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        steps = np.concatenate(self._steps) if self._steps else np.empty(0, np.int64)
        return steps, _joined(self._losses)

    def _thinned(
        self, steps: NDArray[np.int64], losses: NDArray[np.float64], most: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
        return thinned(steps, losses, self.steps_per_epoch, most, self._length)


def _joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty(0)


def thinned(
    steps: NDArray[np.int64],
    losses: NDArray[np.float64],
    steps_per_epoch: int,
    most: int,
    least_length: int = 1,
) -> tuple[NDArray[np.int64], NDArray[np.float64], int]:
    """Return at most ``most`` means over runs of steps, of which ``steps`` are the last.

    All runs are equally long, but for the last of an epoch: a power of two within an epoch, or the
    steps of a power of two of epochs.

    Parameters
    ----------
    steps : (m,) int64
        Last step of each run so far; the first one begins at step 0.
    losses : (m,)
        Mean loss of each run.
    steps_per_epoch : int
    most : int
        At least 1.
    least_length : int
        Length of the longest run so far.

    Returns
    -------
    steps, losses : (l,)
    length : int
        Steps of a run.
    """
    per_epoch = max(1, steps_per_epoch)
    n_steps = int(steps[-1]) + 1 if len(steps) else 0
    n_epochs = -(-n_steps // per_epoch)
    length = 1
    while length < per_epoch and (
        length < least_length or n_epochs * -(-per_epoch // length) > most
    ):
        length *= 2
    if length >= per_epoch:
        length = per_epoch
        while length < least_length or -(-n_steps // length) > most:
            length *= 2
    if length == 1:
        return steps, losses, 1
    in_epoch = min(length, per_epoch)
    runs = steps // max(length, per_epoch) * -(-per_epoch // in_epoch)
    if length < per_epoch:
        runs += steps % per_epoch // length
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    lengths = np.diff(steps, prepend=-1)
    means = np.add.reduceat(losses * lengths, starts) / np.add.reduceat(lengths, starts)
    return steps[np.append(starts[1:], len(steps)) - 1], means, length
