"""Phase C of a panel of dense rows: the gradient, and with a batch's last panel the step."""

from __future__ import annotations

from typing import Any

from fastlin.kernels.blocking import PANEL
from fastlin.kernels.jit.dense.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    ENDS_BATCH,
    FIRST,
    N_ROWS,
    Arguments,
    Own,
    Shape,
    Shared,
    column,
    own_arrays,
    shared_arrays,
    vectors_of,
)
from fastlin.kernels.jit.dense.tiles import (
    N_POINTERS,
    descend,
    narrow_gradient_tile,
    wide_gradient_tile,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.memory import read_record
from fastlin.kernels.jit.options import inlined
from fastlin.kernels.jit.step import Rates, rates_of


@inlined
def finish_gradient(
    kind: Any,
    shape: Shape,
    shared: Shared,
    own: Own,
    panel: Any,
    rates: Rates,
    sums: Any,
    vector: int,
    n_wide: int,
    b: int,
) -> None:
    """Keep a register tile of the gradient, add it to the sums, or step with it.

    ``sums``: [vector][class][lane], ``n_wide`` vectors from ``vector`` on, of block ``b``.
    """
    first = (b * shape.n_vectors + vector) * shape.block * shape.lanes
    count = n_wide * shape.block * shape.lanes
    if not shape.updates:
        for i in range(count):
            shared.gradient_sum[first + i] += sums[i]
        return
    if not panel[BEGINS_BATCH]:
        for i in range(count):
            sums[i] += shared.gradient[first + i]
    if not panel[ENDS_BATCH]:
        for i in range(count):
            shared.gradient[first + i] = sums[i]
        return
    vector_bytes = shape.lanes * shape.size
    row = shared.at.features + vector * vector_bytes
    feature_bytes = shape.n_vectors * vector_bytes
    arrays = (
        shared.at.weights,
        shared.at.velocity,
        shared.at.average,
    )
    descend(
        kind,
        n_wide * shape.block,
        sums.ctypes.data,
        first * shape.size,
        arrays,
        (row, row + feature_bytes),
        own.residual_sum.ctypes.data + b * shape.block * shape.size,
        (rates.learning_rate, rates.momentum, rates.average_rate, rates.decay),
        rates.nesterov,
    )


def gradient_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase C: the gradient of its features, and the batch's step.

    It works on the panel before the present one.
    """
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[1]
    n_rows = panel[N_ROWS]
    if n_rows == 0:  # before the first panel
        return
    rates = rates_of(arguments, panel[FIRST] // shape.batch_size)
    vector, stop_vector = vectors_of(shape, thread, n_threads)
    rows = own.pointers.ctypes.data + 8 * N_POINTERS * panel[BUFFER]
    next_rows = own.pointers.ctypes.data + 8 * N_POINTERS * (1 - panel[BUFFER])
    sums = own.sums
    while vector < stop_vector:
        wide = vector + shape.n_wide <= min(stop_vector, shape.n_aligned)
        n_here = shape.n_wide if wide else 1
        byte = column(shape, vector) * shape.row_size
        for b in range(shape.n_blocks):
            residual = own.residual.ctypes.data + b * shape.block * PANEL * shape.size
            if wide:
                wide_gradient_tile(kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data)
            else:
                narrow_gradient_tile(
                    kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data
                )
            finish_gradient(kind, shape, shared, own, panel, rates, sums, vector, n_here, b)
        vector += n_here
