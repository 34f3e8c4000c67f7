"""How an automatic rate ends: it falls to 0 in the last epochs if steps made the loss noisy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

COOLING_SHARE, COOLING_EPOCHS = 0.1, 4
"""Fraction of the epochs, and least number of epochs, over which the rate falls to 0 at the end.

The same number of preceding changes of the loss decides whether it is at rest.
"""


def cooling_epochs(n_epochs: int) -> int:
    """Return over how many epochs the rate falls to 0 at the end of ``n_epochs``."""
    return min(n_epochs, max(COOLING_EPOCHS, round(COOLING_SHARE * n_epochs)))


def cooling_factors(epochs: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
    """Return the factor of the rate at ``epochs``, from 1 at ``start`` to 0 at ``stop``."""
    return (stop - epochs) / (stop - start)


def at_rest(losses: Sequence[float] | NDArray[np.float64], n_changes: int) -> bool:
    """Whether the mean losses of the latest epochs fluctuate more than they fall.

    Steps of a constant rate stay above the optimum by a distance that the noise of their gradients
    maintains (Bottou, Curtis and Nocedal, "Optimization methods for large-scale machine learning",
    2018, theorem 4.6); there a smaller rate loses nothing. The loss is at rest if, over the last
    ``n_changes`` changes from epoch to epoch, it fell by at most half the sum of their magnitudes.
    """
    if len(losses) <= n_changes:
        return False
    changes = np.diff(losses[-n_changes - 1 :])
    return bool(-changes.sum() <= np.abs(changes).sum() / 2)
