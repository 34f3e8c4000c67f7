"""Phases A and B of a panel of dense rows: partial logits of each slice, then residuals.

Phase A writes the logits of each slice of the features apart; phase B adds those of all slices up,
and turns logits into residuals.
"""

from __future__ import annotations

from typing import Any

from fastlin.kernels.blocking import PANEL, ROW_STEP
from fastlin.kernels.jit.dense.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    N_ROWS,
    OF_LABEL,
    ROW_WEIGHT,
    TARGETS,
    Arguments,
    Own,
    Shape,
    Shared,
    own_arrays,
    shared_arrays,
    slice_bound,
)
from fastlin.kernels.jit.dense.tiles import (
    N_POINTERS,
    add_logits,
    copy_bytes,
    logit_tile,
    shift_logit,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.loss import sigmoid_loss, softmax_loss
from fastlin.kernels.jit.memory import read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, row_at, weight_of
from fastlin.kernels.jit.team import slices_of


@inner
def gather(
    kind: Any, shape: Shape, shared: Shared, own: Own, first: int, n_rows: int, which: int
) -> None:
    """Note the addresses of a panel's rows; entries after the last repeat it."""
    for i in range(N_POINTERS):
        position = first + min(i, n_rows - 1)
        row = row_at(shared.samples, position)
        own.pointers[which, i] = shared.at.rows + row * shape.stride
        if shape.d < shape.lanes:
            at = (which * N_POINTERS + i) * shape.lanes * shape.row_size
            to = own.short_rows + at
            copy_bytes(kind, to, own.pointers[which, i], shape.d * shape.row_size)
            own.pointers[which, i] = to


@inner
def weigh(samples: SampleArrays, own: Own, first: int, n_rows: int, divisor: float) -> None:
    """Note the factor of each row's loss, 0 after the last, and its label."""
    for i in range(PANEL):
        own.by_row[ROW_WEIGHT, i] = 0.0
        if i < n_rows:
            row = row_at(samples, first + i)
            own.by_row[ROW_WEIGHT, i] = weight_of(samples, row, divisor)
            own.by_row[TARGETS, i] = samples.labels[row]


@inner
def slice_logits(
    kind: Any,
    shape: Shape,
    shared: Shared,
    pointers: int,
    rows: tuple[int, int],
    vectors: tuple[int, int],
    out: int,
) -> None:
    """Phase A: partial logits of some rows of a panel from a run of feature vectors."""
    first_vector, stop_vector = vectors
    has_tail = stop_vector == shape.n_vectors and shape.n_aligned < shape.n_vectors
    n_full = stop_vector - first_vector - (1 if has_tail else 0)
    tail = (shape.d - shape.lanes) * shape.row_size if has_tail else -1
    start = first_vector * shape.lanes * shape.row_size
    vector_bytes = shape.lanes * shape.size
    for b in range(shape.n_blocks):
        at = (b * shape.n_vectors + first_vector) * shape.block * vector_bytes
        i = rows[0]
        while i < rows[1]:  # a range of steps of unknown size could raise
            logit_tile(
                kind,
                pointers + 8 * i,
                start,
                n_full,
                tail,
                shared.at.weights + at,
                out + (b * shape.block * PANEL + i) * shape.size,
            )
            i += shape.n_samples


@inner
def slice_offset(
    kind: Any, shape: Shape, shared: Shared, first_vector: int, stop_vector: int, part: int
) -> None:
    """Note what the shift takes off every class's logit, from a run of feature vectors."""
    if not shape.shifted:
        return
    vector_bytes = shape.lanes * shape.size
    shift = shared.at.features + first_vector * vector_bytes
    for c in range(shape.k):
        b, in_block = c // shape.block, c % shape.block
        vector = (b * shape.n_vectors + first_vector) * shape.block + in_block
        at = shared.at.weights + vector * vector_bytes
        shared.offset[part, c] = shift_logit(kind, stop_vector - first_vector, at, shift)


def logits_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase A: whole slices, or some rows of one."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[0]
    first_slice, stop_slice, part, n_parts = slices_of(shape.n_slices, thread, n_threads)
    groups = (panel[N_ROWS] + ROW_STEP - 1) // ROW_STEP
    rows = (groups * part // n_parts * ROW_STEP, groups * (part + 1) // n_parts * ROW_STEP)
    pointers = own.pointers.ctypes.data + 8 * N_POINTERS * panel[BUFFER]
    slice_bytes = shape.k_padded * PANEL * shape.size
    for s in range(first_slice, stop_slice):
        vectors = (slice_bound(shape, s), slice_bound(shape, s + 1))
        buffered = panel[BUFFER] * shape.n_slices + s
        out = shared.at.partial + buffered * slice_bytes
        slice_logits(kind, shape, shared, pointers, rows, vectors, out)
        if part == 0:
            slice_offset(kind, shape, shared, vectors[0], vectors[1], buffered)


def all_logits_phase(data: int, thread: int, n_threads: int) -> None:
    """In a pass, the partial logits of a thread's panel, from one slice after the other.

    A slice of the weights, unlike all of them, stays in the first-level cache.
    """
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[0]
    rows = (0, (panel[N_ROWS] + ROW_STEP - 1) // ROW_STEP * ROW_STEP)
    slice_bytes = shape.k_padded * PANEL * shape.size
    for s in range(shape.n_slices):
        vectors = (slice_bound(shape, s), slice_bound(shape, s + 1))
        part = thread * shape.n_slices + s
        out = shared.at.partial + part * slice_bytes
        slice_logits(kind, shape, shared, own.pointers.ctypes.data, rows, vectors, out)
        if panel[BEGINS_BATCH]:  # the thread's first
            slice_offset(kind, shape, shared, vectors[0], vectors[1], part)


@inner
def whole_logits(
    kind: Any, shape: Shape, shared: Shared, own: Own, slices: tuple[int, int], group: int
) -> None:
    """Phase B, first half: the logits of one vector of rows.

    ``slices``: the first of ``partial`` and their number.
    """
    first_slice, n_slices = slices
    first = group * shape.lanes
    rows, class_bytes = first * shape.size, PANEL * shape.size
    for c in range(shape.k):
        constant = own.intercept[0, c]
        for s in range(n_slices):
            constant -= shared.offset[first_slice + s, c]
        add_logits(
            kind,
            n_slices,
            shape.k_padded * class_bytes,
            shared.at.partial + (first_slice * shape.k_padded + c) * class_bytes + rows,
            constant,
            own.residual.ctypes.data + c * class_bytes + rows,
        )


@inner
def cross_entropy(kind: Any, shape: Shape, own: Own, n_rows: int, group: int) -> None:
    """Phase B, second half: the losses of one vector of rows, and their gradient by the logits."""
    first = group * shape.lanes
    stop = min(first + shape.lanes, n_rows)
    rows, class_bytes = first * shape.size, PANEL * shape.size
    by_row = own.by_row.ctypes.data + rows
    residual = own.residual.ctypes.data + rows
    weight, losses = by_row + ROW_WEIGHT * class_bytes, own.losses + rows
    if shape.k == 1:
        sigmoid_loss(kind, residual, by_row + TARGETS * class_bytes, weight, losses)
        return
    for i in range(first, stop):
        own.by_row[OF_LABEL, i] = own.residual[int(own.by_row[TARGETS, i]), i]
    softmax_loss(
        kind,
        shape.k,
        residual,
        by_row + OF_LABEL * class_bytes,
        weight,
        losses,
    )
    for i in range(first, stop):
        own.residual[int(own.by_row[TARGETS, i]), i] -= own.by_row[ROW_WEIGHT, i]


def residual_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase B: some vectors of rows, or all of them."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    panel = own.panels[0]
    part, n_parts = (thread, n_threads) if shape.residual_shared else (0, 1)
    groups = (panel[N_ROWS] + shape.lanes - 1) // shape.lanes
    slices = (panel[BUFFER] * shape.n_slices, shape.n_slices)
    for group in range(groups * part // n_parts, groups * (part + 1) // n_parts):
        whole_logits(kind, shape, shared, own, slices, group)
        cross_entropy(kind, shape, own, panel[N_ROWS], group)
