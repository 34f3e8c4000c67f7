"""The loss of rows by their logits, for dense and sparse rows: sigmoid, softmax, rule for ties.

See ``cross_entropy`` and ``predicted`` in :mod:`fastlin.kernels.reference`. Dense kernels hold a
class of several rows in a vector, sparse kernels several classes of a row.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from fastlin.kernels.blocking import PANEL
from fastlin.kernels.jit.emit import ClassUnit, FeatureUnit, Integer, Number, emits
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.vectors import Vector, VectorUnit

# ------------------------------------------------------------------ the formulas


def sigmoid(unit: VectorUnit, z: Vector, y: Vector) -> tuple[Vector, Vector]:
    """Return ``ln(1 + e^z) - y z`` and its derivative by the logits ``z``; ``y``: 0 or 1."""
    zero, one = unit.constant(0.0), unit.constant(1.0)
    small = unit.exp(unit.select(z.compare(">", 0.0), zero - z, z))
    total = small + 1.0
    # log1p(small): the last term is what rounding took from the sum.
    softplus = unit.largest(z, zero) + unit.log(total) + (small - (total - 1.0)) / total
    probability = unit.select(z.compare(">=", 0.0), one, small) / total
    return softplus - y * z, probability - y


def softmax(
    unit: VectorUnit,
    logits: tuple[ir.Value, ir.Value, int],
    largest: Vector,
    of_label: Vector,
    weight: Vector,
    is_class: ir.Value | None = None,
) -> Vector:
    """Turn logits into their softmax times ``weight``; return the losses times ``weight``.

    Parameters
    ----------
    logits : address, number of vectors, bytes from one vector to the next
    largest, of_label : Vector
        The largest logit of each row and that of its label.
    is_class : address, optional
        If the lanes are classes of one row, rather than rows: 1 for each class and 0 for padding.
    """
    address, n_vectors, stride = logits

    def exponential(i: ir.Value, sums: list[Vector]) -> list[Vector]:
        at = unit.times(i, stride)
        value = unit.exp(unit.load(address, at) - largest)
        if is_class is not None:
            value *= unit.load(is_class, at)
        unit.store(value, address, at)
        return [sums[0] + value]

    (total,) = unit.loop(n_vectors, [unit.constant(0.0)], exponential)
    if is_class is not None:
        total = unit.across(total, Vector.__add__)
    factor = weight / total

    def normalise(i: ir.Value) -> None:
        at = unit.times(i, stride)
        unit.store(unit.load(address, at) * factor, address, at)

    unit.each(n_vectors, normalise)
    return weight * (unit.log(total) + (largest - of_label))


@inner
def is_correct(k: int, logits: Any, row: int, label: int) -> bool:
    """Return whether a label has the first of the largest logits; ``logits``: [class][row]."""
    if k == 1:
        return bool((logits[0, row] > 0) == (label == 1))
    of_label = logits[label, row]
    for c in range(k):
        if logits[c, row] > of_label or (c < label and logits[c, row] == of_label):
            return False
    return True


# ------------------------------------------------------------------ as functions of addresses


@emits
def sigmoid_loss(
    unit: FeatureUnit, logits: Integer, targets: Integer, row_weight: Integer, losses: Integer
) -> None:
    """Residual of a vector of rows in place of their logits, times ``row_weight``, and the losses.

    All others: a vector each.
    """
    weight = unit.load(row_weight)
    loss, residual = sigmoid(unit, unit.load(logits), unit.load(targets))
    unit.store(weight * loss, losses)
    unit.store(weight * residual, logits)


@emits
def softmax_loss(
    unit: FeatureUnit,
    n_classes: Integer,
    logits: Integer,
    of_label: Integer,
    row_weight: Integer,
    losses: Integer,
) -> None:
    """Softmax of a vector of rows in place of their logits, times ``row_weight``, and the losses.

    ``logits``: [class][row]; the others: a vector each. The caller takes ``row_weight`` off at the
    label.
    """
    stride = PANEL * unit.itemsize

    def larger(c: ir.Value, so_far: list[Vector]) -> list[Vector]:
        return [unit.largest(unit.load(logits, unit.times(c, stride)), so_far[0])]

    (largest,) = unit.loop(n_classes, [unit.constant(-math.inf)], larger)
    of_rows = logits, n_classes, stride
    loss = softmax(unit, of_rows, largest, unit.load(of_label), unit.load(row_weight))
    unit.store(loss, losses)


@emits
def row_softmax(
    unit: ClassUnit,
    n_vectors: Integer,
    is_class: Integer,
    largest: Number,
    of_label: Number,
    row_weight: Number,
    logits: Integer,
) -> Number:
    """One row's softmax in place of its logits, times ``row_weight``; returns the row's loss.

    ``is_class``: address of 1 for a class and 0 for padding; ``largest``, ``of_label``: the largest
    logit and the label's. The caller takes ``row_weight`` off at the label.
    """
    top, label, weight = (unit.splat(number) for number in (largest, of_label, row_weight))
    return unit.first(softmax(unit, (logits, n_vectors, unit.size), top, label, weight, is_class))
