"""The loops of the Numba backend around the register tiles: tiles of rows, phases, threads.

The same three phases as the C backend's (``csrc/kernels.h``): A partial logits of each slice of
the features, B residual, C gradient and update. One ``prange`` starts the threads of a whole run;
they meet at a barrier of ours once a tile, since starting them takes as long as a phase. A barrier
needs all threads at once, which no threading layer promises: so they first wait a while for each
other, and where not all come, one of them does the whole work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
from numba import njit, prange

from fastlin.kernels.blocking import (
    MOST_SUMS,
    PANEL,
    RESIDUALS_OF_ONE,
    ROW_STEP,
    VECTORS_OF_A_BOUND,
)
from fastlin.kernels.jit.barrier import (
    all_came,
    decide_to_leave_off,
    first_to_give_up,
    leaves_off,
    told_to_stop,
    wait_for_all,
)
from fastlin.kernels.jit.dense.tiles import (
    N_POINTERS,
    add_logits,
    copy_bytes,
    descend,
    logit_tile,
    narrow_gradient_tile,
    shift_logit,
    sum_rows,
    wide_gradient_tile,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.loss import is_correct, sigmoid_loss, softmax_loss
from fastlin.kernels.jit.memory import WORD_BYTES, array_at, call_kernel, read_record
from fastlin.kernels.jit.options import OPTIONS, inlined, inner
from fastlin.kernels.jit.step import Rates, rates_of, step_intercept


class Shape(NamedTuple):
    """Sizes of a run; all int64. ``stride`` and ``row_size`` in bytes."""

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
    gradient: int  # packed T; a batch of several tiles
    gradient_sum: int  # packed float64; without updates
    features: int  # (2, n_vectors * lanes) T: shift, gain
    partial: int  # (2 * n_slices, k_padded, PANEL) T; a pass: (k_padded, PANEL) *
    offset: int  # (2 * n_slices, k_padded) T; a pass: (1, k_padded) *
    residual: int  # (k_padded, PANEL) T *
    by_row: int  # (4, PANEL) T *: losses, row_weight, targets, of_label
    pointers: int  # (2, N_POINTERS) int64 *
    short_rows: int  # (2, N_POINTERS, lanes) *; copies of rows of fewer features
    sums: int  # (MOST_SUMS * lanes,) T *
    residual_sum: int  # (k_padded,) T *
    residual_total: int  # (k_padded,) float64 *: the same over all batches, without updates
    intercept: int  # (3, k) T *: value, velocity, average
    states: int  # (2, 5) int64 *: this tile and the one before, see :func:`run`
    meeting: int  # zeros: where the threads wait for each other
    stop: int  # (1,) int32: another thread sets it to have the kernel leave off
    weight_digits: int = 0  # 4 bytes a packed weight; on a matrix unit, as all below
    weight_units: int = 0  # (n_slices, k_padded) T
    operands: int = 0  # (operand_bytes,) *
    operand_bytes: int = 0
    schedule: int = 0  # (2, n_steps) float64: learning rates, rates of the average; a run, as below
    n_steps: int = 0
    constants: int = 0  # (4,) float64: momentum, decay, decay and gain of the intercept
    nesterov: int = 0
    losses: int = 0  # (n_steps,) float64; a pass: (n_tiles,)
    logits_phase: int = 0  # the compiled phases
    residual_phase: int = 0
    gradient_phase: int = 0
    n_tiles: int = 0  # a pass, as below
    n_correct: int = 0  # (n_tiles,) int64
    logits: int = 0  # (n_order, k) T; if they are asked for, nothing else is computed


class Work(NamedTuple):
    """One thread's view of the :class:`Arguments`: its own part of each array that has one for it.

    What intrinsics alone touch stays an address: an array is seven values to compile.
    """

    rows: int
    order: Any
    labels: Any
    sample_weight: Any
    weights: int
    velocity: int
    average: int
    gradient: Any
    gradient_sum: Any
    features: int
    partial: int
    offset: Any
    residual: Any
    by_row: Any
    pointers: Any
    short_rows: int
    sums: Any
    residual_sum: Any
    residual_total: Any
    intercept: Any
    states: Any
    weight_digits: int
    weight_units: int
    operands: int


LOSSES, ROW_WEIGHT, TARGETS, OF_LABEL = range(4)
FIRST, N_ROWS, IS_FIRST, IS_LAST, BUFFER = range(5)

ARGUMENTS_AT = WORD_BYTES * len(Shape._fields)


@inner
def shares_residuals(shape: Shape, n_threads: int) -> bool:
    """Return whether the threads share phase B, instead of each doing all of it for itself."""
    return n_threads > 1 and shape.k_padded * PANEL > RESIDUALS_OF_ONE


@inner
def work_of_run(kind: Any, shape: Shape, arguments: Arguments, thread: int, n_threads: int) -> Work:
    """Return a thread's part of the arrays of a run."""
    # Where threads share phase B they share its arrays too; those then write the same numbers
    # wherever two of them write.
    owner = 0 if shares_residuals(shape, n_threads) else thread
    offset = array_at(kind, arguments.offset, (2 * shape.n_slices, shape.k_padded))
    return own_work(kind, shape, arguments, thread, owner, arguments.partial, offset)


@inner
def work_of_pass(kind: Any, shape: Shape, arguments: Arguments, thread: int) -> Work:
    """Return a thread's part of the arrays of a pass."""
    row_bytes = shape.k_padded * shape.size
    partial = arguments.partial + thread * row_bytes * PANEL
    offset = array_at(kind, arguments.offset + thread * row_bytes, (1, shape.k_padded))
    return own_work(kind, shape, arguments, thread, thread, partial, offset)


@inner
def own_work(
    kind: Any,
    shape: Shape,
    arguments: Arguments,
    thread: int,
    owner: int,
    partial: int,
    offset: Any,
) -> Work:
    """Return a thread's part of each array; ``owner``: whose residual and values by row it uses."""
    size, k_padded = shape.size, shape.k_padded
    short_bytes = 2 * N_POINTERS * shape.lanes * shape.row_size
    n_packed = k_padded * shape.n_vectors * shape.lanes
    n_sums = MOST_SUMS * shape.lanes
    return Work(
        arguments.rows,
        array_at(numba.int64, arguments.order, (shape.n_order if arguments.order else 0,)),
        array_at(numba.int32, arguments.labels, (shape.n_rows if arguments.labels else 0,)),
        array_at(
            numba.float64,
            arguments.sample_weight,
            (shape.n_rows if arguments.sample_weight else 0,),
        ),
        arguments.weights,
        arguments.velocity,
        arguments.average,
        array_at(kind, arguments.gradient, (n_packed if arguments.gradient else 0,)),
        array_at(
            numba.float64, arguments.gradient_sum, (n_packed if arguments.gradient_sum else 0,)
        ),
        arguments.features,
        partial,
        offset,
        array_at(kind, arguments.residual + owner * k_padded * PANEL * size, (k_padded, PANEL)),
        array_at(kind, arguments.by_row + owner * 4 * PANEL * size, (4, PANEL)),
        array_at(
            numba.int64,
            arguments.pointers + thread * 2 * N_POINTERS * WORD_BYTES,
            (2, N_POINTERS),
        ),
        arguments.short_rows + thread * short_bytes,
        array_at(kind, arguments.sums + thread * n_sums * size, (n_sums,)),
        array_at(kind, arguments.residual_sum + thread * k_padded * size, (k_padded,)),
        array_at(
            numba.float64, arguments.residual_total + thread * k_padded * WORD_BYTES, (k_padded,)
        ),
        array_at(kind, arguments.intercept + thread * 3 * shape.k * size, (3, shape.k)),
        array_at(numba.int64, arguments.states + thread * 2 * 5 * WORD_BYTES, (2, 5)),
        arguments.weight_digits,
        arguments.weight_units,
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
def gather(kind: Any, shape: Shape, work: Work, first: int, n_rows: int, which: int) -> None:
    """Note the addresses of a tile's rows; entries after the last repeat it."""
    for i in range(N_POINTERS):
        position = first + min(i, n_rows - 1)
        row = work.order[position] if len(work.order) else position
        work.pointers[which, i] = work.rows + row * shape.stride
        if shape.d < shape.lanes:
            at = (which * N_POINTERS + i) * shape.lanes * shape.row_size
            to = work.short_rows + at
            copy_bytes(kind, to, work.pointers[which, i], shape.d * shape.row_size)
            work.pointers[which, i] = to


@inner
def weigh(shape: Shape, work: Work, first: int, n_rows: int, divisor: float) -> None:
    """Note the factor of each row's loss, and for the sigmoid its target."""
    for i in range(PANEL):
        weight = 0.0
        if i < n_rows:
            row = work.order[first + i] if len(work.order) else first + i
            weight = 1.0 / divisor
            if len(work.sample_weight):
                weight = work.sample_weight[row] / divisor
            work.by_row[TARGETS, i] = work.labels[row]
        work.by_row[ROW_WEIGHT, i] = weight


@inner
def slice_logits(
    kind: Any,
    shape: Shape,
    work: Work,
    pointers: int,
    rows: tuple[int, int],
    vectors: tuple[int, int],
    out: int,
) -> None:
    """Phase A: partial logits of some rows of a tile from a run of feature vectors."""
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
                work.weights + at,
                out + (b * shape.block * PANEL + i) * shape.size,
            )
            i += shape.n_samples


@inner
def slice_offset(
    kind: Any, shape: Shape, work: Work, first_vector: int, stop_vector: int, part: int
) -> None:
    """Note what the shift takes off every class's logit, from a run of feature vectors."""
    if not shape.shifted:
        return
    vector_bytes = shape.lanes * shape.size
    shift = work.features + first_vector * vector_bytes
    for c in range(shape.k):
        b, in_block = c // shape.block, c % shape.block
        vector = (b * shape.n_vectors + first_vector) * shape.block + in_block
        at = work.weights + vector * vector_bytes
        work.offset[part, c] = shift_logit(kind, stop_vector - first_vector, at, shift)


def logits_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase A: whole slices, or some rows of one."""
    kind = this_kind()
    shape = read_record(Shape, data)
    work = work_of_run(kind, shape, read_record(Arguments, data + ARGUMENTS_AT), thread, n_threads)
    tile = work.states[0]
    first_slice, stop_slice = (
        shape.n_slices * thread // n_threads,
        shape.n_slices * (thread + 1) // n_threads,
    )
    part, n_parts = 0, 1
    if n_threads > shape.n_slices:
        first_slice, part, n_parts = part_of_slice(shape, thread, n_threads)
        stop_slice = first_slice + 1
    groups = (tile[N_ROWS] + ROW_STEP - 1) // ROW_STEP
    rows = (groups * part // n_parts * ROW_STEP, groups * (part + 1) // n_parts * ROW_STEP)
    pointers = work.pointers.ctypes.data + 8 * N_POINTERS * tile[BUFFER]
    slice_bytes = shape.k_padded * PANEL * shape.size
    for s in range(first_slice, stop_slice):
        vectors = (slice_bound(shape, s), slice_bound(shape, s + 1))
        buffered = tile[BUFFER] * shape.n_slices + s
        out = work.partial + buffered * slice_bytes
        slice_logits(kind, shape, work, pointers, rows, vectors, out)
        if part == 0:
            slice_offset(kind, shape, work, vectors[0], vectors[1], buffered)


@inner
def part_of_slice(shape: Shape, thread: int, n_threads: int) -> tuple[int, int, int]:
    """Return a thread's slice, its number among the threads of that slice, and their number."""
    s = thread * shape.n_slices // n_threads
    first = (s * n_threads + shape.n_slices - 1) // shape.n_slices
    stop = ((s + 1) * n_threads + shape.n_slices - 1) // shape.n_slices
    return s, thread - first, stop - first


@inner
def vectors_of(shape: Shape, thread: int, n_threads: int) -> tuple[int, int]:
    """Return the feature vectors of a thread's part of phase C."""
    if n_threads <= shape.n_slices:
        return (
            slice_bound(shape, shape.n_slices * thread // n_threads),
            slice_bound(shape, shape.n_slices * (thread + 1) // n_threads),
        )
    s, part, n_parts = part_of_slice(shape, thread, n_threads)
    first, stop = slice_bound(shape, s), slice_bound(shape, s + 1)
    size = stop - first
    return (
        first + size * part // n_parts // 2 * 2,
        stop if part + 1 == n_parts else first + size * (part + 1) // n_parts // 2 * 2,
    )


@inlined
def finish_gradient(
    kind: Any,
    shape: Shape,
    work: Work,
    tile: Any,
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
            work.gradient_sum[first + i] += sums[i]
        return
    if not tile[IS_FIRST]:
        for i in range(count):
            sums[i] += work.gradient[first + i]
    if not tile[IS_LAST]:
        for i in range(count):
            work.gradient[first + i] = sums[i]
        return
    vector_bytes = shape.lanes * shape.size
    row = work.features + vector * vector_bytes
    feature_bytes = shape.n_vectors * vector_bytes
    arrays = (
        work.weights,
        work.velocity,
        work.average,
    )
    descend(
        kind,
        n_wide * shape.block,
        sums.ctypes.data,
        first * shape.size,
        arrays,
        (row, row + feature_bytes),
        work.residual_sum.ctypes.data + b * shape.block * shape.size,
        (rates.learning_rate, rates.momentum, rates.average_rate, rates.decay),
        rates.nesterov,
    )


def gradient_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase C: the gradient of its features, and with the last tile the step.

    It works on the tile before the present one.
    """
    kind = this_kind()
    shape = read_record(Shape, data)
    arguments = read_record(Arguments, data + ARGUMENTS_AT)
    work = work_of_run(kind, shape, arguments, thread, n_threads)
    tile = work.states[1]
    n_rows = tile[N_ROWS]
    if n_rows == 0:  # before the first tile
        return
    rates = rates_of(arguments, tile[FIRST] // shape.batch_size)
    vector, stop_vector = vectors_of(shape, thread, n_threads)
    rows = work.pointers.ctypes.data + 8 * N_POINTERS * tile[BUFFER]
    next_rows = work.pointers.ctypes.data + 8 * N_POINTERS * (1 - tile[BUFFER])
    sums = work.sums
    while vector < stop_vector:
        wide = vector + shape.n_wide <= min(stop_vector, shape.n_aligned)
        n_here = shape.n_wide if wide else 1
        byte = column(shape, vector) * shape.row_size
        for b in range(shape.n_blocks):
            residual = work.residual.ctypes.data + b * shape.block * PANEL * shape.size
            if wide:
                wide_gradient_tile(kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data)
            else:
                narrow_gradient_tile(
                    kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data
                )
            finish_gradient(kind, shape, work, tile, rates, sums, vector, n_here, b)
        vector += n_here


@inner
def whole_logits(kind: Any, shape: Shape, work: Work, slices: tuple[int, int], group: int) -> None:
    """Phase B, first half: the logits of one vector of rows.

    ``slices``: the first of ``partial`` and their number.
    """
    first_slice, n_slices = slices
    first = group * shape.lanes
    rows, tile_bytes = first * shape.size, PANEL * shape.size
    for c in range(shape.k):
        constant = work.intercept[0, c]
        for s in range(n_slices):
            constant -= work.offset[first_slice + s, c]
        add_logits(
            kind,
            n_slices,
            shape.k_padded * tile_bytes,
            work.partial + (first_slice * shape.k_padded + c) * tile_bytes + rows,
            constant,
            work.residual.ctypes.data + c * tile_bytes + rows,
        )


@inner
def cross_entropy(kind: Any, shape: Shape, work: Work, n_rows: int, group: int) -> None:
    """Phase B, second half: the losses of one vector of rows, and their gradient by the logits."""
    first = group * shape.lanes
    stop = min(first + shape.lanes, n_rows)
    rows, tile_bytes = first * shape.size, PANEL * shape.size
    by_row = work.by_row.ctypes.data + rows
    residual = work.residual.ctypes.data + rows
    weight, losses = by_row + ROW_WEIGHT * tile_bytes, by_row + LOSSES * tile_bytes
    if shape.k == 1:
        sigmoid_loss(kind, residual, by_row + TARGETS * tile_bytes, weight, losses)
        return
    for i in range(first, stop):
        work.by_row[OF_LABEL, i] = work.residual[int(work.by_row[TARGETS, i]), i]
    softmax_loss(
        kind,
        shape.k,
        residual,
        by_row + OF_LABEL * tile_bytes,
        weight,
        losses,
    )
    for i in range(first, stop):
        work.residual[int(work.by_row[TARGETS, i]), i] -= work.by_row[ROW_WEIGHT, i]


def residual_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase B: some vectors of rows, or all of them."""
    kind = this_kind()
    shape = read_record(Shape, data)
    work = work_of_run(kind, shape, read_record(Arguments, data + ARGUMENTS_AT), thread, n_threads)
    tile = work.states[0]
    part, n_parts = 0, 1
    if shares_residuals(shape, n_threads):
        part, n_parts = thread, n_threads
    groups = (tile[N_ROWS] + shape.lanes - 1) // shape.lanes
    slices = (tile[BUFFER] * shape.n_slices, shape.n_slices)
    for group in range(groups * part // n_parts, groups * (part + 1) // n_parts):
        whole_logits(kind, shape, work, slices, group)
        cross_entropy(kind, shape, work, tile[N_ROWS], group)


@inner
def begin_tile(kind: Any, shape: Shape, work: Work, tile: Any) -> None:
    """Note the rows of the tile that starts at ``tile[FIRST]``; ``tile``: see :func:`run`."""
    first = tile[FIRST]
    batch_end = min((first // shape.batch_size + 1) * shape.batch_size, shape.n_order)
    tile[N_ROWS] = min(batch_end - first, PANEL)
    tile[IS_FIRST] = first % shape.batch_size == 0
    tile[IS_LAST] = first + tile[N_ROWS] == batch_end
    gather(kind, shape, work, first, tile[N_ROWS], tile[BUFFER])


@inner
def next_tile(kind: Any, shape: Shape, work: Work, tile: Any, previous: Any) -> None:
    """Make the next tile the present one."""
    for i in range(len(tile)):
        previous[i] = tile[i]
    tile[FIRST] += tile[N_ROWS]
    tile[BUFFER] = 1 - tile[BUFFER]
    if tile[FIRST] < shape.n_order:
        begin_tile(kind, shape, work, tile)


@inner
def weigh_tile(shape: Shape, work: Work, tile: Any) -> None:
    """Note the factors of a tile's losses: weights, over the size of the batch where it steps."""
    batch_first = tile[FIRST] // shape.batch_size * shape.batch_size
    batch_rows = min(shape.batch_size, shape.n_order - batch_first)
    weigh(shape, work, tile[FIRST], tile[N_ROWS], float(batch_rows) if shape.updates else 1.0)


@inner
def end_residual(
    kind: Any,
    shape: Shape,
    work: Work,
    tile: Any,
    arguments: Arguments,
    losses_out: Any,
    thread: int,
) -> None:
    """End phase B: sums over the tile's rows, and with the batch's last tile the intercept."""
    step = tile[FIRST] // shape.batch_size
    groups = (tile[N_ROWS] + shape.lanes - 1) // shape.lanes
    if thread == 0:
        of_tile = 0.0
        for i in range(tile[N_ROWS]):
            of_tile += work.by_row[LOSSES, i]
        losses_out[step] = of_tile if tile[IS_FIRST] else losses_out[step] + of_tile
    for c in range(shape.k):
        total = sum_rows(kind, work.residual.ctypes.data + c * PANEL * shape.size, groups)
        work.residual_sum[c] = total if tile[IS_FIRST] else work.residual_sum[c] + total
        work.residual_total[c] += total
    if shape.updates and tile[IS_LAST]:
        step_intercept(shape.k, work.intercept, work.residual_sum, rates_of(arguments, step))


def run(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a run: all batches, tile by tile and phase by phase.

    A tile is described by five int64: first position of the order, number of rows, whether it is
    the batch's first and last, and which buffer holds its rows' addresses and its partial logits.
    """
    kind = this_kind()
    shape = read_record(Shape, data)
    arguments = read_record(Arguments, data + ARGUMENTS_AT)
    meeting = arguments.meeting
    if n_threads > 1 and not all_came(meeting, n_threads):
        # The layer runs the parts one after the other. The first that gave up does all the work;
        # the bits do not depend on the number of threads.
        if not first_to_give_up(meeting):
            return
        thread, n_threads = 0, 1
    # Where threads share a slice, the weights that one changes in C another reads in A.
    apart = n_threads > shape.n_slices
    many = shares_residuals(shape, n_threads)
    work = work_of_run(kind, shape, arguments, thread, n_threads)
    losses_out = array_at(numba.float64, arguments.losses, (arguments.n_steps,))
    tile, previous = work.states[0], work.states[1]
    begin_tile(kind, shape, work, tile)
    while tile[FIRST] < shape.n_order:
        decide_to_leave_off(meeting, arguments.stop, thread, tile[FIRST])
        call_kernel(arguments.logits_phase, data, thread, n_threads)
        wait_for_all(meeting, n_threads)
        if leaves_off(meeting, tile[FIRST]):
            break
        weigh_tile(shape, work, tile)
        call_kernel(arguments.residual_phase, data, thread, n_threads)
        if many:
            wait_for_all(meeting, n_threads)
        end_residual(kind, shape, work, tile, arguments, losses_out, thread)
        next_tile(kind, shape, work, tile, previous)
        call_kernel(arguments.gradient_phase, data, thread, n_threads)
        if apart and previous[IS_LAST]:
            wait_for_all(meeting, n_threads)


@njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]  # numba is untyped
def start_threads(kernel: int, data: int, n_threads: int) -> None:
    """Let each thread run a kernel."""
    for thread in prange(n_threads):
        call_kernel(kernel, data, thread, n_threads)


def launch(kernel: int, data: int, n_threads: int) -> None:
    """Run a kernel on several threads; compiled, it is a kernel's kind of function itself."""
    start_threads(kernel, data, n_threads)


def one_pass(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a pass over all rows: some tiles of rows."""
    kind = this_kind()
    shape = read_record(Shape, data)
    arguments = read_record(Arguments, data + ARGUMENTS_AT)
    n_tiles = arguments.n_tiles
    losses_out = array_at(numba.float64, arguments.losses, (n_tiles,))
    n_correct_out = array_at(numba.int64, arguments.n_correct, (n_tiles,))
    logits_out = array_at(
        kind, arguments.logits, (shape.n_order if arguments.logits else 0, shape.k)
    )
    work = work_of_pass(kind, shape, arguments, thread)
    slice_offset(kind, shape, work, 0, shape.n_vectors, 0)
    for tile in range(n_tiles * thread // n_threads, n_tiles * (thread + 1) // n_threads):
        if told_to_stop(arguments.stop):
            break
        first = tile * PANEL
        n_rows = min(shape.n_order - first, PANEL)
        gather(kind, shape, work, first, n_rows, 0)
        rows = (0, (n_rows + ROW_STEP - 1) // ROW_STEP * ROW_STEP)
        vectors = (0, shape.n_vectors)
        slice_logits(kind, shape, work, work.pointers.ctypes.data, rows, vectors, work.partial)
        for group in range((n_rows + shape.lanes - 1) // shape.lanes):
            whole_logits(kind, shape, work, (0, 1), group)
        if len(logits_out):
            for i in range(n_rows):
                for c in range(shape.k):
                    logits_out[first + i, c] = work.residual[c, i]
            continue
        weigh(shape, work, first, n_rows, 1.0)
        for i in range(n_rows):
            n_correct_out[tile] += is_correct(shape.k, work.residual, i, work.labels[first + i])
        for group in range((n_rows + shape.lanes - 1) // shape.lanes):
            cross_entropy(kind, shape, work, n_rows, group)
        for i in range(n_rows):
            losses_out[tile] += work.by_row[LOSSES, i]
