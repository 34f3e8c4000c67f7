"""What training is given: an estimator's options, and rows with all that goes with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import check_random_state

from fastlin.callbacks import print_epoch
from fastlin.kernels import Backend, get_backend
from fastlin.rows.validation import (
    check_parameters,
    check_rows_and_labels,
    check_validation_set,
    check_weights,
    class_weights_of,
    require_callables,
    require_two_classes,
    split_validation_set,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.rows.interface import Rows
    from fastlin.solvers.progress import Callback

COUNTED = ("batch_size", "max_epochs", "patience", "checks_per_epoch", "n_threads")
MOST_COUNTED = 2**31 - 1
"""More rows, epochs, checks or threads there never are, and the kernels count in 64 bits."""


class Options:
    """An estimator's parameters, numbers as Python's own: NumPy's small ones overflow in sums."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._estimator, name)
        if name in COUNTED and value is not None:
            return min(int(value), MOST_COUNTED)
        if isinstance(value, bool | np.bool_):
            return bool(value)
        try:
            return float(value) if isinstance(value, Real) else value
        except OverflowError:  # an integer beyond any float
            return math.inf

    @property
    def descends(self) -> bool:
        """Whether gradient descent trains, and not L-BFGS."""
        return bool(self.solver == "sgd")

    @property
    def may_centre(self) -> bool:
        """Whether a solver may choose the features' origin, as well as its own pace."""
        has_own_pace = not self.descends or self.learning_rate == "auto"
        # Which can take up any shift of the features at no cost.
        intercept_is_free = self.fit_intercept and not self.regularize_intercept
        return bool(has_own_pace and intercept_is_free)

    @property
    def all_callbacks(self) -> list[Callback]:
        """The callbacks, with the one that ``verbose`` asks for."""
        return [*(self.callbacks or ()), *([print_epoch] if self.verbose else ())]

    def threads(self, backend: Backend) -> int:
        """Return how many threads a backend's kernels are to use."""
        return int(self.n_threads or backend.n_threads)

    def generator(self, epochs: int = 0) -> np.random.Generator:
        """Return what draws the orders of rows; after some ``epochs`` of a seed, others."""
        seed = check_random_state(self._estimator.random_state).randint(2**31 - 1)
        return np.random.default_rng([seed, epochs] if epochs else seed)


@dataclass(frozen=True)
class TrainingSet:
    """Rows that were checked, with all that goes with them.

    Attributes
    ----------
    rows : (n, d)
    labels : (n,)
        As they were given.
    classes : (k,)
        All labels there are, in sorted order.
    weights : (n,) float64 or None
        Factor of each row's loss.
    validation : tuple or None
        Rows, labels and weights of a validation set.
    """

    rows: Rows
    labels: NDArray[Any]
    classes: NDArray[Any]
    weights: NDArray[np.float64] | None = None
    validation: tuple[Rows, NDArray[Any], NDArray[np.float64] | None] | None = None


def check_options(estimator: Any) -> Backend:
    """Return the backend that an estimator names, once all its parameters were checked."""
    check_parameters(estimator)
    require_callables(estimator.callbacks or ())
    return get_backend(estimator.backend)


def read(estimator: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any) -> TrainingSet:
    """Check what ``fit`` was given; the estimator learns the number and names of the features."""
    rows, labels = check_rows_and_labels(estimator, X, y, reset=True)
    weights = check_weights(rows, labels, sample_weight, estimator.class_weight)
    classes = np.unique(labels)
    require_two_classes(classes)
    validation = check_validation_set(estimator, X_val, y_val)
    if validation is None:
        return TrainingSet(rows, labels, classes, weights)
    val_weights = class_weights_of(
        validation[1], estimator.class_weight, labels, weights, sample_weight
    )
    return TrainingSet(rows, labels, classes, weights, (*validation, val_weights))


def split(
    data: TrainingSet, fraction: float, generator: np.random.Generator
) -> tuple[TrainingSet, NDArray[np.int64]]:
    """Split a validation set off; return what is left, and which rows these are."""
    part, val_part = split_validation_set(data.labels, fraction, generator, data.weights)
    weights = val_weights = data.weights
    if data.weights is not None:
        weights, val_weights = data.weights[part], data.weights[val_part]
    validation = data.rows.part(val_part), data.labels[val_part], val_weights
    rows, labels = data.rows.part(part), data.labels[part]
    return TrainingSet(rows, labels, data.classes, weights, validation), part
