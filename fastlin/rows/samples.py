"""Rows with their labels, weights and shift, as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, listed
from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import ROW_TYPES, WEIGHT_TYPES, FloatArray, Rows
from fastlin.rows.labels import locate
from fastlin.rows.scaling import InputScale


@dataclass(frozen=True)
class Samples:
    """Rows and labels, which kernels read and never write.

    Attributes
    ----------
    rows : Rows of shape (n, d)
        A NumPy array ``(n, d)`` may be passed too, and becomes
        :class:`~fastlin.rows.dense.DenseRows`.
    labels : (n,) int32
        Class of each row, ``0 .. k - 1``; 0 or 1 if ``k == 1``. Empty, ``(0,)``, for rows without
        labels, which only the kernel ``logits`` accepts.
    sample_weight : (n,) float64 or None
        Factor of each row's loss and gradient; None is 1.
    shift : (d,) of the weights' type or None
        Subtracted from every row; None is 0, as for sparse rows.
    """

    rows: Rows
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    sample_weight: NDArray[np.float64] | None = None
    shift: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", as_rows(self.rows))
        assert self.shift is None or self.rows.can_be_shifted, "sparse rows have no shift"

    @property
    def has_labels(self) -> bool:
        """Whether each row has a label."""
        return len(self.labels) == len(self.rows)

    def near(self, order: NDArray[np.int64]) -> tuple[Samples, NDArray[np.int64]]:
        """Return samples that kernels can read, and the places of the rows of ``order`` there."""
        rows, place, local = self.rows.near(order)
        if rows is self.rows:
            return self, order
        chosen = order if place is None else place
        weight = self.sample_weight
        return replace(
            self,
            rows=rows,
            labels=self.labels[chosen] if self.has_labels else self.labels,
            sample_weight=None if weight is None else weight[chosen],
        ), local

    def part(self, rows: slice | NDArray[np.int64]) -> Samples:
        """Return some rows with their labels and weights: views for a slice, else copies."""
        weight = self.sample_weight
        return replace(
            self,
            rows=self.rows.part(rows),
            labels=self.labels[rows] if self.has_labels else self.labels,
            sample_weight=None if weight is None else weight[rows],
        )


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
    if sample_weight is not None:
        counted = sample_weight[sample_weight > 0] if of_counted else sample_weight
        sample_weight = sample_weight / counted.mean()
    return Samples(rows.for_weights(weights_dtype), labels, sample_weight, shift)
