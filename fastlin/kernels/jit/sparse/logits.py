"""Phases A and B of a panel of sparse rows: partial logits of each slice, then residuals."""

from __future__ import annotations

from typing import Any

from fastlin.kernels.blocking import PARTS, SPARSE_PANEL
from fastlin.kernels.jit.loss import row_softmax, sigmoid_loss
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import row_at, weight_of
from fastlin.kernels.jit.sparse.layout import (
    LARGEST,
    LOSSES,
    ROW_WEIGHT,
    ROWS_AHEAD,
    ROWS_OF_A_GROUP,
    TARGETS,
    Arrays,
    Own,
    Shape,
    first_from,
    segment_at,
    touch_row,
)
from fastlin.kernels.jit.sparse.mixture import Mixture
from fastlin.kernels.jit.sparse.tiles import row_logits, segment_logits, touch_segment
from fastlin.kernels.jit.team import slices_of


@inner
def segment_product(
    kind: Any,
    shape: Shape,
    arrays: Arrays,
    segment: Any,
    ahead: Any,
    mixture: Mixture,
    out: int,
) -> None:
    """Write the partial logits of a segment to ``out``.

    ``ahead``: a segment whose weights will be read next.
    """
    columns = arrays.at.columns + segment[0] * shape.column_size
    values = arrays.at.values + segment[0] * shape.size
    next_columns, n_next = arrays.at.columns + ahead[0] * shape.column_size, ahead[1] - ahead[0]
    count = segment[1] - segment[0]
    for b in range(shape.n_blocks):
        at, to = arrays.state.ctypes.data + b * shape.block_bytes, out + b * shape.block_bytes
        for array in range(2 if shape.velocity else 1):
            segment_logits(
                kind,
                columns,
                values,
                count,
                at + array * shape.velocity * shape.k_padded * shape.size,
                shape.feature_bytes,
                mixture.wv if array else mixture.ww,
                array > 0,
                to,
                next_columns,
                n_next,
            )


@inner
def logits_phase(
    kind: Any,
    shape: Shape,
    arrays: Arrays,
    panel: Any,
    mixture: Mixture,
    thread: int,
    n_threads: int,
) -> None:
    """One thread's part of phase A: whole slices, or some rows of one.

    ``panel``: first and last position, and which half of ``partial`` it has.
    """
    first_slice, stop_slice, part, n_parts = slices_of(shape.n_slices, thread, n_threads)
    first, stop, buffer = panel
    n_rows = stop - first
    features = arrays.bounds[first_slice * PARTS], arrays.bounds[stop_slice * PARTS]
    first_row, stop_row = n_rows * part // n_parts, n_rows * (part + 1) // n_parts
    following = segment_at(kind, shape, arrays, first + first_row, features)
    for i in range(first_row, stop_row):
        touch_row(kind, shape, arrays, first + i + ROWS_AHEAD)
        at, end = following
        if i + 1 < stop_row:
            following = segment_at(kind, shape, arrays, first + i + 1, features)
        ahead = following[0]
        for s in range(first_slice, stop_slice):
            until = end
            if s + 1 < stop_slice:
                until = first_from(kind, shape, arrays, at, end, arrays.bounds[(s + 1) * PARTS])
            out = arrays.partial[buffer * shape.n_slices + s, i].ctypes.data
            segment_product(kind, shape, arrays, (at, until), (ahead, following[1]), mixture, out)
            ahead = min(ahead + until - at, following[1])
            at = until
        touch_segment(
            kind,
            arrays.at.columns + ahead * shape.column_size,
            following[1] - ahead,
            arrays.state.ctypes.data,
            shape.feature_bytes,
        )


@inner
def sum_logits(
    kind: Any,
    shape: Shape,
    arrays: Arrays,
    partial: int,
    n_slices: int,
    rows: tuple[int, int],
    first: int,
    divisor: float,
    intercept: int,
) -> None:
    """Phase B, first half: the logits of some rows, and what else their losses need.

    ``intercept``: its address; ``partial``: that of the logits of position ``first`` from the first
    slice; ``rows``: where in ``residual`` and ``by_row`` they go, the first of them that of
    position ``first``.
    """
    n_vectors = shape.block * shape.n_blocks
    row_bytes = shape.k_padded * shape.size
    for at in range(rows[0], rows[1]):
        row = row_at(arrays.samples, first + at - rows[0])
        parts = partial + (at - rows[0]) * row_bytes
        out = arrays.residual.ctypes.data + at * row_bytes
        arrays.by_row[LARGEST, at] = row_logits(
            kind, n_vectors, n_slices, SPARSE_PANEL * row_bytes, parts, intercept, out
        )
        arrays.by_row[ROW_WEIGHT, at] = weight_of(arrays.samples, row, divisor)
        if len(arrays.samples.labels):
            arrays.by_row[TARGETS, at] = arrays.samples.labels[row]


@inner
def cross_entropy(kind: Any, shape: Shape, arrays: Arrays, rows: tuple[int, int]) -> None:
    """Phase B, second half: the losses of some rows, and their gradients in place of the logits.

    The first row is that of a whole vector; the last vector of rows may reach beyond them.
    """
    n_vectors = shape.block * shape.n_blocks
    is_class = arrays.is_class.ctypes.data
    if shape.k == 1:
        by_row, of_array = arrays.by_row.ctypes.data, arrays.by_row.shape[1] * shape.size
        at = rows[0]
        while at < rows[1]:  # a range of steps of unknown size could raise
            here = at * shape.size
            sigmoid_loss(
                kind,
                arrays.residual.ctypes.data + here,
                by_row + TARGETS * of_array + here,
                by_row + ROW_WEIGHT * of_array + here,
                by_row + LOSSES * of_array + here,
            )
            at += shape.lanes
        return
    for at in range(rows[0], rows[1]):
        logits, label = arrays.residual[at], int(arrays.by_row[TARGETS, at])
        weight = arrays.by_row[ROW_WEIGHT, at]
        arrays.by_row[LOSSES, at] = row_softmax(
            kind,
            n_vectors,
            is_class,
            arrays.by_row[LARGEST, at],
            logits[label],
            weight,
            logits.ctypes.data,
        )
        logits[label] -= weight


@inner
def residual_phase(
    kind: Any,
    shape: Shape,
    arrays: Arrays,
    own: Own,
    panel: Any,
    batch: Any,
    thread: int,
    n_threads: int,
) -> None:
    """One thread's part of phase B: some groups of a panel's rows; ``batch``: first and stop."""
    first, stop, buffer = panel
    divisor = float(batch[1] - batch[0]) if shape.updates else 1.0
    groups = (stop - first + ROWS_OF_A_GROUP - 1) // ROWS_OF_A_GROUP
    start = first + groups * thread // n_threads * ROWS_OF_A_GROUP
    stop = min(first + groups * (thread + 1) // n_threads * ROWS_OF_A_GROUP, stop)
    partial = arrays.partial[buffer * shape.n_slices].ctypes.data
    partial += (start - first) * shape.k_padded * shape.size
    rows = start - batch[0], stop - batch[0]
    intercept = own.intercept.ctypes.data
    sum_logits(kind, shape, arrays, partial, shape.n_slices, rows, start, divisor, intercept)
    cross_entropy(kind, shape, arrays, rows)
