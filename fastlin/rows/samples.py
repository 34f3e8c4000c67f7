"""Rows with their labels, weights and shift, as the kernels read them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import FloatArray, Rows
from fastlin.rows.scratch import Scratch


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
    weight_divisor : float
        What the weights that were given have been divided by.
    renumbering : (all classes,) int32 or None
        What :meth:`renumbered` has made of the labels that were given. With this and
        ``weight_divisor``, who has those labels and weights on another machine makes these.
    """

    rows: Rows
    labels: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    sample_weight: NDArray[np.float64] | None = None
    shift: FloatArray | None = None
    weight_divisor: float = 1.0
    renumbering: NDArray[np.int32] | None = None

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
        return self._with(self.rows.part(rows), rows)

    def block(self, rows: slice, dtype: np.dtype[Any], scratch: Scratch) -> Samples:
        """Return some samples in a form that kernels can read for weights of ``dtype``.

        Their rows may lie in ``scratch``, until that is used again.
        """
        return self._with(self.rows.block(rows, dtype, scratch), rows)

    def _with(self, rows: Rows, places: slice | NDArray[np.int64]) -> Samples:
        weight = self.sample_weight
        return replace(
            self,
            rows=rows,
            labels=self.labels[places] if self.has_labels else self.labels,
            sample_weight=None if weight is None else weight[places],
        )

    def renumbered(self, numbers: NDArray[np.int32]) -> Samples:
        """Return the samples with label ``numbers[c]`` in place of ``c``."""
        before = self.renumbering
        after = numbers if before is None else numbers[before]
        return replace(self, labels=numbers[self.labels], renumbering=after)
