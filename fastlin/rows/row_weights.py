"""Rows chosen by weight: a row of weight 2 counts as two rows, and one of weight 0 as none."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def counted_rows(sample_weight: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
    """Return the indices of the rows whose weight is not zero; None if that is all rows."""
    if sample_weight is None or sample_weight.all():
        return None
    return np.flatnonzero(sample_weight)


def evenly_by_weight(
    sample_weight: NDArray[np.float64], size: int, offset: float = 0.0
) -> NDArray[np.int64]:
    """Return the indices of at least ``size`` rows, evenly spaced along the sum of the weights.

    A row of weight 2 is drawn like two rows, and a row of weight 0 is never drawn. With equal
    weights the rows are those of ``rows[::step]``. ``offset``, in [0, 1), shifts all rows by a
    fraction of their distance.
    """
    counted = np.flatnonzero(sample_weight)
    weights = sample_weight[counted]
    if (weights == weights[0]).all():
        step = len(counted) // size
        return counted[int(offset * step) :: step]
    ends = np.cumsum(weights)
    marks = (np.arange(size) + offset) * (ends[-1] / size)
    chosen = np.searchsorted(ends, marks, side="right")
    chosen = np.minimum(chosen, len(counted) - 1)  # rounding may pass the end
    return np.asarray(counted[chosen])
