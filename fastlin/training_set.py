"""The inputs of training, checked: an estimator's options, and rows with labels and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from fastlin.advice import CollectionWarning, warn
from fastlin.callbacks import progress_shower
from fastlin.kernels import Backend, get_backend
from fastlin.parameter_checks import check_parameters, require_callables
from fastlin.rows.containers import is_collection
from fastlin.rows.interface import Rows
from fastlin.rows.labels import classes_of
from fastlin.rows.parted import PartedRows
from fastlin.rows.validation import (
    check_rows_and_labels,
    check_validation_set,
    check_weights,
    class_weights_of,
    require_two_classes,
    split_validation_set,
)
from fastlin.solvers.progress import Callback

COUNTED = ("batch_size", "max_epochs", "patience", "checks_per_epoch", "n_threads")
MOST_COUNTED = 2**31 - 1
"""Larger counts are cut to this, which no number of rows, epochs or threads exceeds in practice."""


class Options:
    """An estimator's parameters as Python numbers: NumPy's small integers overflow in sums."""

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
        """Whether the solver is gradient descent rather than L-BFGS."""
        return bool(self.solver == "sgd")

    @property
    def may_centre(self) -> bool:
        """Whether the solver chooses its own step size and may also shift the features."""
        has_own_pace = not self.descends or self.learning_rate == "auto"
        # A free intercept absorbs any shift of the features without changing the objective.
        intercept_is_free = self.fit_intercept and not self.regularize_intercept
        return bool(has_own_pace and intercept_is_free)

    @property
    def all_callbacks(self) -> list[Callback]:
        """The callbacks, and the one that shows progress if ``verbose`` asks for it."""
        return [*(self.callbacks or ()), *([progress_shower()] if self.verbose else ())]

    def threads(self, backend: Backend) -> int:
        """Return how many threads a backend's kernels use."""
        return int(self.n_threads or backend.n_threads)

    @property
    def all_parameters(self) -> dict[str, Any]:
        """The parameters by their names."""
        return {name: getattr(self, name) for name in self._estimator.get_params(deep=False)}

    def seed(self) -> int:
        """Draw the seed of the rows' orders."""
        return int(check_random_state(self._estimator.random_state).randint(2**31 - 1))

    def generator(self, epochs: int = 0, seed: int | None = None) -> np.random.Generator:
        """Return the generator of the rows' orders; past ``epochs`` of a seed give others."""
        seed = self.seed() if seed is None else seed
        return np.random.default_rng([seed, epochs] if epochs else seed)


@dataclass(frozen=True)
class TrainingSet:
    """Rows that were checked, with their labels, weights and validation set.

    Attributes
    ----------
    rows : (n, d)
    labels : (n,)
        As the caller gave them.
    classes : (k,)
        All different labels, in sorted order.
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
    """Check all parameters of an estimator, and return the backend that it names."""
    check_parameters(estimator)
    require_callables(estimator.callbacks or ())
    return get_backend(estimator.backend)


def read(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    X_val: Any,
    y_val: Any,
    finite: bool = True,
) -> TrainingSet:
    """Check the arguments of ``fit``, and set the estimator's number and names of the features.

    Unless ``finite``, the rows of ``X`` may hold nan and infinity.
    """
    if is_collection(X):
        warn(
            "X is a Dask collection, and all its rows are brought into this process; "
            "fastlin.dask.LogisticRegression trains where they are",
            CollectionWarning,
        )
        X = X.compute()
    rows, labels = check_rows_and_labels(estimator, X, y, reset=True, finite=finite)
    weights = check_weights(rows, labels, sample_weight, estimator.class_weight)
    classes = classes_of(labels)
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
    """Split off a validation set; return the rest, and the indices of its rows."""
    rows: Rows
    val_rows: Rows
    if isinstance(data.rows, PartedRows):
        rows, part, val_rows, val_part = data.rows.divided(fraction, generator)
    else:
        part, val_part = split_validation_set(data.labels, fraction, generator, data.weights)
        rows, val_rows = data.rows.part(part), data.rows.part(val_part)
    weights = val_weights = data.weights
    if data.weights is not None:
        weights, val_weights = data.weights[part], data.weights[val_part]
    validation = val_rows, data.labels[val_part], val_weights
    return TrainingSet(rows, data.labels[part], data.classes, weights, validation), part
