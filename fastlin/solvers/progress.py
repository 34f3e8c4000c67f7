"""What callbacks are told about a run, and what their answers mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Progress:
    """What a callback is told after every check and at the end of every epoch.

    Attributes
    ----------
    epoch, max_epochs : int
        Current epoch, counted from 0, and the maximum number of epochs.
    step : int
        Latest step, counted over all epochs from 0.
    end_of_epoch : bool
        Whether this step ends the epoch.
    train_loss : float
        Mean loss over the rows of the epoch's steps so far, in nats.
    val_loss, val_accuracy, train_accuracy : float or None
        The results of the latest check; None before the first one.
    rows_per_second : float
        Speed of the epoch's steps so far.
    share_of_epoch : float
        Fraction of the epoch's steps that are done; 1 with L-BFGS.
    seconds : float
        Wall-clock time since the run began, that of earlier processes included.
    most_seconds_left : float
        Time that the rest would take at this pace if no epoch is saved.
    objective : float or None
        Mean loss plus penalty; with L-BFGS only.
    gap : float or None
        How far the objective was above its optimum before this iteration, by an estimate or, if it
        is smaller, a certificate's bound; with L-BFGS only.
    """

    epoch: int
    max_epochs: int
    step: int
    end_of_epoch: bool
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    train_accuracy: float | None
    rows_per_second: float
    share_of_epoch: float = 1.0
    seconds: float = 0.0
    most_seconds_left: float = 0.0
    objective: float | None = None
    gap: float | None = None


Callback = Callable[[Progress], "bool | None"]


def asks_to_stop(answer: Any) -> bool:
    """Whether a callback's answer is True, Python's or NumPy's.

    Other values do not count, because many functions return something by accident.
    """
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer[()]
    return isinstance(answer, bool | np.bool_) and bool(answer)
