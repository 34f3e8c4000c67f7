"""Rows chosen by their weights: a row of weight 2 is as good as two, one of weight 0 is as none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def counted_rows(sample_weight: NDArray[np.float64] | None) -> NDArray[np.int64] | None:
    """Return the rows whose weight is not zero; None where that is all."""
    if sample_weight is None or sample_weight.all():
        return None
    return np.flatnonzero(sample_weight)


def evenly_by_weight(
    sample_weight: NDArray[np.float64], size: int, offset: float = 0.0
) -> NDArray[np.int64]:
    """Return ``size`` rows, or some more, evenly spaced where each is as long as its weight.

    A row of weight 2 is drawn as if it were there twice, one of weight 0 never, as if it were not.
    Rows of equal weight are as far apart as in ``rows[::step]``. ``offset`` in [0, 1) moves all by
    a part of their distance.
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
