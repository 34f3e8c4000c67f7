"""How an automatic rate ends: falling to 0 in the last epochs, where steps made the loss noisy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

COOLING_SHARE, COOLING_EPOCHS = 0.1, 4
"""Share of the epochs in which the rate falls to 0 at the end, and the least number of them.

By as many changes of the loss before it is judged whether it is at rest.
"""


def cooling_epochs(n_epochs: int) -> int:
    """Return in how many epochs the rate falls to 0 at the end of ``n_epochs``."""
    return min(n_epochs, max(COOLING_EPOCHS, round(COOLING_SHARE * n_epochs)))


def cooling_factors(epochs: NDArray[np.float64], start: int, stop: int) -> NDArray[np.float64]:
    """Return the factor of the rate, from 1 to 0, after ``epochs`` that lie between the two."""
    return (stop - epochs) / (stop - start)


def at_rest(losses: Sequence[float] | NDArray[np.float64], n_changes: int) -> bool:
    """Whether the latest of the mean losses of a run's epochs go up and down more than they fall.

    Steps of a constant rate end at a height above the optimum that the noise of their gradients
    keeps up (Bottou, Curtis and Nocedal, "Optimization methods for large-scale machine learning",
    2018, theorem 4.6), and there a smaller rate loses nothing. At rest: of ``n_changes`` from one
    epoch to the next the sum is a fall by no more than half of what they are without their signs.
    """
    if len(losses) <= n_changes:
        return False
    changes = np.diff(losses[-n_changes - 1 :])
    return bool(-changes.sum() <= np.abs(changes).sum() / 2)
