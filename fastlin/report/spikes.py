"""What counts as a spike in a curve of validation accuracies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlin.report.wording import MINUS
from fastlin.results.history import History

WINDOW = 9  # checks; odd, so that each check sits in the middle of its window
STANDARD_ERRORS = 4.0

DEFINITION = (
    f"A check counts as a spike if its validation accuracy lies more than {STANDARD_ERRORS:g}"
    f" standard errors below a, the median of the {WINDOW} checks around it; the standard error of"
    f" a on m validation samples is the square root of a (1 {MINUS} a) / m. The checks of epoch 0,"
    " where the model still learns from nothing, do not count."
)


@dataclass(frozen=True)
class Spikes:
    """The spikes of one run.

    Attributes
    ----------
    check : (s,) int64
        Index of each spike among the run's checks.
    batch : (s,) int64
        Position within its epoch of the mini-batch right after which each was measured.
    depth : (s,) float64
        How far each lies below the median around it, as a fraction.
    """

    check: NDArray[np.int64]
    batch: NDArray[np.int64]
    depth: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.check)


def find_spikes(history: History, n_val: int) -> Spikes:
    """Find the spikes in the validation accuracies of a run that was checked on `n_val` rows."""
    accuracy = history.val_accuracy
    median = _running_median(accuracy)
    # An accuracy of 1 has no spread at all: a single sample is then the least that can count.
    standard_error = np.sqrt(median * (1.0 - median) / n_val)
    threshold = np.maximum(STANDARD_ERRORS * standard_error, 1.0 / n_val)
    depth = median - accuracy
    after_first_epoch = history.check_step >= history.steps_per_epoch
    check = np.flatnonzero((depth > threshold) & after_first_epoch)
    return Spikes(check, history.check_step[check] % history.steps_per_epoch, depth[check])


def _running_median(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of the `WINDOW` values around each of `values` (n,); fewer at either end."""
    padded = np.pad(values, WINDOW // 2, constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)
    return np.asarray(np.nanmedian(windows, axis=1), np.float64)
