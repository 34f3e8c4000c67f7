"""What a fit has seen and what to try: at most one warning of each kind for each fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.advice import NotConvergedWarning, OrderWarning, ScalingWarning, SeparableWarning, warn
from fastlin.results.history import History
from fastlin.rows.interface import Rows
from fastlin.rows.row_weights import counted_rows
from fastlin.solvers.cooling import at_rest, cooling_epochs
from fastlin.solvers.windows import Plan, unevenness

ORDERS_OF_MAGNITUDE = 3
"""Features need scaling if their ranges differ by more than this many powers of 10."""

ROWS_LOOKED_AT, VALUES_LOOKED_AT = 1000, 2**18
"""Most rows from which the ranges of the features are taken, and most values."""

MOST_UNEVEN = 0.15
"""Total variation distance of the classes from which on the order of stored rows gets a warning."""

SHARE_OF_LATER_HALF = 0.25
"""Training counts as unconverged if the second half of the epochs contributed more than this
fraction of the decrease of the loss."""


def look_at_features(rows: Rows, sample_weight: NDArray[np.float64] | None = None) -> None:
    """Warn if the ranges of the features of ``rows (n, d)`` differ by orders of magnitude.

    This looks at evenly spaced rows of positive weight. Features that are constant there do not
    count, nor does the narrowest tenth, which may be rare events in the unit of the others.
    """
    if rows.dtype.kind != "f":
        return
    counted = counted_rows(sample_weight)
    enough = min(ROWS_LOOKED_AT, int(VALUES_LOOKED_AT / max(1, rows.values_of_a_row)) + 1)
    if counted is None:  # a view, unlike the rows of an array of places
        some = rows.part(slice(None, None, -(-len(rows) // enough)))
    else:
        some = rows.part(counted[:: -(-len(counted) // enough)])
    ranges = some.ranges()
    ranges = ranges[(ranges > 0) & np.isfinite(ranges)]
    if len(ranges) < 2:
        return
    narrow, wide = np.quantile(ranges, 0.1, method="lower"), ranges.max()
    if wide > narrow * 10**ORDERS_OF_MAGNITUDE:
        warn(
            f"the ranges of the features differ by orders of magnitude, from {narrow:.3g} to "
            f"{wide:.3g}, so gradient descent is slow in the narrow ones; "
            + (
                "try input_scale='standard' or 'minmax'"
                if rows.can_be_shifted
                else "divide them by their largest values: input_scale=(0, scale)"
            ),
            ScalingWarning,
        )


def look_at_order(plan: Plan, labels: NDArray[np.int32], n_models: int) -> None:
    """Warn if the rows of a window, which are shuffled together, have other classes than all."""
    uneven = unevenness(plan, labels, max(2, n_models))
    if uneven > MOST_UNEVEN:
        warn(
            f"the rows lie in the order of their labels, or nearly: the classes of the rows that "
            f"are shuffled together differ by {100 * uneven:.0f} % from those of all rows, so "
            "training will be slower and noisier; write the files in a random order, or use "
            "solver='lbfgs'",
            OrderWarning,
        )


def look_at_descent(
    history: History, tol: float | None, patience: int, momentum: float = 0.0, scales: bool = True
) -> None:
    """Warn if the epochs ended before ``tol`` was met and the loss fell much in their second half.

    There is no warning if training was too short for ``tol``, or if the loss was at rest before the
    last epochs, in which a smaller rate may have lowered it. The advice names what was not tried:
    ``momentum`` is the value that was used, and ``scales`` tells whether scaling the features is
    still an option.
    """
    n_epochs = history.stopped_epoch + 1
    if not tol or history.stop_reason != "max_epochs" or n_epochs <= patience:
        return
    losses = history.train_loss.reshape(n_epochs, -1).mean(axis=1)
    n_last = cooling_epochs(n_epochs)
    if at_rest(losses[:-n_last], n_last):
        return
    half = n_epochs // 2
    fall, later_fall = history.train_loss[0] - losses[-1], losses[half - 1] - losses[-1]
    if later_fall > max(SHARE_OF_LATER_HALF * fall, tol * (n_epochs - half)):
        remedies = "momentum=0.9, " if momentum < 0.5 else ""
        remedies += "input_scale='standard', " if scales else ""
        warn(
            f"the loss was still falling after max_epochs={n_epochs}, from {losses[half - 1]:.4g} "
            f"to {losses[-1]:.4g} in the second half; try {remedies}a larger max_epochs, or "
            "solver='lbfgs'; tol=None says that this is enough",
            NotConvergedWarning,
        )


def how_to_scale(rows: Rows, dtype: np.dtype[Any], tried: bool = False) -> str:
    """Return how an error advises to scale such rows; ``tried`` if they are scaled already.

    ``dtype``, of the weights, may not hold the squares of the scales of huge features.
    """
    largest = np.max(rows.largest(), initial=0.0)
    if tried or not rows.can_be_shifted or largest > 0.5 / np.sqrt(float(np.finfo(dtype).tiny)):
        return "divide the features by their largest values"
    return "scale the features with input_scale='standard'"


def tell_of_separation(n_rows: int) -> None:
    """Warn that a model without a penalty predicts every row right.

    It separates the classes, and larger weights in the same direction always have a smaller loss
    (Albert and Anderson, "On the existence of maximum likelihood estimates in logistic regression
    models", 1984).
    """
    warn(
        f"the model is right about all {n_rows} rows, so with l2=0 larger weights are always "
        "better and training has no end; set l2=1e-4, or early_stopping=True",
        SeparableWarning,
    )
