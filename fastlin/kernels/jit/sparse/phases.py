"""The loops of the Numba backend over sparse rows: slices of the features, phases, threads.

A step has the same three phases as with dense rows (:mod:`.dense.phases`): A partial logits of each
slice of the features, B residual, C update. Slices hold about as many stored values each; a thread
keeps the same features in A and C, so their weights stay in its core's cache. In C each feature
gets its changes in the order of the rows, whatever the number of threads.

What steps do to the features that none of their rows stores is left to a :class:`.Mixture`; the
arrays are held in its coordinates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from fastlin.kernels.blocking import PARTS, SPARSE_PANEL
from fastlin.kernels.jit.barrier import (
    all_came,
    decide_to_leave_off,
    first_to_give_up,
    leaves_off,
    told_to_stop,
    wait_for_all,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.loss import is_correct, row_softmax, sigmoid_loss
from fastlin.kernels.jit.memory import WORD_BYTES, array_at, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.sparse.mixture import (
    Mixture,
    after,
    coordinates,
    has_grown,
    mixture_of,
    step_values,
)
from fastlin.kernels.jit.sparse.tiles import (
    add_products,
    column_at,
    mix,
    row_logits,
    segment_logits,
    touch_bytes,
    touch_segment,
)
from fastlin.kernels.jit.step import rates_of, step_intercept

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
    n_rows: int
    n_order: int
    batch_size: int
    flush_interval: int
    feature_bytes: int
    velocity: int
    average: int
    updates: int
    in_place: int


class SparseArguments(NamedTuple):
    """Where the arrays of a call lie, and a few numbers; all int64. ``T`` is the weights' type.

    An array that is absent has address 0. In memory the words of the :class:`SparseShape` come
    first, then these. ``state`` holds, of each feature, weights, velocity and average in the
    mixture's coordinates, those that there are one behind the other; ``SparseShape.velocity`` and
    ``average`` say which, and are 0 where there is none.
    """

    values: int  # the first
    columns: int  # the first
    row_starts: int  # (n_rows + 1,) int64
    order: int  # (n_order,) int64
    labels: int  # (n_rows,) int32
    sample_weight: int  # (n_rows,) float64
    bounds: int  # (n_slices * PARTS + 1,) int64: first feature of each part of each slice
    state: int  # (d, n_arrays, k_padded) T
    n_arrays: int
    gain: int  # (n_gain,) T
    n_gain: int  # d, or 1 if it is the same for all
    gradient: int  # (d, k_padded) T, zero between two sums; not in place
    gradient_out: int  # (k, d) float64; without updates
    partial: int  # (2, n_slices, SPARSE_PANEL, k_padded) T; a pass: 1, n_threads for 2, n_slices
    residual: int  # (capacity, k_padded) T
    by_row: int  # (4, capacity) T: losses, row_weight, targets, largest
    capacity: int  # whole groups of rows: a batch's; a pass: n_threads tiles
    is_class: int  # (k_padded,) T: 1 for a class, else 0
    intercept: int  # (n_threads, 3, k_padded) T: value, velocity, average
    residual_sum: int  # (n_threads, k_padded) float64
    meeting: int  # zeros: where the threads wait for each other
    stop: int  # (1,) int32: another thread sets it to have the kernel leave off
    schedule: int = 0  # (2, n_steps) float64: learning rates, rates of the average; a run
    n_steps: int = 0
    constants: int = 0  # (4,) float64: momentum, decay, and decay and gain of the intercept
    nesterov: int = 0
    losses: int = 0  # (n_steps,) float64; a pass: (n_tiles,)
    n_tiles: int = 0  # a pass, as below
    n_correct: int = 0  # (n_tiles,) int64
    logits: int = 0  # (n_rows, k) T; if they are asked for, nothing else is computed


class SparseWork(NamedTuple):
    """The arrays of :class:`SparseArguments`, as arrays."""

    values: int
    columns: int
    row_starts: Any
    order: Any
    labels: Any
    sample_weight: Any
    bounds: Any
    state: Any
    gain: Any
    gradient: Any
    gradient_out: Any
    partial: Any
    residual: Any
    by_row: Any
    is_class: Any
    intercept: Any
    residual_sum: Any


LOSSES, ROW_WEIGHT, TARGETS, LARGEST = range(4)

ARGUMENTS_AT = WORD_BYTES * len(SparseShape._fields)


@inner
def work_of(
    kind: Any, shape: SparseShape, arguments: SparseArguments, parts: Any, n_threads: int
) -> SparseWork:
    """Return the arrays of a call; ``parts``: the first two sizes of ``partial``."""
    d, k, k_padded = shape.d, shape.k, shape.k_padded
    return SparseWork(
        arguments.values,
        arguments.columns,
        array_at(numba.int64, arguments.row_starts, (shape.n_rows + 1,)),
        array_at(numba.int64, arguments.order, (shape.n_order if arguments.order else 0,)),
        array_at(numba.int32, arguments.labels, (shape.n_rows if arguments.labels else 0,)),
        array_at(
            numba.float64,
            arguments.sample_weight,
            (shape.n_rows if arguments.sample_weight else 0,),
        ),
        array_at(numba.int64, arguments.bounds, (shape.n_slices * PARTS + 1,)),
        array_at(kind, arguments.state, (d, arguments.n_arrays, k_padded)),
        array_at(kind, arguments.gain, (arguments.n_gain,)),
        array_at(kind, arguments.gradient, (d if arguments.gradient else 0, k_padded)),
        array_at(numba.float64, arguments.gradient_out, (k, d if arguments.gradient_out else 0)),
        array_at(kind, arguments.partial, (parts[0], parts[1], SPARSE_PANEL, k_padded)),
        array_at(kind, arguments.residual, (arguments.capacity, k_padded)),
        array_at(kind, arguments.by_row, (4, arguments.capacity)),
        array_at(kind, arguments.is_class, (k_padded,)),
        array_at(kind, arguments.intercept, (n_threads, 3, k_padded)),
        array_at(numba.float64, arguments.residual_sum, (n_threads, k_padded)),
    )


@inner
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


@inner
def part_of_slice(shape: SparseShape, thread: int, n_threads: int) -> tuple[int, int, int]:
    """Return a thread's slice, its number among the threads of that slice, and their number."""
    s = thread * shape.n_slices // n_threads
    first = (s * n_threads + shape.n_slices - 1) // shape.n_slices
    stop = ((s + 1) * n_threads + shape.n_slices - 1) // shape.n_slices
    return s, thread - first, stop - first


@inner
def features_of(
    shape: SparseShape, work: SparseWork, thread: int, n_threads: int
) -> tuple[int, int]:
    """Return the features of a thread in phase C."""
    n_slices = shape.n_slices
    first, stop = n_slices * thread // n_threads, n_slices * (thread + 1) // n_threads
    if n_threads <= n_slices:
        return work.bounds[first * PARTS], work.bounds[stop * PARTS]
    s, part, n_parts = part_of_slice(shape, thread, n_threads)
    return (
        work.bounds[s * PARTS + PARTS * part // n_parts],
        work.bounds[s * PARTS + PARTS * (part + 1) // n_parts],
    )


@inner
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


@inner
def row_at(work: SparseWork, position: int) -> int:
    """Return the row at a position of the order."""
    return work.order[position] if len(work.order) else position


@inner
def segment_at(
    kind: Any, shape: SparseShape, work: SparseWork, position: int, features: Any
) -> tuple[int, int]:
    """Return where the stored values of some features start and stop, in the row at a position."""
    row = row_at(work, position)
    start, stop = work.row_starts[row], work.row_starts[row + 1]
    start = first_from(kind, shape, work, start, stop, features[0])
    return start, first_from(kind, shape, work, start, stop, features[1])


@inner
def touch_row(kind: Any, shape: SparseShape, work: SparseWork, position: int) -> None:
    """Ask for what is stored of a row that comes soon, and where that of a later one starts."""
    last = shape.n_order - 1
    later = row_at(work, min(position + ROWS_AHEAD, last))
    touch_bytes(kind, work.row_starts.ctypes.data + 8 * later, 1)
    row = row_at(work, min(position, last))
    start, count = work.row_starts[row], work.row_starts[row + 1] - work.row_starts[row]
    touch_bytes(kind, work.columns + start * shape.column_size, count * shape.column_size)
    touch_bytes(kind, work.values + start * shape.size, count * shape.size)


@inner
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


@inner
def logits_phase(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    tile: Any,
    mixture: Mixture,
    thread: int,
    n_threads: int,
) -> None:
    """One thread's part of phase A: whole slices, or some rows of one.

    ``tile``: first and last position, and which half of ``partial`` to use.
    """
    n_slices = shape.n_slices
    first_slice, stop_slice = n_slices * thread // n_threads, n_slices * (thread + 1) // n_threads
    part, n_parts = 0, 1
    if n_threads > n_slices:
        first_slice, part, n_parts = part_of_slice(shape, thread, n_threads)
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


@inner
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
            kind, n_vectors, n_slices, SPARSE_PANEL * row_bytes, parts, intercept, out
        )
        weight = work.sample_weight[row] if len(work.sample_weight) else 1.0
        work.by_row[ROW_WEIGHT, at] = weight / divisor
        if len(work.labels):
            work.by_row[TARGETS, at] = work.labels[row]


@inner
def cross_entropy(kind: Any, shape: SparseShape, work: SparseWork, rows: tuple[int, int]) -> None:
    """Phase B, second half: the losses of some rows, and their gradients in place of the logits.

    The first row is that of a whole vector; the last vector of rows may reach beyond them.
    """
    n_vectors = shape.block * shape.n_blocks
    is_class = work.is_class.ctypes.data
    if shape.k == 1:
        by_row, of_array = work.by_row.ctypes.data, work.by_row.shape[1] * shape.size
        at = rows[0]
        while at < rows[1]:  # a range of steps of unknown size could raise
            here = at * shape.size
            sigmoid_loss(
                kind,
                work.residual.ctypes.data + here,
                by_row + TARGETS * of_array + here,
                by_row + ROW_WEIGHT * of_array + here,
                by_row + LOSSES * of_array + here,
            )
            at += shape.lanes
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


@inner
def residual_phase(
    kind: Any,
    shape: SparseShape,
    work: SparseWork,
    tile: Any,
    batch: Any,
    thread: int,
    n_threads: int,
) -> None:
    """One thread's part of phase B: some groups of a tile's rows; ``batch``: first and stop."""
    first, stop, buffer = tile
    divisor = float(batch[1] - batch[0]) if shape.updates else 1.0
    groups = (stop - first + GROUP - 1) // GROUP
    start = first + groups * thread // n_threads * GROUP
    stop = min(first + groups * (thread + 1) // n_threads * GROUP, stop)
    partial = work.partial[buffer, 0].ctypes.data
    partial += (start - first) * shape.k_padded * shape.size
    rows = start - batch[0], stop - batch[0]
    sum_logits(kind, shape, work, partial, shape.n_slices, rows, start, divisor, thread)
    cross_entropy(kind, shape, work, rows)


@inner
def factor_of(shape: SparseShape, change: tuple[float, float, float], array: int) -> float:
    """Return the part of a change that belongs to one of the arrays of the state."""
    if array == 0:
        return change[0]
    return change[1] if array == shape.velocity else change[2]


@inner
def update_phase(
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


@inner
def descend(shape: SparseShape, work: SparseWork, features: Any, change: Any) -> None:
    """Step with the gradients that were summed up for some features, which become zero."""
    for j in range(features[0], features[1]):
        gain = work.gain[j if len(work.gain) > 1 else 0]
        for array in range(work.state.shape[1]):
            factor = gain * factor_of(shape, change, array)
            for c in range(shape.k_padded):
                work.state[j, array, c] += factor * work.gradient[j, c]
        work.gradient[j] = 0


@inner
def flush(shape: SparseShape, work: SparseWork, features: Any) -> None:
    """Add the gradients that were summed up for some features to the result, and make them zero."""
    for first in range(features[0], features[1], FLUSHED_AT_ONCE):
        stop = min(first + FLUSHED_AT_ONCE, features[1])
        for c in range(shape.k):
            for j in range(first, stop):
                work.gradient_out[c, j] += work.gradient[j, c]
        work.gradient[first:stop] = 0


@inner
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


def run(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a run: all batches, tile by tile and phase by phase."""
    kind = this_kind()
    shape = read_record(SparseShape, data)
    arguments = read_record(SparseArguments, data + ARGUMENTS_AT)
    meeting = arguments.meeting
    if n_threads > 1 and not all_came(meeting, n_threads):
        # The layer runs the parts one after the other. The first that gave up does all the work;
        # the bits do not depend on the number of threads.
        if not first_to_give_up(meeting):
            return
        thread, n_threads = 0, 1
    work = work_of(kind, shape, arguments, (2, shape.n_slices), n_threads)
    losses_out = array_at(numba.float64, arguments.losses, (arguments.n_steps,))
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    features = features_of(shape, work, thread, n_threads)
    arrays = shape.velocity, shape.average
    # Of a type of its own: a tuple of literal numbers would have the phases compiled once more.
    zero: Any = np.int64(0)
    n_batches, first = zero, zero
    while first < shape.n_order:
        batch = (first, min(first + shape.batch_size, shape.n_order))
        buffer = zero
        # A and B, tile by tile, whose halves of `partial` take turns.
        while first < batch[1]:
            tile = (first, min(first + SPARSE_PANEL, batch[1]), buffer)
            decide_to_leave_off(meeting, arguments.stop, thread, first)
            logits_phase(kind, shape, work, tile, mixture, thread, n_threads)
            wait_for_all(meeting, n_threads)
            if leaves_off(meeting, first):
                break
            residual_phase(kind, shape, work, tile, batch, thread, n_threads)
            buffer = 1 - buffer
            first = tile[1]
        if first < batch[1]:  # left off
            break
        wait_for_all(meeting, n_threads)
        # C.
        loss = add_residuals(shape, work, batch[1] - batch[0], thread)
        change = (0.0, 0.0, 0.0)
        if shape.updates:
            rates = rates_of(arguments, n_batches)
            mixture = after(mixture_of(arrays, rates), mixture)
            if has_grown(mixture):
                make_values(kind, shape, work, mixture, features)
                mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
            change = coordinates(mixture, step_values(arrays, rates, (0.0, 0.0, 0.0), 1.0))
            step_intercept(shape.k, work.intercept[thread], work.residual_sum[thread], rates)
            if thread == 0:
                losses_out[n_batches] = loss
        elif thread == 0:
            losses_out[0] += loss
        n_batches += 1
        update_phase(kind, shape, work, batch, features, change)
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


def one_pass(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a pass over all rows: some tiles of rows."""
    kind = this_kind()
    shape = read_record(SparseShape, data)
    arguments = read_record(SparseArguments, data + ARGUMENTS_AT)
    n_tiles = arguments.n_tiles
    work = work_of(kind, shape, arguments, (1, n_threads), n_threads)
    losses_out = array_at(numba.float64, arguments.losses, (n_tiles,))
    n_correct_out = array_at(numba.int64, arguments.n_correct, (n_tiles,))
    logits_out = array_at(
        kind, arguments.logits, (shape.n_rows if arguments.logits else 0, shape.k)
    )
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    partial = work.partial[0, thread].ctypes.data
    first_tile = n_tiles * thread // n_threads
    stop_tile = n_tiles * (thread + 1) // n_threads
    for tile in range(first_tile, stop_tile):
        if told_to_stop(arguments.stop):
            break
        first = tile * SPARSE_PANEL
        n_rows = min(SPARSE_PANEL, shape.n_order - first)
        for i in range(n_rows):
            row = first + i
            following = min(row + 1, shape.n_order - 1)
            segment = work.row_starts[row], work.row_starts[row + 1]
            ahead = work.row_starts[following], work.row_starts[following + 1]
            out = partial + i * shape.k_padded * shape.size
            write_logits(kind, shape, work, segment, ahead, mixture, out)
        rows = thread * SPARSE_PANEL, thread * SPARSE_PANEL + n_rows
        sum_logits(kind, shape, work, partial, 1, rows, first, 1.0, thread)
        if len(logits_out):
            for at in range(rows[0], rows[1]):
                for c in range(shape.k):
                    logits_out[first + at - rows[0], c] = work.residual[at, c]
            continue
        for at in range(rows[0], rows[1]):
            label = work.labels[first + at - rows[0]]
            n_correct_out[tile] += is_correct(shape.k, work.residual.T, at, label)
        cross_entropy(kind, shape, work, rows)
        for at in range(rows[0], rows[1]):
            losses_out[tile] += work.by_row[LOSSES, at]
