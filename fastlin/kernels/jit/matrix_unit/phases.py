"""The phases of the Numba backend that hold products, for a matrix unit.

They take the place of phases A and C of :mod:`fastlin.kernels.jit.dense.run`; all else stays. A
slice belongs to one thread. Each phase configures the unit's registers and releases them: so the
system need not save them while a thread waits for others.
"""

from __future__ import annotations

from typing import Any

from fastlin.kernels.blocking import PANEL, UNIT_BLOCK, VECTORS_OF_A_UNIT
from fastlin.kernels.jit.dense.gradient import finish_gradient
from fastlin.kernels.jit.dense.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    FIRST,
    N_ROWS,
    Arguments,
    Shape,
    Shared,
    own_arrays,
    shared_arrays,
    slice_bound,
    vectors_of,
)
from fastlin.kernels.jit.dense.logits import slice_offset
from fastlin.kernels.jit.dense.tiles import N_POINTERS
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.matrix_unit.operands import (
    LANES,
    ROWS_STAGED,
    TILE_BYTES,
    fetch,
    interleave,
    stage,
    write_residual_digits,
    write_weight_digits,
)
from fastlin.kernels.jit.matrix_unit.products import (
    ABREAST,
    configure_tiles,
    gradient_products,
    join_gradient,
    join_logits,
    logit_products,
    release_tiles,
)
from fastlin.kernels.jit.memory import read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.step import rates_of

# What a thread has for itself, in bytes from the start of its part of ``Own.operands``. Rows of
# phase A and digits of residuals, whose sizes depend on the shape, come last.
PRODUCTS_AT = 0
INTERLEAVED_AT = PRODUCTS_AT + ABREAST * 2 * TILE_BYTES
VARYING_AT = INTERLEAVED_AT + 2 * PANEL * 64
QUANTUM_BYTES = 16
"""Of a class's quantum: so the digits behind the quanta of a block start on a cache line."""


def operand_bytes(n_slices: int, n_vectors: int, k_padded: int) -> int:
    """Return how many bytes a thread needs for itself."""
    longest = (n_vectors // n_slices + 16) * LANES
    return VARYING_AT + max(k_padded * (QUANTUM_BYTES + 4 * PANEL), ROWS_STAGED * longest)


@inner
def slice_digits(kind: Any, shape: Shape, shared: Shared, part: int) -> None:
    """Write the digits of the weights of a slice."""
    first, stop = slice_bound(shape, part), slice_bound(shape, part + 1)
    quanta = shared.at.weight_quanta + part * shape.k_padded * 4
    for b in range(shape.n_blocks):
        at = (b * shape.n_vectors + first) * UNIT_BLOCK * 64
        write_weight_digits(
            kind,
            shared.at.weights + at,
            stop - first,
            shared.at.weight_digits + at,
            quanta + b * UNIT_BLOCK * 4,
        )


@inner
def slice_products(
    kind: Any,
    shape: Shape,
    shared: Shared,
    pointers: int,
    n_rows: int,
    part: int,
    operands: int,
    out: int,
) -> None:
    """Partial logits of a panel's rows from a slice; ``operands``: the thread's own."""
    first, stop = slice_bound(shape, part), slice_bound(shape, part + 1)
    width = (stop - first) * LANES
    block_bytes = shape.n_vectors * UNIT_BLOCK * 64
    products, staged = operands + PRODUCTS_AT, operands + VARYING_AT
    digits = shared.at.weight_digits + first * UNIT_BLOCK * 64
    quanta = shared.at.weight_quanta + part * shape.k_padded * 4
    for i in range(0, n_rows, ROWS_STAGED):
        stage(kind, pointers + 8 * i, shape.d, first * LANES, stop * LANES, staged)
        for b in range(0, shape.n_blocks, ABREAST):
            few = min(ABREAST, shape.n_blocks - b)
            logit_products(
                kind,
                (digits + b * block_bytes, 64, TILE_BYTES, block_bytes),
                (staged, width, 64, 16 * width),
                few,
                (stop - first) // VECTORS_OF_A_UNIT,
                products,
            )
            for t in range(few * 2):
                c = (b + t // 2) * UNIT_BLOCK
                row = i + t % 2 * 16
                join_logits(
                    kind, products + t * TILE_BYTES, quanta + c * 4, out + (c * PANEL + row) * 4
                )


def integer_logits_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase A on the matrix unit: whole slices."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[0]
    configure_tiles(kind)
    pointers = own.pointers.ctypes.data + 8 * N_POINTERS * panel[BUFFER]
    slice_bytes = shape.k_padded * PANEL * shape.size
    for s in range(
        shape.n_slices * thread // n_threads,
        shape.n_slices * (thread + 1) // n_threads,
    ):
        if panel[BEGINS_BATCH]:  # the weights are as the batch before has left them
            slice_digits(kind, shape, shared, s)
        buffered = panel[BUFFER] * shape.n_slices + s
        out = shared.at.partial + buffered * slice_bytes
        slice_products(kind, shape, shared, pointers, panel[N_ROWS], s, own.operands, out)
        slice_offset(
            kind, shape, shared, slice_bound(shape, s), slice_bound(shape, s + 1), buffered
        )
    release_tiles(kind)


def integer_gradient_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase C on the matrix unit; see ``gradient_phase``."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[1]
    n_rows = panel[N_ROWS]
    if n_rows == 0:  # before the first panel
        return
    rates = rates_of(arguments, panel[FIRST] // shape.batch_size)
    configure_tiles(kind)
    first_vector, stop_vector = vectors_of(shape, thread, n_threads)
    rows = own.pointers.ctypes.data + 8 * N_POINTERS * panel[BUFFER]
    next_rows = own.pointers.ctypes.data + 8 * N_POINTERS * (1 - panel[BUFFER])
    products, quanta = own.operands + PRODUCTS_AT, own.operands + VARYING_AT
    digits = quanta + shape.k_padded * QUANTUM_BYTES
    sums = own.sums
    write_residual_digits(kind, own.residual.ctypes.data, n_rows, shape.k_padded, digits, quanta)
    buffer = own.operands + INTERLEAVED_AT
    other_buffer = buffer + PANEL * 64
    interleave(kind, rows, n_rows, shape.d, first_vector * LANES, buffer)
    for vector in range(first_vector, stop_vector, 2):
        in_group = vector % VECTORS_OF_A_UNIT
        ahead = vector + VECTORS_OF_A_UNIT
        if in_group == 0 and ahead < stop_vector:
            interleave(kind, rows, n_rows, shape.d, ahead * LANES, other_buffer)
        quarter = PANEL // VECTORS_OF_A_UNIT
        column = (vector - in_group) * LANES
        fetch(kind, next_rows, in_group * quarter, (in_group + 2) * quarter, column)
        for b in range(0, shape.n_blocks, ABREAST):
            few = min(ABREAST, shape.n_blocks - b)
            gradient_products(
                kind,
                (digits + b * 2 * TILE_BYTES, 64, TILE_BYTES, 2 * TILE_BYTES),
                (buffer + in_group * LANES * PANEL, 64, TILE_BYTES, LANES * PANEL),
                few,
                (n_rows + 63) // 64,
                products,
            )
            for t in range(few):
                at = quanta + (b + t) * UNIT_BLOCK * 4
                join_gradient(kind, products + t * 2 * TILE_BYTES, at, sums.ctypes.data)
                finish_gradient(kind, shape, shared, own, panel, rates, sums, vector, 2, b + t)
        if in_group:
            buffer, other_buffer = other_buffer, buffer
    release_tiles(kind)
