"""What is passed to the estimator: checked, or refused in one line that says what to do."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from fastlin.data import sparse_rows
from fastlin.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray
    from sklearn.base import BaseEstimator

    from fastlin.kernels.arguments import Rows

ACCEPTED_TYPES = [np.float64, np.float32, np.uint8]
"""Types of rows that are read as they are; anything else becomes the first."""


@contextmanager
def input_errors() -> Iterator[None]:
    """Turn scikit-learn's ValueErrors into fastlin's, which remain ValueErrors, of one line."""
    try:
        yield
    except InputError:
        raise
    except ValueError as error:
        first, _, _ = str(error).partition("\n")
        # What follows a whole sentence is advice on other estimators.
        message = first if first.endswith(".") else " ".join(str(error).split())
        raise InputError(message) from error


def check_rows_and_labels(
    estimator: BaseEstimator, X: ArrayLike, y: ArrayLike, reset: bool
) -> tuple[Rows, NDArray[Any]]:
    """Return rows ``(n, d)`` and labels ``(n,)``; ``reset`` takes down the features' names."""
    rows, labels = validate_data(
        estimator,
        X,
        _without_nullable_type(y),
        reset=reset,
        dtype=_row_types(X),
        accept_sparse="csr",
    )
    try:
        if labels.size and isinstance(labels.flat[0], bytes):
            raise TypeError("bytes")  # scikit-learn before 1.7 only warns
        check_classification_targets(labels)
        np.unique(labels)
    except TypeError as error:
        kinds = ", ".join(sorted({type(label).__name__ for label in labels.tolist()}))
        raise InputError(
            f"y holds labels that cannot be sorted, of type {kinds}; convert them to strings or "
            "integers"
        ) from error
    return _rows(rows), labels


def check_rows(estimator: BaseEstimator, X: ArrayLike) -> Rows:
    """Return rows ``(n, d)`` whose features are those of the training."""
    checked = validate_data(estimator, X, reset=False, dtype=_row_types(X), accept_sparse="csr")
    return _rows(checked)


def _rows(checked: Any) -> Rows:
    rows: Rows = sparse_rows(checked) if issparse(checked) else checked
    return rows


def _row_types(X: Any) -> list[Any]:
    """Return the types in which rows are kept, first the one that others are converted to.

    The columns of a data frame keep the type that they share. Of pandas' frames of NumPy's own
    types scikit-learn takes care; this does so for nullable types and for Polars.
    """
    if hasattr(X, "collect_schema") and hasattr(X, "collect"):
        raise InputError("X is a LazyFrame, which holds no rows yet; pass X.collect()")
    if not (hasattr(X, "dtypes") and hasattr(X, "columns")):
        return ACCEPTED_TYPES
    if hasattr(X, "null_count"):  # Polars
        shared, missing = X.head(0).to_numpy().dtype, X.null_count()
    else:
        types = [getattr(dtype, "numpy_dtype", dtype) for dtype in X.dtypes]
        if not all(isinstance(dtype, np.dtype) for dtype in types):
            return ACCEPTED_TYPES
        shared, missing = np.result_type(*types, np.uint8), X.isna()
    # An 8-bit integer cannot say that a value is missing; what comes first here can.
    if shared not in ACCEPTED_TYPES or np.asarray(missing).any():
        return ACCEPTED_TYPES
    return [shared]


def _without_nullable_type(y: Any) -> Any:
    """Return labels of one of pandas' nullable types in NumPy's, where none is missing."""
    dtype = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
    if dtype is None or dtype.hasobject or y.isna().any():
        return y
    return y.to_numpy(dtype)


def check_weights(
    rows: Rows, labels: NDArray[Any], sample_weight: ArrayLike | None, class_weight: Any
) -> NDArray[np.float64] | None:
    """Return the weight of each row, ``(n,)``, that of its class included; None is 1 for all.

    ``"balanced"`` makes the weights of each class sum to the same, those of the rows included.
    """
    if sample_weight is None and class_weight is None:
        return None
    weights: NDArray[np.float64] = _check_sample_weight(
        sample_weight, rows, dtype=np.float64, ensure_non_negative=True
    )
    if class_weight == "balanced":
        classes, label_index = np.unique(labels, return_inverse=True)
        counts = np.bincount(label_index, weights)
        of_classes = np.divide(
            counts.sum() / len(classes), counts, out=np.zeros(len(classes)), where=counts > 0
        )
        weights = weights * of_classes[label_index]
    elif class_weight is not None:
        of_rows = compute_sample_weight(class_weight, labels)
        if not (np.isfinite(of_rows).all() and (of_rows >= 0).all()):
            raise InputError(
                f"class_weight={class_weight!r} needs finite weights that are not negative"
            )
        weights = weights * of_rows
    with np.errstate(over="ignore"):
        total = weights.sum()
    if not np.isfinite(total):
        raise InputError(
            f"sample_weight as large as {weights.max():.3g} overflow when summed up; divide them "
            "by their largest"
        )
    if not weights.any():
        raise InputError("sample_weight is zero for every row; at least one must be positive")
    return weights


def check_validation_set(
    estimator: BaseEstimator, X_val: ArrayLike | None, y_val: ArrayLike | None
) -> tuple[Rows, NDArray[Any]] | None:
    """Return rows ``(m, d)`` and labels ``(m,)``, or None where there are none."""
    if X_val is None and y_val is None:
        return None
    if X_val is None or y_val is None:
        missing = "X_val" if X_val is None else "y_val"
        raise InputError(f"{missing} is missing: pass both X_val and y_val, or neither")
    try:
        _require_same_columns(estimator, X_val)
        rows = check_rows(estimator, X_val)
        labels = column_or_1d(_without_nullable_type(y_val))
        check_consistent_length(rows, labels)
    except ValueError as error:
        raise ValueError(f"the validation set (X_val, y_val) is wrong: {error}") from error
    return rows, labels


def _require_same_columns(estimator: BaseEstimator, X_val: Any) -> None:
    """Raise where the columns of two data frames differ, or their order does."""
    names, columns = getattr(estimator, "feature_names_in_", None), getattr(X_val, "columns", None)
    if names is None or columns is None or list(columns) == list(names):
        return
    missing, unknown = set(names) - set(columns), set(columns) - set(names)
    if not missing and not unknown:
        raise InputError("its columns are those of X in another order; pass X_val[list(X.columns)]")
    said = [f"lacks column {min(missing)!r}"] if missing else []
    said += [f"has column {min(unknown, key=str)!r}, which X lacks"] if unknown else []
    raise InputError(f"X_val {' and '.join(said)}; pass X_val[list(X.columns)]")


def require_representable(rows: Rows, dtype: np.dtype[Any]) -> None:
    """Raise where the weights' type cannot hold a number of the validation rows."""
    values = rows if isinstance(rows, np.ndarray) else rows.values
    if values.dtype != np.float64 or dtype == np.float64 or not values.size:
        return
    largest = max(values.max(), -values.min())
    if largest > np.finfo(dtype).max:
        raise InputError(
            f"X_val holds {largest:.3g}, which {dtype}, the type of the weights, cannot hold; "
            "scale X and X_val, or pass dtype='float64'"
        )


def split_validation_set(
    labels: NDArray[Any],
    fraction: float,
    generator: np.random.Generator,
    weights: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the indices of training and validation rows, a fraction of each class for these."""
    from sklearn.model_selection import train_test_split

    seed = int(generator.integers(2**31))
    try:
        train_part, val_part = train_test_split(
            np.arange(len(labels)), test_size=fraction, random_state=seed, stratify=labels
        )
    except ValueError as error:
        raise InputError(
            f"early_stopping cannot split validation_fraction={fraction} off {len(labels)} rows "
            f"({error}); pass X_val and y_val, or set early_stopping=False"
        ) from error
    if weights is not None and not weights[train_part].any():
        raise InputError(
            f"early_stopping would split all rows of positive weight off with "
            f"validation_fraction={fraction}; pass X_val and y_val, or set early_stopping=False"
        )
    return train_part, val_part


def require_two_classes(classes: NDArray[Any], what: str = "y") -> None:
    """Raise where there is nothing to tell apart; ``what`` names where the labels came from."""
    if len(classes) < 2:
        raise InputError(
            f"{what} holds one class only ({', '.join(map(repr, classes.tolist()))}); a classifier "
            "needs at least two different labels"
        )


def require_same_model(
    classes: NDArray[Any], n_features: int, old_classes: NDArray[Any], old_n_features: int
) -> None:
    """Raise where a warm start's data do not fit the model that it starts from."""
    if not np.array_equal(old_classes, classes):
        raise InputError(
            f"warm_start=True with classes {classes.tolist()!r}, but the model was trained "
            f"on {old_classes.tolist()!r}; fit with warm_start=False first"
        )
    if old_n_features != n_features:
        raise InputError(
            f"warm_start=True with {n_features} features, but the model was trained on "
            f"{old_n_features}; fit with warm_start=False first"
        )


def require_callables(callbacks: Sequence[Any]) -> None:
    """Raise where something in ``callbacks`` cannot be called."""
    for index, callback in enumerate(callbacks):
        if not callable(callback):
            raise InputError(
                f"callbacks[{index}] is {callback!r}, which cannot be called; pass functions of a "
                "fastlin.train.Progress, and scikit-learn's callbacks to set_callbacks"
            )
