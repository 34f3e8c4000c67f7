"""Where everything of a call on dense rows lies: sizes, addresses, and a thread's view of them.

Packed weights are ``[class block][feature vector][class in block][lane]``: what the innermost loop
reads next lies next. The last feature vector holds the last ``lanes`` features; the lanes that it
shares with the vector before are zero and stay zero, since their gain is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from fastlin.kernels.blocking import MOST_SUMS, PANEL, VECTORS_OF_A_BOUND
from fastlin.kernels.jit.dense.tiles import N_POINTERS
from fastlin.kernels.jit.memory import WORD_BYTES, array_at
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, samples_of
from fastlin.kernels.jit.team import slices_of


class Shape(NamedTuple):
    """Sizes of a call; all int64. ``stride`` and ``row_size`` in bytes."""

    d: int
    k: int
    n_vectors: int
    n_aligned: int
    n_slices: int
    block: int
    n_blocks: int
    k_padded: int
    lanes: int
    size: int
    row_size: int
    stride: int
    n_wide: int
    n_samples: int
    n_rows: int
    n_order: int
    batch_size: int
    updates: int
    shifted: int
    residual_shared: int


class Arguments(NamedTuple):
    """Where the arrays of a call lie, and a few numbers; all int64. ``T`` is the weights' type.

    An array that is absent has address 0. Of those with a star each thread has its own, one behind
    the other. In memory the words of the :class:`Shape` come first, then these.
    """

    rows: int  # the first row
    order: int  # (n_order,) int64
    labels: int  # (n_rows,) int32
    sample_weight: int  # (n_rows,) float64
    weights: int  # packed T
    velocity: int  # packed T
    average: int  # packed T
    gradient: int  # packed T; a batch of several panels
    gradient_sum: int  # packed float64; without updates
    features: int  # (2, n_vectors * lanes) T: shift, gain
    partial: int  # (n_parts, k_padded, PANEL) T
    offset: int  # (n_parts, k_padded) T: what the shift takes off the partial logits
    n_parts: int  # of a run: 2 * n_slices, for this panel and the one before; a pass: n_threads
    residual: int  # (k_padded, PANEL) T *
    by_row: int  # (4, PANEL) T *: losses, row_weight, targets, of_label
    pointers: int  # (2, N_POINTERS) int64 *
    short_rows: int  # (2, N_POINTERS, lanes) *; copies of rows of fewer features
    sums: int  # (MOST_SUMS * lanes,) T *
    residual_sum: int  # (k_padded,) T *
    residual_total: int  # (k_padded,) float64 *: the same over all batches, without updates
    intercept: int  # (3, k_padded) T *: value, velocity, average
    panels: int  # (2, 5) int64 *: this panel and the one before, see :mod:`.run`
    barrier: int  # zeros: where the threads wait for each other
    stop: int  # (1,) int32: another thread sets it to have the kernel leave off
    weight_digits: int = 0  # 4 bytes a packed weight; on a matrix unit, as all below
    weight_quanta: int = 0  # (n_slices, k_padded) T
    operands: int = 0  # (operand_bytes,) *
    operand_bytes: int = 0
    schedule: int = 0  # (2, n_steps) float64: learning rates, rates of the average; a run, as below
    n_steps: int = 0
    constants: int = 0  # (4,) float64: momentum, decay, decay and gain of the intercept
    nesterov: int = 0
    losses: int = 0  # (n_steps,) float64; a pass: (n_panels,)
    logits_phase: int = 0  # the compiled phases
    residual_phase: int = 0
    gradient_phase: int = 0
    n_panels: int = 0  # a pass, as below
    n_correct: int = 0  # (n_panels,) int64
    logits: int = 0  # (n_order, k) T; if they are asked for, nothing else is computed


class Shared(NamedTuple):
    """What all threads of a call read and write.

    What intrinsics alone touch stays an address in ``at``: an array is seven values to compile.
    """

    at: Arguments
    samples: SampleArrays
    gradient: Any
    gradient_sum: Any
    offset: Any


class Own(NamedTuple):
    """What a thread has for itself.

    Where threads share the residuals of a panel, each writes some rows of ``residual`` and of the
    losses, which are then those of thread 0.
    """

    residual: Any
    by_row: Any
    losses: int
    pointers: Any
    short_rows: int
    sums: Any
    residual_sum: Any
    residual_total: Any
    intercept: Any
    panels: Any
    operands: int


LOSSES, ROW_WEIGHT, TARGETS, OF_LABEL = range(4)
FIRST, N_ROWS, BEGINS_BATCH, ENDS_BATCH, BUFFER = range(5)

ARGUMENTS_AT = WORD_BYTES * len(Shape._fields)


@inner
def shared_arrays(kind: Any, shape: Shape, arguments: Arguments) -> Shared:
    """Return the arrays that all threads use."""
    n_packed = shape.k_padded * shape.n_vectors * shape.lanes
    n_sums = n_packed if arguments.gradient_sum else 0
    return Shared(
        arguments,
        samples_of(shape, arguments),
        array_at(kind, arguments.gradient, (n_packed if arguments.gradient else 0,)),
        array_at(numba.float64, arguments.gradient_sum, (n_sums,)),
        array_at(kind, arguments.offset, (arguments.n_parts, shape.k_padded)),
    )


@inner
def own_arrays(kind: Any, shape: Shape, arguments: Arguments, thread: int) -> Own:
    """Return a thread's part of each array that has one for every thread."""
    size, k_padded = shape.size, shape.k_padded
    owner = 0 if shape.residual_shared else thread
    by_row_bytes, losses_at = 4 * PANEL * size, LOSSES * PANEL * size
    short_bytes = 2 * N_POINTERS * shape.lanes * shape.row_size
    pointers = arguments.pointers + thread * 2 * N_POINTERS * WORD_BYTES
    total = arguments.residual_total + thread * k_padded * WORD_BYTES
    n_sums = MOST_SUMS * shape.lanes
    return Own(
        array_at(kind, arguments.residual + owner * k_padded * PANEL * size, (k_padded, PANEL)),
        array_at(kind, arguments.by_row + thread * by_row_bytes, (4, PANEL)),
        arguments.by_row + owner * by_row_bytes + losses_at,
        array_at(numba.int64, pointers, (2, N_POINTERS)),
        arguments.short_rows + thread * short_bytes,
        array_at(kind, arguments.sums + thread * n_sums * size, (n_sums,)),
        array_at(kind, arguments.residual_sum + thread * k_padded * size, (k_padded,)),
        array_at(numba.float64, total, (k_padded,)),
        array_at(kind, arguments.intercept + thread * 3 * k_padded * size, (3, k_padded)),
        array_at(numba.int64, arguments.panels + thread * 2 * 5 * WORD_BYTES, (2, 5)),
        arguments.operands + thread * arguments.operand_bytes,
    )


@inner
def slice_bound(shape: Shape, part: int) -> int:
    """Return the first feature vector of a slice."""
    if part >= shape.n_slices:
        return shape.n_vectors
    return shape.n_vectors * part // shape.n_slices // VECTORS_OF_A_BOUND * VECTORS_OF_A_BOUND


@inner
def column(shape: Shape, vector: int) -> int:
    """Return the first feature of a vector; the last one holds the last ``lanes`` features."""
    if vector < shape.n_vectors - 1 or shape.d < shape.lanes:
        return vector * shape.lanes
    return shape.d - shape.lanes


@inner
def vectors_of(shape: Shape, thread: int, n_threads: int) -> tuple[int, int]:
    """Return the feature vectors of a thread's part of phase C."""
    first_slice, stop_slice, part, n_parts = slices_of(shape.n_slices, thread, n_threads)
    first, stop = slice_bound(shape, first_slice), slice_bound(shape, stop_slice)
    size = stop - first
    return (
        first + size * part // n_parts // 2 * 2,
        stop if part + 1 == n_parts else first + size * (part + 1) // n_parts // 2 * 2,
    )
