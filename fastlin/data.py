"""Arrays from outside become :class:`~fastlin.kernels.Samples`: checked, copied if need be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.arguments import ROW_TYPES, WEIGHT_TYPES, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.scaling import InputScale


def weight_type(rows: NDArray[Any], option: str) -> np.dtype[Any]:
    """Return the type of the weights for these rows and ``dtype=option``."""
    return np.dtype(WEIGHT_TYPES[rows.dtype.name][0] if option == "auto" else option)


def kernel_rows(rows: NDArray[Any], weights_dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the rows as the kernels can read them for weights of that type.

    Rows that are contiguous, at any distance from one another, stay where they are; columns and a
    floating-point type other than that of the weights are copied.
    """
    if rows.size and rows.strides[1] != rows.itemsize:
        rows = np.ascontiguousarray(rows)
    if weights_dtype.name in WEIGHT_TYPES.get(rows.dtype.name, ()):
        return rows
    return rows.astype(weights_dtype)


def encode_labels(y: NDArray[Any], classes: NDArray[Any], what: str = "y") -> NDArray[np.int32]:
    """Return the index in the sorted ``classes`` of every label, ``(n,)``."""
    index = np.searchsorted(classes, y).clip(max=len(classes) - 1)
    unknown = classes[index] != y
    if unknown.any():
        seen = ", ".join(repr(v) for v in np.unique(y[unknown])[:5].tolist())
        known = ", ".join(repr(v) for v in classes[:10].tolist())
        raise InputError(
            f"{what} holds labels that were not seen in training: {seen}; expected {known}"
            + (", ..." if len(classes) > 10 else "")
        )
    return index.astype(np.int32)


def make_samples(
    rows: NDArray[Any],
    labels: NDArray[np.int32],
    scale: InputScale,
    weights_dtype: np.dtype[Any],
    sample_weight: NDArray[np.float64] | None = None,
) -> Samples:
    """Bind rows ``(n, d)`` and labels ``(n,)`` for the kernels.

    ``sample_weight`` is divided by its mean, so that the mean of the weighted losses is the
    weighted mean of the losses.
    """
    assert rows.dtype.name in ROW_TYPES, "the estimator validated it"
    if sample_weight is not None:
        sample_weight = sample_weight / sample_weight.mean()
    return Samples(
        rows=kernel_rows(rows, weights_dtype),
        labels=labels,
        sample_weight=sample_weight,
        shift=scale.shift.astype(weights_dtype) if scale.has_shift else None,
    )
