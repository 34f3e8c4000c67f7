"""The loops of the Numba backend around the register tiles: tiles of rows, phases, threads.

The same three phases as the C backend's (``csrc/kernels.h``): A partial logits of each slice of
the features, B residual, C gradient and update. One ``prange`` starts the threads of a whole run;
they meet at a barrier of ours once a tile, since starting them takes as long as a phase. A barrier
needs all threads at once, which no threading layer promises: so they first wait a while for each
other, and where not all come, one of them does the whole work.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit, prange

from fastlin.kernels.meeting import all_came, first_to_give_up, wait_for_all
from fastlin.kernels.tiles import (
    GROUP,
    N_POINTERS,
    TILE,
    add_logits,
    bind,
    copy_bytes,
    descend,
    invoke,
    logit_tile,
    narrow_gradient_tile,
    shift_logit,
    sigmoid_loss,
    softmax_loss,
    sum_rows,
    wide_gradient_tile,
)

# Of fastmath only what lets a product and a sum be rounded once, as the other backends do: nan and
# infinity keep their meaning (a diverging loss must be seen), and sums keep their order (the same
# bits on every run).
FASTMATH = {"contract"}
OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "fastmath": FASTMATH,
    "error_model": "numpy",
    # No array is made here, and the caller holds those that are passed. Counting references to
    # them would let the threads fight for the counters at every call.
    "_nrt": False,
}
# Functions that are called by their address: Python need not be able to.
SHARE = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
# Functions that only these loops call: each is part of its caller's entry in the cache.
INNER = {**SHARE, "cache": False}

SERIAL_RESIDUALS = 8192
"""Logits of a tile up to which one thread does phase B sooner than several are started."""


class Shape(NamedTuple):
    """Sizes of a run; all int64. ``stride`` and ``row_size`` in bytes."""

    d: int
    k: int
    n_vectors: int
    n_aligned: int
    n_slices: int
    n_threads: int
    block: int
    n_blocks: int
    k_padded: int
    lanes: int
    size: int
    row_size: int
    stride: int
    n_wide: int
    n_samples: int
    n_order: int
    batch_size: int
    updates: bool
    shifted: bool


class Work(NamedTuple):
    """Arrays of a run; ``T`` is the weights' type. Absent ones are empty, or have address 0.

    Of those with a star each thread has its own, one behind the other; see :func:`own_work`. What
    intrinsics alone touch is given by its address: an array is seven values to pass and to compile.
    """

    rows: int  # address of the first row
    order: Any  # (n_order,) int64
    labels: Any  # (n,) int32
    sample_weight: Any  # (n,) float64 or (0,)
    weights: int  # address of packed T
    velocity: int  # address of packed T
    average: int  # address of packed T
    gradient: Any  # packed T; a batch of several tiles
    gradient_sum: Any  # packed float64; without updates
    features: int  # address of (3, n_vectors * lanes) T: shift, decay, gain
    partial: int  # address of (2 * n_slices, k_padded, TILE) T; a pass: (k_padded, TILE) *
    offset: Any  # (2 * n_slices, k_padded) T; a pass: (1, k_padded) *
    residual: Any  # (k_padded, TILE) T *
    by_row: Any  # (4, TILE) T *: losses, row_weight, targets, of_label
    pointers: Any  # (2, N_POINTERS) int64 *
    short_rows: int  # address of (2, N_POINTERS, lanes) *; copies of rows of fewer features
    sums: Any  # (n_threads, 24 * lanes) T
    residual_sum: Any  # (k_padded,) T *
    residual_total: Any  # (k_padded,) float64 *: the same over all batches, without updates
    intercept: Any  # (3, k) T *: value, velocity, average
    states: Any  # (2, 5) int64 *: this tile and the one before, see :func:`run`
    factors: Any  # (3,) T *: learning rate, momentum and share of the average of a step
    meeting: int  # address of zeros: where the threads wait for each other
    weight_digits: int  # address of 4 bytes a packed weight; on a matrix unit, as all below
    weight_units: int  # address of (n_slices, k_padded) T
    operands: int  # address of (n_threads, operand_bytes)
    operand_bytes: int


LOSSES, ROW_WEIGHT, TARGETS, OF_LABEL = range(4)
FIRST, N_ROWS, IS_FIRST, IS_LAST, BUFFER = range(5)


@njit(**INNER)  # type: ignore[untyped-decorator]  # numba is untyped, here and below
def slice_bound(shape: Shape, part: int) -> int:
    """Return the first feature vector of a slice."""
    if part >= shape.n_slices:
        return shape.n_vectors
    return shape.n_vectors * part // shape.n_slices // 8 * 8


@njit(**INNER)  # type: ignore[untyped-decorator]
def column(shape: Shape, vector: int) -> int:
    """Return the first feature of a vector; the last one holds the last ``lanes`` features."""
    if vector < shape.n_vectors - 1 or shape.d < shape.lanes:
        return vector * shape.lanes
    return shape.d - shape.lanes


@njit(**INNER)  # type: ignore[untyped-decorator]
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


@njit(**INNER)  # type: ignore[untyped-decorator]
def weigh(shape: Shape, work: Work, first: int, n_rows: int, divisor: float) -> None:
    """Note the factor of each row's loss, and for the sigmoid its target."""
    for i in range(TILE):
        weight = 0.0
        if i < n_rows:
            row = work.order[first + i] if len(work.order) else first + i
            weight = 1.0 / divisor
            if len(work.sample_weight):
                weight = work.sample_weight[row] / divisor
            work.by_row[TARGETS, i] = work.labels[row]
        work.by_row[ROW_WEIGHT, i] = weight


@njit(**INNER)  # type: ignore[untyped-decorator]
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
        for i in range(rows[0], rows[1], shape.n_samples):
            logit_tile(
                kind,
                pointers + 8 * i,
                start,
                n_full,
                tail,
                work.weights + at,
                out + (b * shape.block * TILE + i) * shape.size,
            )


@njit(**INNER)  # type: ignore[untyped-decorator]
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


@njit(**SHARE)  # type: ignore[untyped-decorator]
def logits_share(kind: Any, shape: Shape, work: Work, tile: Any, thread: int) -> None:
    """One thread's part of phase A: whole slices, or some rows of one."""
    first_slice, stop_slice = (
        shape.n_slices * thread // shape.n_threads,
        shape.n_slices * (thread + 1) // shape.n_threads,
    )
    part, n_parts = 0, 1
    if shape.n_threads > shape.n_slices:
        first_slice, part, n_parts = part_of_slice(shape, thread)
        stop_slice = first_slice + 1
    groups = (tile[N_ROWS] + GROUP - 1) // GROUP
    rows = (groups * part // n_parts * GROUP, groups * (part + 1) // n_parts * GROUP)
    pointers = work.pointers.ctypes.data + 8 * N_POINTERS * tile[BUFFER]
    slice_bytes = shape.k_padded * TILE * shape.size
    for s in range(first_slice, stop_slice):
        vectors = (slice_bound(shape, s), slice_bound(shape, s + 1))
        buffered = tile[BUFFER] * shape.n_slices + s
        out = work.partial + buffered * slice_bytes
        slice_logits(kind, shape, work, pointers, rows, vectors, out)
        if part == 0:
            slice_offset(kind, shape, work, vectors[0], vectors[1], buffered)


@njit(**INNER)  # type: ignore[untyped-decorator]
def part_of_slice(shape: Shape, thread: int) -> tuple[int, int, int]:
    """Return a thread's slice, its number among the threads of that slice, and their number."""
    s = thread * shape.n_slices // shape.n_threads
    first = (s * shape.n_threads + shape.n_slices - 1) // shape.n_slices
    stop = ((s + 1) * shape.n_threads + shape.n_slices - 1) // shape.n_slices
    return s, thread - first, stop - first


@njit(**INNER)  # type: ignore[untyped-decorator]
def vectors_of(shape: Shape, thread: int) -> tuple[int, int]:
    """Return the feature vectors of a thread's part of phase C."""
    if shape.n_threads <= shape.n_slices:
        return (
            slice_bound(shape, shape.n_slices * thread // shape.n_threads),
            slice_bound(shape, shape.n_slices * (thread + 1) // shape.n_threads),
        )
    s, part, n_parts = part_of_slice(shape, thread)
    first, stop = slice_bound(shape, s), slice_bound(shape, s + 1)
    size = stop - first
    return (
        first + size * part // n_parts // 2 * 2,
        stop if part + 1 == n_parts else first + size * (part + 1) // n_parts // 2 * 2,
    )


@njit(forceinline=True, **INNER)  # type: ignore[untyped-decorator]
def finish_gradient(
    kind: Any,
    shape: Shape,
    work: Work,
    tile: Any,
    factors: Any,
    nesterov: bool,
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
        (row, row + feature_bytes, row + 2 * feature_bytes),
        work.residual_sum.ctypes.data + b * shape.block * shape.size,
        (factors[0], factors[1], factors[2]),
        nesterov,
    )


@njit(**SHARE)  # type: ignore[untyped-decorator]
def gradient_share(
    kind: Any, shape: Shape, work: Work, tile: Any, factors: Any, nesterov: bool, thread: int
) -> None:
    """One thread's part of phase C: the gradient of its features, and with the last tile the step.

    ``factors``: (3,) T, learning rate, momentum and share of the average.
    """
    n_rows = tile[N_ROWS]
    if n_rows == 0:  # before the first tile
        return
    vector, stop_vector = vectors_of(shape, thread)
    rows = work.pointers.ctypes.data + 8 * N_POINTERS * tile[BUFFER]
    next_rows = work.pointers.ctypes.data + 8 * N_POINTERS * (1 - tile[BUFFER])
    sums = work.sums[thread]
    while vector < stop_vector:
        wide = vector + shape.n_wide <= min(stop_vector, shape.n_aligned)
        n_here = shape.n_wide if wide else 1
        byte = column(shape, vector) * shape.row_size
        for b in range(shape.n_blocks):
            residual = work.residual.ctypes.data + b * shape.block * TILE * shape.size
            if wide:
                wide_gradient_tile(kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data)
            else:
                narrow_gradient_tile(
                    kind, rows, next_rows, byte, n_rows, residual, sums.ctypes.data
                )
            finish_gradient(kind, shape, work, tile, factors, nesterov, sums, vector, n_here, b)
        vector += n_here


@njit(**INNER)  # type: ignore[untyped-decorator]
def whole_logits(kind: Any, shape: Shape, work: Work, slices: tuple[int, int], group: int) -> None:
    """Phase B, first half: the logits of one vector of rows.

    ``slices``: the first of ``partial`` and their number.
    """
    first_slice, n_slices = slices
    first = group * shape.lanes
    rows, tile_bytes = first * shape.size, TILE * shape.size
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


@njit(**INNER)  # type: ignore[untyped-decorator]
def cross_entropy(kind: Any, shape: Shape, work: Work, n_rows: int, group: int) -> None:
    """Phase B, second half: the losses of one vector of rows, and their gradient by the logits."""
    first = group * shape.lanes
    stop = min(first + shape.lanes, n_rows)
    rows, tile_bytes = first * shape.size, TILE * shape.size
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


@njit(**INNER)  # type: ignore[untyped-decorator]
def step_intercept(
    shape: Shape, work: Work, factors: Any, decay: Any, gain: Any, nesterov: bool
) -> None:
    """Step with the intercept's gradient."""
    rate, momentum, share = factors[0], factors[1], factors[2]
    values, velocities, averages = work.intercept[0], work.intercept[1], work.intercept[2]
    for c in range(shape.k):
        gradient = gain * (work.residual_sum[c] + decay * values[c])
        direction = gradient
        if work.velocity:
            velocities[c] = momentum * velocities[c] + gradient
            direction = gradient + momentum * velocities[c] if nesterov else velocities[c]
        values[c] -= rate * direction
        if work.average:
            averages[c] += share * (values[c] - averages[c])


@njit(**SHARE)  # type: ignore[untyped-decorator]
def residual_share(
    kind: Any, shape: Shape, work: Work, tile: Any, n_threads: int, thread: int
) -> None:
    """One thread's part of phase B: some vectors of rows."""
    groups = (tile[N_ROWS] + shape.lanes - 1) // shape.lanes
    slices = (tile[BUFFER] * shape.n_slices, shape.n_slices)
    for group in range(groups * thread // n_threads, groups * (thread + 1) // n_threads):
        whole_logits(kind, shape, work, slices, group)
        cross_entropy(kind, shape, work, tile[N_ROWS], group)


@njit(**INNER)  # type: ignore[untyped-decorator]
def begin_tile(kind: Any, shape: Shape, work: Work, tile: Any) -> None:
    """Note the rows of the tile that starts at ``tile[FIRST]``; ``tile``: see :func:`run`."""
    first = tile[FIRST]
    batch_end = min((first // shape.batch_size + 1) * shape.batch_size, shape.n_order)
    tile[N_ROWS] = min(batch_end - first, TILE)
    tile[IS_FIRST] = first % shape.batch_size == 0
    tile[IS_LAST] = first + tile[N_ROWS] == batch_end
    gather(kind, shape, work, first, tile[N_ROWS], tile[BUFFER])


@njit(**INNER)  # type: ignore[untyped-decorator]
def next_tile(kind: Any, shape: Shape, work: Work, tile: Any, previous: Any) -> None:
    """Make the next tile the present one."""
    for i in range(len(tile)):
        previous[i] = tile[i]
    tile[FIRST] += tile[N_ROWS]
    tile[BUFFER] = 1 - tile[BUFFER]
    if tile[FIRST] < shape.n_order:
        begin_tile(kind, shape, work, tile)


@njit(**INNER)  # type: ignore[untyped-decorator]
def weigh_tile(shape: Shape, work: Work, tile: Any) -> None:
    """Note the factors of a tile's losses: weights, over the size of the batch where it steps."""
    batch_first = tile[FIRST] // shape.batch_size * shape.batch_size
    batch_rows = min(shape.batch_size, shape.n_order - batch_first)
    weigh(shape, work, tile[FIRST], tile[N_ROWS], float(batch_rows) if shape.updates else 1.0)


@njit(**INNER)  # type: ignore[untyped-decorator]
def end_residual(
    kind: Any,
    shape: Shape,
    work: Work,
    tile: Any,
    factors: Any,
    schedule: Any,
    constants: Any,
    nesterov: bool,
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
        total = sum_rows(kind, work.residual.ctypes.data + c * TILE * shape.size, groups)
        work.residual_sum[c] = total if tile[IS_FIRST] else work.residual_sum[c] + total
        work.residual_total[c] += total
    if not shape.updates:
        return
    factors[0], factors[1], factors[2] = schedule[0, step], constants[0], schedule[1, step]
    if tile[IS_LAST]:
        step_intercept(shape, work, factors, constants[1], constants[2], nesterov)


@njit(**SHARE)  # type: ignore[untyped-decorator]
def run_share(
    shares: Any,
    kind: Any,
    shape: Shape,
    works: Work,
    schedule: Any,
    constants: Any,
    nesterov: bool,
    losses_out: Any,
    thread: int,
) -> None:
    """One thread's part of a run, of all its tiles and phases; see :func:`run`."""
    meeting = works.meeting
    if shape.n_threads > 1 and not all_came(meeting, shape.n_threads):
        # The layer runs the parts one after the other. The first that gave up does all the work;
        # the bits do not depend on the number of threads.
        if not first_to_give_up(meeting):
            return
        shape, thread = alone(shape), 0
    n_threads = shape.n_threads
    # Where threads share a slice, the weights that one changes in C another reads in A.
    apart = n_threads > shape.n_slices
    many = n_threads > 1 and shape.k_padded * TILE > SERIAL_RESIDUALS
    own = own_work(shape, works, thread, 0 if many else thread, works.partial, works.offset)
    tile, previous, factors = own.states[0], own.states[1], own.factors
    logits = bind(shares[0], kind, shape, own, tile)
    residual = bind(shares[1], kind, shape, own, tile, n_threads if many else 1)
    gradient = bind(shares[2], kind, shape, own, previous, factors, nesterov)
    begin_tile(kind, shape, own, tile)
    while tile[FIRST] < shape.n_order:
        invoke(logits, thread)
        wait_for_all(meeting, n_threads)
        weigh_tile(shape, own, tile)
        invoke(residual, thread if many else 0)
        if many:
            wait_for_all(meeting, n_threads)
        end_residual(
            kind, shape, own, tile, factors, schedule, constants, nesterov, losses_out, thread
        )
        next_tile(kind, shape, own, tile, previous)
        invoke(gradient, thread)
        if apart and previous[IS_LAST]:
            wait_for_all(meeting, n_threads)


@njit(**INNER)  # type: ignore[untyped-decorator]
def alone(shape: Shape) -> Shape:
    """Return the sizes of the same run on one thread."""
    return Shape(
        shape.d,
        shape.k,
        shape.n_vectors,
        shape.n_aligned,
        shape.n_slices,
        1,
        shape.block,
        shape.n_blocks,
        shape.k_padded,
        shape.lanes,
        shape.size,
        shape.row_size,
        shape.stride,
        shape.n_wide,
        shape.n_samples,
        shape.n_order,
        shape.batch_size,
        shape.updates,
        shape.shifted,
    )


@njit(parallel=True, **SHARE)  # type: ignore[untyped-decorator]
def start_threads(bound: Any, n_threads: int) -> None:
    """Let each thread do its part of a bound function."""
    for thread in prange(n_threads):
        invoke(bound, thread)


@njit(**INNER)  # type: ignore[untyped-decorator]
def launch(bound: Any, n_threads: int) -> None:
    """Run a bound function on some threads; on one without starting any."""
    if n_threads > 1:
        start_threads(bound, n_threads)
    else:
        invoke(bound, 0)


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def run(
    share: int,
    shares: Any,
    kind: Any,
    shape: Shape,
    works: Work,
    schedule: Any,
    constants: Any,
    nesterov: bool,
    losses_out: Any,
) -> None:
    """Work off all batches.

    ``share``: address of the compiled :func:`run_share`; ``shares``: those of the phases
    :func:`logits_share`, :func:`residual_share` and :func:`gradient_share`; ``schedule``:
    (2, steps) T, learning rates and shares of the average; ``constants``: (3,) T, momentum, decay
    and gain of the intercept; ``losses_out``: (steps,). A tile is described by five int64: first
    position of the order, number of rows, whether it is the batch's first and last, and which
    buffer holds its rows' addresses and its partial logits.
    """
    bound = bind(share, shares, kind, shape, works, schedule, constants, nesterov, losses_out)
    launch(bound, shape.n_threads)


@njit(**INNER)  # type: ignore[untyped-decorator]
def is_correct(shape: Shape, logits: Any, row: int, label: int) -> bool:
    """Return whether a label has the first of the largest logits; ``logits``: [class][row]."""
    if shape.k == 1:
        return bool((logits[0, row] > 0) == (label == 1))
    of_label = logits[label, row]
    for c in range(shape.k):
        if logits[c, row] > of_label or (c < label and logits[c, row] == of_label):
            return False
    return True


@njit(**SHARE)  # type: ignore[untyped-decorator]
def pass_share(
    kind: Any,
    shape: Shape,
    works: Work,
    losses_out: Any,
    n_correct_out: Any,
    logits_out: Any,
    thread: int,
) -> None:
    """One thread's part of a pass: some tiles of rows."""
    partial = works.partial + thread * shape.k_padded * TILE * shape.size
    offset = works.offset[thread : thread + 1]
    work = own_work(shape, works, thread, thread, partial, offset)
    slice_offset(kind, shape, work, 0, shape.n_vectors, 0)
    n_tiles = len(losses_out)
    first_tile, stop_tile = (
        n_tiles * thread // shape.n_threads,
        n_tiles * (thread + 1) // shape.n_threads,
    )
    for tile in range(first_tile, stop_tile):
        first = tile * TILE
        n_rows = min(shape.n_order - first, TILE)
        gather(kind, shape, work, first, n_rows, 0)
        rows = (0, (n_rows + GROUP - 1) // GROUP * GROUP)
        vectors = (0, shape.n_vectors)
        slice_logits(kind, shape, work, work.pointers.ctypes.data, rows, vectors, partial)
        weigh(shape, work, first, n_rows, 1.0)
        for group in range((n_rows + shape.lanes - 1) // shape.lanes):
            whole_logits(kind, shape, work, (0, 1), group)
        for i in range(n_rows):
            n_correct_out[tile] += is_correct(shape, work.residual, i, work.labels[first + i])
            if len(logits_out):
                for c in range(shape.k):
                    logits_out[first + i, c] = work.residual[c, i]
        for group in range((n_rows + shape.lanes - 1) // shape.lanes):
            cross_entropy(kind, shape, work, n_rows, group)
        for i in range(n_rows):
            losses_out[tile] += work.by_row[LOSSES, i]


@njit(**OPTIONS)  # type: ignore[untyped-decorator]
def one_pass(
    share: int,
    kind: Any,
    shape: Shape,
    works: Any,
    losses_out: Any,
    n_correct_out: Any,
    logits_out: Any,
) -> None:
    """Go over all rows once; threads split the tiles.

    ``share``: address of the compiled :func:`pass_share`; ``works`` holds the arrays of all
    threads, see :func:`own_work`. ``losses_out`` and ``n_correct_out``: (tiles,); ``logits_out``:
    (n, k) or (0, 0).
    """
    bound = bind(share, kind, shape, works, losses_out, n_correct_out, logits_out)
    launch(bound, shape.n_threads)


@njit(**INNER)  # type: ignore[untyped-decorator]
def own_work(
    shape: Shape, works: Work, thread: int, residual: int, partial: int, offset: Any
) -> Work:
    """Return one thread's work: its own part of each array that has one for each thread.

    ``residual``: whose residual and values by row it uses. Threads that share those write the same
    numbers wherever two of them write.
    """
    short_bytes = 2 * N_POINTERS * shape.lanes * shape.row_size
    k_padded = shape.k_padded
    return Work(
        works.rows,
        works.order,
        works.labels,
        works.sample_weight,
        works.weights,
        works.velocity,
        works.average,
        works.gradient,
        works.gradient_sum,
        works.features,
        partial,
        offset,
        works.residual[residual * k_padded : (residual + 1) * k_padded],
        works.by_row[4 * residual : 4 * (residual + 1)],
        works.pointers[2 * thread : 2 * (thread + 1)],
        works.short_rows + thread * short_bytes,
        works.sums,
        works.residual_sum[k_padded * thread : k_padded * (thread + 1)],
        works.residual_total[k_padded * thread : k_padded * (thread + 1)],
        works.intercept[3 * thread : 3 * (thread + 1)],
        works.states[2 * thread : 2 * (thread + 1)],
        works.factors[3 * thread : 3 * (thread + 1)],
        works.meeting,
        works.weight_digits,
        works.weight_units,
        works.operands,
        works.operand_bytes,
    )
