"""The loops of the Numba backend over sparse rows: slices of the features, phases, threads.

A step has the same three phases as with dense rows (:mod:`.jit_loops`): A partial logits of each
slice of the features, B residual, C update. Slices hold about as many stored values each; a thread
keeps the same features in A and C, so their weights stay in its core's cache. In C each feature
gets its changes in the order of the rows, whatever the number of threads.

What steps do to the features that none of their rows stores is left to a :class:`.Mixture`; the
arrays are held in its coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from fastlin.kernels.jit_loops import INNER, OPTIONS, is_correct, launch
from fastlin.kernels.jit_mixture import Mixture, after, coordinates, has_grown, step_mixture
from fastlin.kernels.meeting import all_came, first_to_give_up, wait_for_all
from fastlin.kernels.sparse_tiles import (
    add_products,
    column_at,
    mix,
    row_logits,
    row_softmax,
    segment_logits,
    touch_bytes,
    touch_segment,
)
from fastlin.kernels.tiles import bind, sigmoid_loss

TILE = 256
"""Rows between two meetings of the threads at most, so that partial logits stay in the cache."""

PARTS = 16
"""Ranges of features in a slice, which threads share where there are more of them than slices."""

GROUP = 16
"""Rows are handed to threads in groups of this many in phase B: whole vectors and cache lines."""

ROWS_AHEAD = 3
"""Rows between the one at work and the one that is asked for from memory."""

FLUSHED_AT_ONCE = 64
"""Features whose gradients, one class after the other, stay in the cache."""


class SparseShape(NamedTuple):
    """Sizes of a run; all int64."""

    d: int
    k: int
    k_padded: int
    lanes: int
    block: int
    block_bytes: int
    n_blocks: int
    size: int
    column_size: int
    n_slices: int
    n_threads: int
    n_order: int
    batch_size: int
    flush_interval: int
    feature_bytes: int
    velocity: int
    average: int
    updates: bool
    in_place: bool


class SparseWork(NamedTuple):
    """Arrays of a run; ``T`` is the weights' type. Absent ones are empty.

    ``state`` holds, of each feature, weights, velocity and average in the mixture's coordinates,
    those that there are one behind the other; ``SparseShape.velocity`` and ``average`` say which,
    and are 0 where there is none.
    """

    values: int  # address of the first
    columns: int  # address of the first
    row_starts: Any  # (n + 1,) int64
    order: Any  # (n_order,) int64 or (0,)
    labels: Any  # (n,) int32
    sample_weight: Any  # (n,) float64 or (0,)
    bounds: Any  # (n_slices * PARTS + 1,) int64: first feature of each part of each slice
    state: Any  # (d, arrays, k_padded) T
    gain: Any  # (d,) T, or (1,) for all
    gradient: Any  # (d, k_padded) T, zero between two sums; not in place
    gradient_out: Any  # (k, d) float64; without updates
    partial: Any  # (2, n_slices, TILE, k_padded) T; a pass: (1, n_threads, TILE, k_padded)
    residual: Any  # (rows, k_padded) T; whole groups of rows: a batch's; a pass: n_threads tiles
    by_row: Any  # (4, rows) T: losses, row_weight, targets, largest
    is_class: Any  # (k_padded,) T: 1 for a class, else 0
    intercept: Any  # (n_threads, 3, k_padded) T: value, velocity, average
    residual_sum: Any  # (n_threads, k_padded) float64
    meeting: Any  # (n_words,) int32, zero: where the threads wait for each other


LOSSES, ROW_WEIGHT, TARGETS, LARGEST = range(4)


@njit(**INNER)  # type: ignore[untyped-decorator]  # numba is untyped, here and below
def make_values(
    kind: Any, shape: SparseShape, work: SparseWork, mixture: Mixture, features: Any
) -> None:
    """Turn the coordinates of some features into values, whose mixture is the identity."""
    array_bytes = shape.k_padded * shape.size
    n_vectors = shape.block * shape.n_blocks
    factors = (
        mixture.ww,
        mixture.wv,
        mixture.vw,
        mixture.vv,
        mixture.aw,
        mixture.av,
        mixture.aa,
    )
    for j in range(features[0], features[1]):
        at = work.state.ctypes.data + j * shape.feature_bytes
        arrays = at, at + shape.velocity * array_bytes, at + shape.average * array_bytes
        mix(kind, n_vectors, arrays, factors)


@njit(**INNER)  # type: ignore[untyped-decorator]
def part_of_slice(shape: SparseShape, thread: int) -> tuple[int, int, int]:
    """Return a thread's slice, its number among the threads of that slice, and their number."""
    s = thread * shape.n_slices // shape.n_threads
    first = (s * shape.n_threads + shape.n_slices - 1) // shape.n_slices
    stop = ((s + 1) * shape.n_threads + shape.n_slices - 1) // shape.n_slices
    return s, thread - first, stop - first


@njit(**INNER)  # type: ignore[untyped-decorator]
def features_of(shape: SparseShape, work: SparseWork, thread: int) -> tuple[int, int]:
    """Return the features of a thread in phase C."""
    n_slices, n_threads = shape.n_slices, shape.n_threads
    first, stop = n_slices * thread // n_threads, n_slices * (thread + 1) // n_threads
    if n_threads <= n_slices:
        return work.bounds[first * PARTS], work.bounds[stop * PARTS]
    s, part, n_parts = part_of_slice(shape, thread)
    return (
        work.bounds[s * PARTS + PARTS * part // n_parts],
        work.bounds[s * PARTS + PARTS * (part + 1) // n_parts],
    )


@njit(**INNER)  # type: ignore[untyped-decorator]
def first_from(
    kind: Any, shape: SparseShape, work: SparseWork, start: int, stop: int, bound: int
) -> int:
    """Return where in a row's stored values the features from ``bound`` on start."""
    if bound <= 0:
        return start
    if bound >= shape.d:
        return stop
    while start < stop:
        middle = (start + stop) >> 1
        below = column_at(kind, work.columns, middle) < bound
        start = middle + 1 if below else start
        stop = stop if below else middle
    return start


@njit(**INNER)  # type: ignore[untyped-decorator]
def row_at(work: SparseWork, position: int) -> int:
    """Return the row at a position of the order."""
    return work.order[position] if len(work.order) else position


@njit(**INNER)  # type: ignore[untyped-decorator]
def segment_at(
    kind: Any, shape: SparseShape, work: SparseWork, position: int, features: Any
) -> tuple[int, int]:
    """Return where the stored values of some features start and stop, in the row at a position."""
    row = row_at(work, position)
    start, stop = work.row_starts[row], work.row_starts[row + 1]
    start = first_from(kind, shape, work, start, stop, features[0])
    return start, first_from(kind, shape, work, start, stop, features[1])


@njit(**INNER)  # type: ignore[untyped-decorator]
def touch_row(kind: Any, shape: SparseShape, work: SparseWork, position: int) -> None:
    """Ask for what is stored of a row that comes soon, and where that of a later one starts."""
    last = shape.n_order - 1
    later = row_at(work, min(position + ROWS_AHEAD, last))
    touch_bytes(kind, work.row_starts.ctypes.data + 8 * later, 1)
    row = row_at(work, min(position, last))
    start, count = work.row_starts[row], work.row_starts[row + 1] - work.row_starts[row]
    touch_bytes(kind, work.columns + start * shape.column_size, count * shape.column_size)
    touch_bytes(kind, work.values + start * shape.size, count * shape.size)


@njit(**INNER)  # type: ignore[untyped-decorator]
def write_logits(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    segment: Any,
    ahead: Any,
    mixture: Mixture,
    out: int,
) -> None:
    """Write the logits of a segment, without the intercept, to ``out``.

    ``ahead``: a segment whose weights will be read next.
    """
    columns = work.columns + segment[0] * shape.column_size
    values = work.values + segment[0] * shape.size
    next_columns, n_next = work.columns + ahead[0] * shape.column_size, ahead[1] - ahead[0]
    count = segment[1] - segment[0]
    for b in range(shape.n_blocks):
        at, to = work.state.ctypes.data + b * shape.block_bytes, out + b * shape.block_bytes
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


@njit(**INNER)  # type: ignore[untyped-decorator]
def logits_share(
    kind: Any, shape: SparseShape, work: SparseWork, tile: Any, mixture: Mixture, thread: int
) -> None:
    """One thread's part of phase A: whole slices, or some rows of one.

    ``tile``: first and last position, and which half of ``partial`` to use.
    """
    n_slices, n_threads = shape.n_slices, shape.n_threads
    first_slice, stop_slice = n_slices * thread // n_threads, n_slices * (thread + 1) // n_threads
    part, n_parts = 0, 1
    if n_threads > n_slices:
        first_slice, part, n_parts = part_of_slice(shape, thread)
        stop_slice = first_slice + 1
    first, stop, buffer = tile
    n_rows = stop - first
    features = work.bounds[first_slice * PARTS], work.bounds[stop_slice * PARTS]
    first_row, stop_row = n_rows * part // n_parts, n_rows * (part + 1) // n_parts
    following = segment_at(kind, shape, work, first + first_row, features)
    for i in range(first_row, stop_row):
        touch_row(kind, shape, work, first + i + ROWS_AHEAD)
        at, end = following
        if i + 1 < stop_row:
            following = segment_at(kind, shape, work, first + i + 1, features)
        ahead = following[0]
        for s in range(first_slice, stop_slice):
            until = end
            if s + 1 < stop_slice:
                until = first_from(kind, shape, work, at, end, work.bounds[(s + 1) * PARTS])
            out = work.partial[buffer, s, i].ctypes.data
            write_logits(kind, shape, work, (at, until), (ahead, following[1]), mixture, out)
            ahead = min(ahead + until - at, following[1])
            at = until
        touch_segment(
            kind,
            work.columns + ahead * shape.column_size,
            following[1] - ahead,
            work.state.ctypes.data,
            shape.feature_bytes,
        )


@njit(**INNER)  # type: ignore[untyped-decorator]
def sum_logits(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    partial: int,
    n_slices: int,
    rows: tuple[int, int],
    first: int,
    divisor: float,
    thread: int,
) -> None:
    """Phase B, first half: the logits of some rows, and what else their losses need.

    ``partial``: address of the logits of position ``first`` from the first slice; ``rows``: where
    in ``residual`` and ``by_row`` they go, the first of them that of position ``first``.
    """
    n_vectors = shape.block * shape.n_blocks
    row_bytes = shape.k_padded * shape.size
    intercept = work.intercept[thread, 0].ctypes.data
    for at in range(rows[0], rows[1]):
        row = row_at(work, first + at - rows[0])
        parts = partial + (at - rows[0]) * row_bytes
        out = work.residual.ctypes.data + at * row_bytes
        work.by_row[LARGEST, at] = row_logits(
            kind, n_vectors, n_slices, TILE * row_bytes, parts, intercept, out
        )
        weight = work.sample_weight[row] if len(work.sample_weight) else 1.0
        work.by_row[ROW_WEIGHT, at] = weight / divisor
        work.by_row[TARGETS, at] = work.labels[row]


@njit(**INNER)  # type: ignore[untyped-decorator]
def cross_entropy(kind: Any, shape: SparseShape, work: SparseWork, rows: tuple[int, int]) -> None:
    """Phase B, second half: the losses of some rows, and their gradients in place of the logits.

    The first row is that of a whole vector; the last vector of rows may reach beyond them.
    """
    n_vectors = shape.block * shape.n_blocks
    is_class = work.is_class.ctypes.data
    if shape.k == 1:
        by_row, of_array = work.by_row.ctypes.data, work.by_row.shape[1] * shape.size
        for at in range(rows[0], rows[1], shape.lanes):
            here = at * shape.size
            sigmoid_loss(
                kind,
                work.residual.ctypes.data + here,
                by_row + TARGETS * of_array + here,
                by_row + ROW_WEIGHT * of_array + here,
                by_row + LOSSES * of_array + here,
            )
        return
    for at in range(rows[0], rows[1]):
        logits, label = work.residual[at], int(work.by_row[TARGETS, at])
        weight = work.by_row[ROW_WEIGHT, at]
        work.by_row[LOSSES, at] = row_softmax(
            kind,
            n_vectors,
            is_class,
            work.by_row[LARGEST, at],
            logits[label],
            weight,
            logits.ctypes.data,
        )
        logits[label] -= weight


@njit(**INNER)  # type: ignore[untyped-decorator]
def residual_share(
    kind: Any, shape: SparseShape, work: SparseWork, tile: Any, batch: Any, thread: int
) -> None:
    """One thread's part of phase B: some groups of a tile's rows; ``batch``: first and stop."""
    first, stop, buffer = tile
    divisor = float(batch[1] - batch[0]) if shape.updates else 1.0
    groups = (stop - first + GROUP - 1) // GROUP
    start = first + groups * thread // shape.n_threads * GROUP
    stop = min(first + groups * (thread + 1) // shape.n_threads * GROUP, stop)
    partial = work.partial[buffer, 0].ctypes.data
    partial += (start - first) * shape.k_padded * shape.size
    rows = start - batch[0], stop - batch[0]
    sum_logits(kind, shape, work, partial, shape.n_slices, rows, start, divisor, thread)
    cross_entropy(kind, shape, work, rows)


@njit(**INNER)  # type: ignore[untyped-decorator]
def factor_of(shape: SparseShape, change: tuple[float, float, float], array: int) -> float:
    """Return the part of a change that belongs to one of the arrays of the state."""
    if array == 0:
        return change[0]
    return change[1] if array == shape.velocity else change[2]


@njit(**INNER)  # type: ignore[untyped-decorator]
def update_share(
    kind: Any, shape: SparseShape, work: SparseWork, batch: Any, features: Any, change: Any
) -> None:
    """One thread's part of phase C: add its features' gradients to their sums, or step with them.

    ``change``: coordinates of what a gradient of 1 does to weights, velocity and average.
    """
    array_bytes = shape.k_padded * shape.size
    gain, gain_bytes = work.gain.ctypes.data, shape.size if len(work.gain) > 1 else 0
    n_arrays, sums, feature_bytes = work.state.shape[1], work.state.ctypes.data, shape.feature_bytes
    if not shape.in_place:
        change, gain, gain_bytes = (1.0, 0.0, 0.0), work.is_class.ctypes.data, 0
        n_arrays, sums, feature_bytes = 1, work.gradient.ctypes.data, array_bytes
    following = segment_at(kind, shape, work, batch[0], features)
    for position in range(batch[0], batch[1]):
        start, stop = following
        if position + 1 < batch[1]:
            following = segment_at(kind, shape, work, position + 1, features)
        columns = work.columns + start * shape.column_size
        values = work.values + start * shape.size
        residual = work.residual[position - batch[0]].ctypes.data
        for b in range(shape.n_blocks):
            for array in range(n_arrays):
                add_products(
                    kind,
                    columns,
                    values,
                    stop - start,
                    residual + b * shape.block_bytes,
                    factor_of(shape, change, array),
                    gain,
                    gain_bytes,
                    sums + array * array_bytes + b * shape.block_bytes,
                    feature_bytes,
                    work.columns + following[0] * shape.column_size,
                    following[1] - following[0],
                )


@njit(**INNER)  # type: ignore[untyped-decorator]
def descend(shape: SparseShape, work: SparseWork, features: Any, change: Any) -> None:
    """Step with the gradients that were summed up for some features, which become zero."""
    for j in range(features[0], features[1]):
        gain = work.gain[j if len(work.gain) > 1 else 0]
        for array in range(work.state.shape[1]):
            factor = gain * factor_of(shape, change, array)
            for c in range(shape.k_padded):
                work.state[j, array, c] += factor * work.gradient[j, c]
        work.gradient[j] = 0


@njit(**INNER)  # type: ignore[untyped-decorator]
def flush(shape: SparseShape, work: SparseWork, features: Any) -> None:
    """Add the gradients that were summed up for some features to the result, and make them zero."""
    for first in range(features[0], features[1], FLUSHED_AT_ONCE):
        stop = min(first + FLUSHED_AT_ONCE, features[1])
        for c in range(shape.k):
            for j in range(first, stop):
                work.gradient_out[c, j] += work.gradient[j, c]
        work.gradient[first:stop] = 0


@njit(**INNER)  # type: ignore[untyped-decorator]
def add_residuals(shape: SparseShape, work: SparseWork, n_rows: int, thread: int) -> float:
    """Sum up a batch's residuals over its rows; return the sum of the losses."""
    sums = work.residual_sum[thread]
    if shape.updates:
        sums[:] = 0.0
    loss = 0.0
    for i in range(n_rows):
        loss += work.by_row[LOSSES, i]
        for c in range(shape.k_padded):
            sums[c] += work.residual[i, c]
    return loss


@njit(**INNER)  # type: ignore[untyped-decorator]
def step_intercept(
    shape: SparseShape, work: SparseWork, step: Mixture, change: Any, gain: float, thread: int
) -> None:
    """Step with the intercept, by what the step does without data and with a gradient of 1."""
    values, velocities, averages = (
        work.intercept[thread, 0],
        work.intercept[thread, 1],
        work.intercept[thread, 2],
    )
    for c in range(shape.k):
        gradient = gain * work.residual_sum[thread, c]
        b, v, mean = values[c], velocities[c], averages[c]
        values[c] = step.ww * b + step.wv * v + change[0] * gradient
        velocities[c] = step.vw * b + step.vv * v + change[1] * gradient
        averages[c] = step.aw * b + step.av * v + step.aa * mean + change[2] * gradient


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def run_share(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    schedule: Any,
    constants: Any,
    nesterov: bool,
    losses_out: Any,
    thread: int,
) -> None:
    """One thread's part of a run, of all its tiles and phases; see :func:`run`."""
    meeting = work.meeting.ctypes.data
    n_threads = shape.n_threads
    if n_threads > 1 and not all_came(meeting, n_threads):
        # The layer runs the parts one after the other. The first that gave up does all the work;
        # the bits do not depend on the number of threads.
        if not first_to_give_up(meeting):
            return
        shape, thread, n_threads = alone(shape), 0, 1
    momentum, decay, intercept_decay, intercept_gain = constants
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    features = features_of(shape, work, thread)
    arrays = shape.velocity, shape.average
    # Of a type of its own: a tuple of literal numbers would have the shares compiled once more.
    zero: Any = np.int64(0)
    n_batches, first = zero, zero
    while first < shape.n_order:
        batch = (first, min(first + shape.batch_size, shape.n_order))
        buffer = zero
        # A and B, tile by tile, whose halves of `partial` take turns.
        while first < batch[1]:
            tile = (first, min(first + TILE, batch[1]), buffer)
            logits_share(kind, shape, work, tile, mixture, thread)
            wait_for_all(meeting, n_threads)
            residual_share(kind, shape, work, tile, batch, thread)
            buffer = 1 - buffer
            first = tile[1]
        wait_for_all(meeting, n_threads)
        # C.
        loss = add_residuals(shape, work, batch[1] - batch[0], thread)
        change = (0.0, 0.0, 0.0)
        if shape.updates:
            rate, share = schedule[0, n_batches], schedule[1, n_batches]
            of_step, by_data = step_mixture(arrays, rate, share, momentum, nesterov, decay)
            mixture = after(of_step, mixture)
            if has_grown(mixture):
                make_values(kind, shape, work, mixture, features)
                mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
            change = coordinates(mixture, by_data)
            of_step, by_data = step_mixture(
                arrays, rate, share, momentum, nesterov, intercept_gain * intercept_decay
            )
            step_intercept(shape, work, of_step, by_data, intercept_gain, thread)
            if thread == 0:
                losses_out[n_batches] = loss
        elif thread == 0:
            losses_out[0] += loss
        n_batches += 1
        update_share(kind, shape, work, batch, features, change)
        if shape.updates and not shape.in_place:
            descend(shape, work, features, change)
        elif not shape.updates and n_batches % shape.flush_interval == 0:
            flush(shape, work, features)
        # Where threads share a slice, the weights that one changes in C another reads in A.
        if n_threads > shape.n_slices:
            wait_for_all(meeting, n_threads)
    if shape.updates:
        make_values(kind, shape, work, mixture, features)
    else:
        flush(shape, work, features)


@njit(**INNER)  # type: ignore[untyped-decorator]
def alone(shape: SparseShape) -> SparseShape:
    """Return the sizes of the same run on one thread."""
    return SparseShape(
        shape.d,
        shape.k,
        shape.k_padded,
        shape.lanes,
        shape.block,
        shape.block_bytes,
        shape.n_blocks,
        shape.size,
        shape.column_size,
        shape.n_slices,
        1,
        shape.n_order,
        shape.batch_size,
        shape.flush_interval,
        shape.feature_bytes,
        shape.velocity,
        shape.average,
        shape.updates,
        shape.in_place,
    )


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def run(
    share: int,
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    schedule: Any,
    constants: Any,
    nesterov: bool,
    losses_out: Any,
) -> None:
    """Work off all batches.

    ``share``: address of the compiled :func:`run_share`; ``schedule``: (2, steps), learning rates
    and shares of the average; ``constants``: momentum, decay, and decay and gain of the intercept;
    all float64; ``losses_out``: (steps,), or (1,) for the sum without updates.
    """
    launch(
        bind(share, kind, shape, work, schedule, constants, nesterov, losses_out), shape.n_threads
    )


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def pass_share(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    losses_out: Any,
    n_correct_out: Any,
    logits_out: Any,
    thread: int,
) -> None:
    """One thread's part of a pass: some tiles of rows."""
    n_tiles = len(losses_out)
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    partial = work.partial[0, thread].ctypes.data
    first_tile = n_tiles * thread // shape.n_threads
    stop_tile = n_tiles * (thread + 1) // shape.n_threads
    for tile in range(first_tile, stop_tile):
        first = tile * TILE
        n_rows = min(TILE, shape.n_order - first)
        for i in range(n_rows):
            row = first + i
            following = min(row + 1, shape.n_order - 1)
            segment = work.row_starts[row], work.row_starts[row + 1]
            ahead = work.row_starts[following], work.row_starts[following + 1]
            out = partial + i * shape.k_padded * shape.size
            write_logits(kind, shape, work, segment, ahead, mixture, out)
        rows = thread * TILE, thread * TILE + n_rows
        sum_logits(kind, shape, work, partial, 1, rows, first, 1.0, thread)
        for at in range(rows[0], rows[1]):
            row = first + at - rows[0]
            label = work.labels[row]
            n_correct_out[tile] += is_correct(shape, work.residual.T, at, label)
            if len(logits_out):
                for c in range(shape.k):
                    logits_out[row, c] = work.residual[at, c]
        cross_entropy(kind, shape, work, rows)
        for at in range(rows[0], rows[1]):
            losses_out[tile] += work.by_row[LOSSES, at]


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def one_pass(
    share: int,
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    losses_out: Any,
    n_correct_out: Any,
    logits_out: Any,
) -> None:
    """Go over all rows once; threads split the tiles.

    ``share``: address of the compiled :func:`pass_share`; ``losses_out`` and ``n_correct_out``:
    (tiles,); ``logits_out``: (n, k) or (0, 0).
    """
    launch(bind(share, kind, shape, work, losses_out, n_correct_out, logits_out), shape.n_threads)
