"""Checks rows, labels and weights; an error says in one line what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import (
    _check_sample_weight,
    validate_data,
)

from fastlin.advice import ClassWeightWarning, warn
from fastlin.errors import InputError, listed, shown
from fastlin.rows.containers import column_names, explain, numbers, plain, require_rows, row_type
from fastlin.rows.conversion import as_rows
from fastlin.rows.finite import is_half, require_finite
from fastlin.rows.interface import ROW_TYPES, Rows
from fastlin.rows.labels import (
    locate,
    read_labels,
    require_one_a_row,
    require_whole,
    weights_of_classes,
)
from fastlin.rows.passes import FLOAT64, passes
from fastlin.rows.row_weights import counted_rows
from fastlin.rows.samples import Samples
from fastlin.rows.stored import StoredRows, parted

USED_AS_THEY_ARE = tuple(map(np.dtype, ROW_TYPES))


class Sparse(Protocol):
    """A sparse matrix or array of SciPy's, whose types need not be installed."""

    def tocsr(self) -> Any:
        """Return it in CSR."""


RowsLike: TypeAlias = ArrayLike | Sparse | StoredRows
"""What may be given as rows: what NumPy can read, data frames, sparse rows and stored ones."""


def check_rows_and_labels(
    estimator: BaseEstimator, X: RowsLike, y: ArrayLike, reset: bool, finite: bool = True
) -> tuple[Rows, NDArray[Any]]:
    """Return rows ``(n, d)`` and labels ``(n,)``; ``reset`` records the features' names.

    ``finite``: see :func:`check_rows`.
    """
    if y is None and isinstance(X, StoredRows):
        y = X.labels
    labels = read_labels(y)
    require_one_a_row(labels)
    require_whole(labels)
    if isinstance(X, StoredRows):
        require_one_a_row(labels, "y", len(X))
        return _check_stored(estimator, X, "X", reset, finite), labels.ravel()
    with _reading_rows(X, "X") as (rows, dtype):
        require_one_a_row(labels, "y", rows.shape[0])
        checked, labels = validate_data(
            estimator,
            rows,
            labels,
            reset=reset,
            dtype=[dtype],
            accept_sparse="csr",
            ensure_all_finite=finite and dtype != np.float16,
        )
        if finite and is_half(checked):
            require_finite(checked, "X")
    return as_rows(checked), labels


def check_rows(estimator: BaseEstimator, X: RowsLike, what: str = "X", finite: bool = True) -> Rows:
    """Return rows ``(n, d)``, whose features must be those of the training.

    Unless ``finite``, they may hold nan and infinity: to look for them reads all rows once.
    """
    if isinstance(X, StoredRows):
        return _check_stored(estimator, X, what, False, finite)
    if not finite and _needs_no_check(estimator, X):
        return as_rows(X)
    with _reading_rows(X, what) as (rows, dtype):
        checked = validate_data(
            estimator,
            rows,
            reset=False,
            dtype=[dtype],
            accept_sparse="csr",
            ensure_all_finite=finite and dtype != np.float16,
        )
        if finite and is_half(checked):
            require_finite(checked, "X")
    return as_rows(checked)


def _check_stored(
    estimator: BaseEstimator, stored: StoredRows, what: str, reset: bool, finite: bool
) -> Rows:
    """Check stored rows, a block at a time, and the names of their features."""
    rows, names, n_features = parted(stored), stored.feature_names, stored.shape[1]
    if len(rows) == 0:
        raise InputError(f"{what} has no rows; open files that hold some")
    if reset:
        estimator.n_features_in_ = n_features
        vars(estimator).pop("feature_names_in_", None)
        if names is not None:
            estimator.feature_names_in_ = np.array(names, dtype=object)
    expected = getattr(estimator, "feature_names_in_", None)
    if n_features != estimator.n_features_in_:
        raise InputError(
            f"{what} has {n_features} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input"
        )
    if names is not None and expected is not None and names != list(expected):
        first = next(place for place in range(n_features) if names[place] != expected[place])
        raise InputError(
            f"feature {first} of {what} is {shown(names[first])}, and was "
            f"{shown(expected[first])} in training; give the columns in the same order"
        )
    if not finite or rows.dtype.kind != "f":
        return rows
    for place, block in rows.pieces():
        bad = ~np.isfinite(block.to_array())
        if bad.any():
            row, column = np.argwhere(bad)[0]
            name = column if names is None else repr(names[column])
            value = block.to_array()[row, column]
            raise InputError(
                f"Input {what} contains {'NaN' if np.isnan(value) else 'infinity'}, the first in "
                f"{rows.name_of(place.start + int(row))} (counted from 0), column {name}; leave "
                "that row out, or fill the value in"
            )
    return rows


def _needs_no_check(estimator: BaseEstimator, X: Any) -> bool:
    """Whether rows are what checking would make of them, in less time than a row is predicted."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype in USED_AS_THEY_ARE
        and len(X) > 0
        and X.shape[1] == getattr(estimator, "n_features_in_", None)
        and not hasattr(estimator, "feature_names_in_")
    )


@contextmanager
def _reading_rows(X: Any, what: str) -> Iterator[tuple[Any, np.dtype[Any]]]:
    """Yield rows that scikit-learn can check, and their type; explain what is wrong with them."""
    rows = X
    try:
        rows = plain(X, what)
        if isinstance(rows, list | tuple):
            rows = np.asarray(rows)
        require_rows(rows, what)
        dtype = row_type(rows, what)
        # Values beyond float64 become infinite, and are refused; a sum of huge ones may be nan.
        with np.errstate(over="ignore", invalid="ignore"):
            yield rows, dtype
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise explain(rows, what, error) from error


def check_weights(
    rows: Rows,
    labels: NDArray[Any],
    sample_weight: ArrayLike | None,
    class_weight: Any,
    classes: NDArray[Any] | None = None,
    may_be_zero: bool = False,
) -> NDArray[np.float64] | None:
    """Return the weight of each row times that of its class, ``(n,)``; None is 1 for all.

    ``classes`` are all possible ones; None means that other rows may have others. At least one
    weight must be positive unless all ``may_be_zero``. ``"balanced"`` makes the resulting weights
    of each class add up to the same sum.
    """
    if sample_weight is None and class_weight is None:
        return None
    if sample_weight is not None:
        sample_weight = numbers(sample_weight, "sample_weight")
        if may_be_zero and sample_weight.shape == (len(rows),) and not sample_weight.any():
            return np.zeros(len(rows))  # scikit-learn refuses them from 1.9 on
        sample_weight = sample_weight if sample_weight.ndim else float(sample_weight)
    weights: NDArray[np.float64] = _check_sample_weight(
        sample_weight, labels, dtype=np.float64, ensure_non_negative=True
    )
    if class_weight is not None:
        of_all = np.unique(labels) if classes is None or class_weight == "balanced" else classes
        index = locate(labels, of_all)[0]
        factors = class_factors(index, weights, class_weight, of_all, classes is not None)
        weights = weights * factors[index]
    require_some_weight(weights, may_be_zero)
    return weights


def class_factors(
    index: NDArray[np.integer[Any]],
    weights: NDArray[np.float64],
    class_weight: Any,
    classes: NDArray[Any],
    complete: bool = False,
) -> NDArray[np.float64]:
    """Return the factor of each of the ``classes (k,)`` in the rows' weights, ``(k,)``.

    ``index (n,)`` is the place of each row's label among the classes, and ``weights (n,)`` are the
    rows' own. ``complete``: whether no other rows have other classes.
    """
    if class_weight == "balanced":
        counts = np.bincount(index, weights, minlength=len(classes))
        balanced: NDArray[np.float64] = np.divide(
            counts.sum() / len(classes), counts, out=np.zeros(len(classes)), where=counts > 0
        )
        return balanced
    factors, foreign = weights_of_classes(class_weight, classes, complete)
    if foreign:
        warn(
            f"class_weight names {listed(foreign)}, but the labels of these rows are "
            f"{listed(classes.tolist())}; if a label is misspelled, write it as y does",
            ClassWeightWarning,
        )
    return factors


def require_some_weight(weights: NDArray[np.float64], may_be_zero: bool = False) -> None:
    """Raise if the weights cannot be summed up, or are all zero unless they ``may_be_zero``."""
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise InputError(
            f"sample_weight as large as {weights.max():.3g} overflow when summed up; divide them "
            "by their largest"
        )
    if not (may_be_zero or weights.any()):
        raise InputError("sample_weight is zero for every row; at least one must be positive")


def labels_and_weights(
    y: ArrayLike, n_rows: int, sample_weight: ArrayLike | None
) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Return labels ``(n,)`` to compare with, and their weights, one for each of ``n_rows``."""
    labels = read_labels(y)
    require_one_a_row(labels, "y", n_rows)
    if sample_weight is None:
        return labels.ravel(), None
    weights = numbers(sample_weight, "sample_weight")
    if weights.shape != (n_rows,) or not weights.sum() > 0:
        raise InputError(
            f"sample_weight has shape {weights.shape} and sum {weights.sum():g}; pass one weight "
            f"for each of the {n_rows} rows, with a positive sum"
        )
    return labels.ravel(), weights


def class_weights_of(
    labels: NDArray[Any],
    option: Any,
    training_labels: NDArray[Any],
    training_weights: NDArray[np.float64] | None,
    sample_weight: ArrayLike | None,
) -> NDArray[np.float64] | None:
    """Return the weight of each validation row by its class, ``(m,)``; None is 1 for all.

    ``"balanced"`` weights are those of the training rows, whose ``training_weights`` include them
    and whose ``sample_weight`` do not.
    """
    if option is None:
        return None
    classes, of_classes = validation_factors(
        option, training_labels, training_weights, sample_weight
    )
    weights = of_classes[locate(labels, classes)[0]]
    require_weighted_validation(weights)
    return np.asarray(weights)


def validation_factors(
    option: Any,
    training_labels: NDArray[Any],
    training_weights: NDArray[np.float64] | None,
    sample_weight: ArrayLike | None,
) -> tuple[NDArray[Any], NDArray[np.float64]]:
    """Return the classes and the factor of each in the weights of validation rows, ``(k,)``."""
    classes, index = np.unique(training_labels, return_inverse=True)
    if isinstance(option, str):
        assert training_weights is not None
        own = np.ones(1) if sample_weight is None else numbers(sample_weight, "sample_weight")
        own = np.broadcast_to(own, training_weights.shape)
        by_class = np.divide(training_weights, own, out=np.zeros(len(own)), where=own > 0)
        of_classes = np.zeros(len(classes))
        np.maximum.at(of_classes, index, by_class)
    else:
        of_classes, _ = weights_of_classes(option, classes, False)
    return classes, of_classes


def require_weighted_validation(weights: NDArray[np.float64]) -> None:
    """Raise if no validation row has weight."""
    if not weights.any():
        raise InputError(
            "y_val holds only classes that have weight 0 by class_weight; pass a validation set "
            "with rows of the other classes too"
        )


def check_validation_set(
    estimator: BaseEstimator, X_val: RowsLike | None, y_val: ArrayLike | None
) -> tuple[Rows, NDArray[Any]] | None:
    """Return rows ``(m, d)`` and labels ``(m,)``, or None if there are none."""
    if X_val is None and y_val is None:
        return None
    if X_val is None or y_val is None:
        missing = "X_val" if X_val is None else "y_val"
        raise InputError(f"{missing} is missing: pass both X_val and y_val, or neither")
    try:
        _require_same_columns(estimator, X_val)
        rows = check_rows(estimator, X_val, "X_val")
        labels = read_labels(y_val, "y_val")
        require_one_a_row(labels, "y_val", len(rows))
        labels = labels.ravel()
    except ValueError as error:
        raise InputError(f"the validation set (X_val, y_val) is wrong: {error}") from error
    return rows, labels


def _require_same_columns(estimator: BaseEstimator, X_val: Any) -> None:
    """Raise if the columns of two data frames, or their order, differ."""
    names, columns = getattr(estimator, "feature_names_in_", None), column_names(X_val)
    if names is None or columns is None or columns == list(names):
        return
    missing, unknown = set(names) - set(columns), set(columns) - set(names)
    if not missing and not unknown:
        raise InputError("its columns are those of X in another order; pass X_val[list(X.columns)]")
    said = [f"lacks column {min(missing)!r}"] if missing else []
    said += [f"has column {min(unknown, key=str)!r}, which X lacks"] if unknown else []
    raise InputError(f"X_val {' and '.join(said)}; pass X_val[list(X.columns)]")


def require_representable(rows: Rows, dtype: np.dtype[Any]) -> None:
    """Raise if the weights' type cannot hold a value of the validation rows."""
    if rows.dtype != np.float64 or dtype == np.float64 or not len(rows):
        return
    largest = max(passes(Samples(rows), FLOAT64, as_stored=True).map(largest_of))
    if largest > np.finfo(dtype).max:
        raise InputError(
            f"X_val holds {largest:.3g}, which {dtype}, the type of the weights, cannot hold; "
            "scale X and X_val, or pass dtype='float64'"
        )


def largest_of(block: Samples) -> float:
    """Return the largest absolute value of one block: a step."""
    return float(max((part.largest().max(initial=0.0) for _, part in block.rows.pieces())))


def split_validation_set(
    labels: NDArray[Any],
    fraction: float,
    generator: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of training and validation rows; these are a fraction of each class.

    Rows of weight 0 are in neither.
    """
    from sklearn.model_selection import train_test_split

    seed = int(generator.integers(2**31))
    counted = counted_rows(weights)
    rows = np.arange(len(labels)) if counted is None else counted
    try:
        train_part, val_part = train_test_split(
            rows, test_size=fraction, random_state=seed, stratify=labels[rows]
        )
    except ValueError as error:
        which = "rows" if counted is None else "rows, which are all rows of positive weight"
        raise InputError(
            f"early_stopping cannot split validation_fraction={fraction} off {len(rows)} {which} "
            f"({error}); pass X_val and y_val, or set early_stopping=False"
        ) from error
    return train_part, val_part


def require_two_classes(classes: NDArray[Any], what: str = "y") -> None:
    """Raise if there are fewer than two classes; ``what`` names the labels' origin."""
    if len(classes) < 2:
        raise InputError(
            f"{what} holds one class only ({listed(classes.tolist())}); a classifier "
            "needs at least two different labels"
        )


def require_same_model(
    classes: NDArray[Any], n_features: int, old_classes: NDArray[Any], old_n_features: int
) -> None:
    """Raise if a warm start's data do not match the model from which it starts."""
    if not np.array_equal(old_classes, classes):
        raise InputError(
            f"warm_start=True with classes {shown(classes.tolist())}, but the model was trained "
            f"on {shown(old_classes.tolist())}; fit with warm_start=False first"
        )
    if old_n_features != n_features:
        raise InputError(
            f"warm_start=True with {n_features} features, but the model was trained on "
            f"{old_n_features}; fit with warm_start=False first"
        )
