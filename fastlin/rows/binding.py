"""Binds rows, labels, weights and scale to samples, which the kernels read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, listed
from fastlin.rows.interface import ROW_TYPES, WEIGHT_TYPES, Rows
from fastlin.rows.labels import locate
from fastlin.rows.samples import Samples
from fastlin.rows.scaling import InputScale


def weight_type(rows: Rows, option: str) -> np.dtype[Any]:
    """Return the type of the weights for these rows and ``dtype=option``."""
    return np.dtype(WEIGHT_TYPES[rows.dtype.name][0] if option == "auto" else option)


def encode_labels(y: NDArray[Any], classes: NDArray[Any], what: str = "y") -> NDArray[np.int32]:
    """Return the index of every label in the sorted ``classes``, ``(n,)``."""
    index, known = locate(y, classes)
    if not known.all():
        raise InputError(
            f"{what} holds labels that were not seen in training: "
            f"{listed(np.unique(y[~known]).tolist())}; expected {listed(classes.tolist(), 10)}; "
            "leave those rows out, or write labels as in training"
        )
    return index.astype(np.int32)


def make_samples(
    rows: Rows,
    labels: NDArray[np.int32],
    scale: InputScale,
    weights_dtype: np.dtype[Any],
    sample_weight: NDArray[np.float64] | None = None,
    of_counted: bool = False,
) -> Samples:
    """Bind rows ``(n, d)`` and labels ``(n,)`` for the kernels.

    ``sample_weight`` is divided by its mean, so that the mean of the weighted losses is the
    weighted mean of the losses; the mean is over all rows or, if ``of_counted``, over those of
    weight > 0. If the rows lie so far from zero that folding the shift would cost too many digits,
    they are shifted here, in a copy of the weights' type.
    """
    assert rows.dtype.name in ROW_TYPES, "the estimator validated it"
    if scale.has_shift and not rows.can_be_shifted:
        raise InputError(
            "sparse rows cannot be shifted, which would fill in their zeros, but the features have "
            "a shift, of input_scale or of dense rows that came before; pass "
            "input_scale=(0, scale), or dense rows, for example X.toarray()"
        )
    shift = scale.shift.astype(weights_dtype) if scale.has_shift else None
    if scale.loses_digits(rows, weights_dtype, sample_weight):
        rows, shift = scale.shifted(rows, weights_dtype), None
    mean = 1.0
    if sample_weight is not None:
        counted = sample_weight[sample_weight > 0] if of_counted else sample_weight
        mean = float(counted.mean())
        sample_weight = sample_weight / mean
    return Samples(rows.for_weights(weights_dtype), labels, sample_weight, shift, mean)
