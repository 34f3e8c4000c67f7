"""Phase B of a panel of many classes: from the logits of a row to its loss and residuals."""

from __future__ import annotations

from typing import Any

from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.loss import row_softmax
from fastlin.kernels.jit.many_classes.copies import put_row, take_row
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BUNDLE,
    FIRST,
    N_ROWS,
    Arguments,
    Own,
    Shape,
    own_arrays,
    part_of_bundles,
)
from fastlin.kernels.jit.memory import array_at, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, row_at, samples_of, weight_of


@inner
def note_bias(kind: Any, shape: Shape, arguments: Arguments, own: Own, offset: int) -> None:
    """Note what is added to the sums over all features; minus infinity where there is no class."""
    classes = shape.n_vectors * shape.lanes
    offsets = array_at(kind, offset, (classes,))
    intercept = array_at(kind, arguments.intercept, (3, classes))
    for c in range(classes):
        own.bias[c] = intercept[0, c] - offsets[c]


@inner
def softmax(
    kind: Any, shape: Shape, arguments: Arguments, own: Own, label: int, largest: float, weight: Any
) -> float:
    """Turn a row's logits into their softmax times ``weight``; return the loss times that."""
    of_row = own.of_row
    loss: float = row_softmax(
        kind,
        shape.n_vectors,
        arguments.is_class,
        largest,
        of_row[label],
        weight,
        of_row.ctypes.data,
    )
    return loss


@inner
def batch_divisor(shape: Shape, first: int) -> float:
    """Return the rows of a batch if it steps, else 1."""
    if not shape.updates:
        return 1.0
    batch_first = first // shape.batch_size * shape.batch_size
    return float(min(shape.batch_size, shape.n_order - batch_first))


def residual_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase B: some bundles of rows; what is no row has residuals of zero."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    own = own_arrays(kind, shape, arguments, thread)
    samples: SampleArrays = samples_of(shape, arguments)
    first, n_rows = own.words[FIRST], own.words[N_ROWS]
    divisor = batch_divisor(shape, first)
    losses = array_at(kind, arguments.row_losses, (shape.panel,))
    note_bias(kind, shape, arguments, own, arguments.offset)
    start, stop = part_of_bundles(n_rows, thread, n_threads)
    of_row = own.of_row
    for i in range(start * BUNDLE, stop * BUNDLE):
        if i < n_rows:
            row = row_at(samples, first + i)
            label = samples.labels[row]
            largest = take_row(
                kind,
                shape.n_vectors,
                arguments.places,
                arguments.residual,
                i,
                own.bias.ctypes.data,
                of_row.ctypes.data,
            )
            weight = weight_of(samples, row, divisor)
            losses[i] = softmax(kind, shape, arguments, own, label, largest, weight)
            of_row[label] -= weight
        else:
            for c in range(shape.n_vectors * shape.lanes):
                of_row[c] = 0.0
        put_row(kind, shape.n_vectors, arguments.places, i, of_row.ctypes.data, arguments.residual)
