"""Where everything of a call on sparse rows lies: sizes, addresses, and the kernels' arrays.

Weights lie feature by feature, velocity and average of a feature next to them, so that a stored
value of a row touches one run of numbers. Slices of the features hold about as many stored values
each.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from fastlin.kernels.blocking import PARTS, SPARSE_PANEL
from fastlin.kernels.jit.memory import WORD_BYTES, array_at
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, row_at, samples_of
from fastlin.kernels.jit.sparse.tiles import column_at, touch_bytes
from fastlin.kernels.jit.team import slices_of

ROWS_OF_A_GROUP = 16
"""Threads share the rows of phase B by groups of this many: whole vectors and cache lines."""

ROWS_AHEAD = 3
"""Rows between the one at work and the one that is asked for from memory."""


class Shape(NamedTuple):
    """Sizes of a call; all int64."""

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


class Arguments(NamedTuple):
    """Where the arrays of a call lie, and a few numbers; all int64. ``T`` is the weights' type.

    An array that is absent has address 0. In memory the words of the :class:`Shape` come
    first, then these. ``state`` holds, of each feature, weights, velocity and average in the
    mixture's coordinates, those that there are one behind the other; ``Shape.velocity`` and
    ``average`` say which, and are 0 if there is none.
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
    partial: int  # (n_parts, SPARSE_PANEL, k_padded) T
    n_parts: int  # of a run: 2 * n_slices, since panels take turns; of a pass: n_threads
    residual: int  # (capacity, k_padded) T
    by_row: int  # (4, capacity) T: losses, row_weight, targets, largest
    capacity: int  # whole groups of rows: a batch's; a pass: n_threads panels
    is_class: int  # (k_padded,) T: 1 for a class, else 0
    intercept: int  # (n_threads, 3, k_padded) T: value, velocity, average
    residual_sum: int  # (n_threads, k_padded) float64
    barrier: int  # zeros: where the threads wait for each other
    stop: int  # (1,) int32: another thread sets it to have the kernel leave off
    schedule: int = 0  # (2, n_steps) float64: learning rates, rates of the average; a run
    n_steps: int = 0
    constants: int = 0  # (4,) float64: momentum, decay, and decay and gain of the intercept
    nesterov: int = 0
    losses: int = 0  # (n_steps,) float64; a pass: (n_panels,)
    n_panels: int = 0  # a pass, as below
    n_correct: int = 0  # (n_panels,) int64
    logits: int = 0  # (n_rows, k) T; if they are asked for, nothing else is computed


class Arrays(NamedTuple):
    """The arrays of :class:`Arguments`; all threads share them."""

    at: Arguments
    row_starts: Any
    samples: SampleArrays
    bounds: Any
    state: Any
    gain: Any
    gradient: Any
    gradient_out: Any
    partial: Any
    residual: Any
    by_row: Any
    is_class: Any


class Own(NamedTuple):
    """What a thread has for itself."""

    intercept: Any
    residual_sum: Any


LOSSES, ROW_WEIGHT, TARGETS, LARGEST = range(4)

ARGUMENTS_AT = WORD_BYTES * len(Shape._fields)


@inner
def shared_arrays(kind: Any, shape: Shape, arguments: Arguments) -> Arrays:
    """Return the arrays that all threads use."""
    d, k, k_padded = shape.d, shape.k, shape.k_padded
    return Arrays(
        arguments,
        array_at(numba.int64, arguments.row_starts, (shape.n_rows + 1,)),
        samples_of(shape, arguments),
        array_at(numba.int64, arguments.bounds, (shape.n_slices * PARTS + 1,)),
        array_at(kind, arguments.state, (d, arguments.n_arrays, k_padded)),
        array_at(kind, arguments.gain, (arguments.n_gain,)),
        array_at(kind, arguments.gradient, (d if arguments.gradient else 0, k_padded)),
        array_at(numba.float64, arguments.gradient_out, (k, d if arguments.gradient_out else 0)),
        array_at(kind, arguments.partial, (arguments.n_parts, SPARSE_PANEL, k_padded)),
        array_at(kind, arguments.residual, (arguments.capacity, k_padded)),
        array_at(kind, arguments.by_row, (4, arguments.capacity)),
        array_at(kind, arguments.is_class, (k_padded,)),
    )


@inner
def own_arrays(kind: Any, shape: Shape, arguments: Arguments, thread: int) -> Own:
    """Return a thread's part of each array that has one for every thread."""
    k_padded = shape.k_padded
    intercept = arguments.intercept + thread * 3 * k_padded * shape.size
    residual_sum = arguments.residual_sum + thread * k_padded * WORD_BYTES
    return Own(
        array_at(kind, intercept, (3, k_padded)),
        array_at(numba.float64, residual_sum, (k_padded,)),
    )


@inner
def features_of(shape: Shape, arrays: Arrays, thread: int, n_threads: int) -> tuple[int, int]:
    """Return the features of a thread in phase C."""
    first, stop, part, n_parts = slices_of(shape.n_slices, thread, n_threads)
    n = PARTS * (stop - first)
    first *= PARTS
    return arrays.bounds[first + n * part // n_parts], arrays.bounds[
        first + n * (part + 1) // n_parts
    ]


@inner
def first_from(kind: Any, shape: Shape, arrays: Arrays, start: int, stop: int, bound: int) -> int:
    """Return where in a row's stored values the features from ``bound`` on start."""
    if bound <= 0:
        return start
    if bound >= shape.d:
        return stop
    while start < stop:
        middle = (start + stop) >> 1
        below = column_at(kind, arrays.at.columns, middle) < bound
        start = middle + 1 if below else start
        stop = stop if below else middle
    return start


@inner
def segment_at(
    kind: Any, shape: Shape, arrays: Arrays, position: int, features: Any
) -> tuple[int, int]:
    """Return where the stored values of some features start and stop, in the row at a position."""
    row = row_at(arrays.samples, position)
    start, stop = arrays.row_starts[row], arrays.row_starts[row + 1]
    start = first_from(kind, shape, arrays, start, stop, features[0])
    return start, first_from(kind, shape, arrays, start, stop, features[1])


@inner
def touch_row(kind: Any, shape: Shape, arrays: Arrays, position: int) -> None:
    """Ask for what is stored of a row that comes soon, and where that of a later one starts."""
    last = shape.n_order - 1
    later = row_at(arrays.samples, min(position + ROWS_AHEAD, last))
    touch_bytes(kind, arrays.row_starts.ctypes.data + 8 * later, 1)
    row = row_at(arrays.samples, min(position, last))
    start, count = arrays.row_starts[row], arrays.row_starts[row + 1] - arrays.row_starts[row]
    touch_bytes(kind, arrays.at.columns + start * shape.column_size, count * shape.column_size)
    touch_bytes(kind, arrays.at.values + start * shape.size, count * shape.size)
