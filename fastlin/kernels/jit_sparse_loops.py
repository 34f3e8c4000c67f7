"""The loops of the Numba backend over sparse rows: slices of the features, phases, threads.

A step has the same three phases as with dense rows (:mod:`.jit_loops`): A partial logits of each
slice of the features, B residual, C update. Slices hold about as many stored values each; a thread
keeps the same features in A and C, so their weights stay in its core's cache. In C each feature
gets its changes in the order of the rows, whatever the number of threads.

What a step does to the features that none of its rows stores is the same linear map for all of
them, of a feature's weights, velocity and average. So it is done to a :class:`Mixture` instead, and
the three are held in coordinates in which it is the identity: Bottou, "Stochastic gradient descent
tricks" (2012), section 5.1, for the penalty alone.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from fastlin.kernels.jit_loops import INNER, OPTIONS, is_correct, launch
from fastlin.kernels.meeting import all_came, first_to_give_up, wait_for_all
from fastlin.kernels.sparse_tiles import (
    column_at,
    row_logits,
    row_softmax,
    segment_logits,
    segment_step,
    segment_sum,
    touch_bytes,
    touch_segment,
)
from fastlin.kernels.tiles import bind, sigmoid_loss

TILE = 256
"""Rows between two meetings of the threads at most, so that partial logits stay in the cache."""

PARTS = 16
"""Ranges of features in a slice, which threads share where there are more of them than slices."""

ROWS_APART = 16
"""Rows between those of two threads in a pass, so that each has cache lines of its own."""

GROWTH = 64.0
"""How much the coordinates may grow by a mixture before they are made values again."""


class SparseShape(NamedTuple):
    """Sizes of a run; all int64."""

    d: int
    k: int
    k_padded: int
    lanes: int
    block: int
    n_blocks: int
    size: int
    column_size: int
    n_slices: int
    n_threads: int
    n_order: int
    batch_size: int
    velocity: int
    average: int
    updates: bool


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
    gradient_sum: Any  # (d, k_padded) float64; without updates
    partial: Any  # (2, n_slices, TILE, k_padded) T
    residual: Any  # (rows, k_padded) T
    losses: Any  # (rows,) T
    is_class: Any  # (k_padded,) T: 1 for a class, else 0
    intercept: Any  # (n_threads, 3, k_padded) T: value, velocity, average
    scalars: Any  # (n_threads, a cache line) T: label and weight of a row
    residual_sum: Any  # (n_threads, k_padded) float64
    meeting: Any  # (n_words,) int32, zero: where the threads wait for each other


class Mixture(NamedTuple):
    """A feature's weights, velocity and average from its coordinates; all float64.

    ``weights = ww * x + wv * y``, ``velocity = vw * x + vv * y``, ``average = aw * x + av * y +
    aa * z``.
    """

    ww: float
    wv: float
    vw: float
    vv: float
    aw: float
    av: float
    aa: float


@njit(**INNER)  # type: ignore[untyped-decorator]  # numba is untyped, here and below
def step_mixture(
    shape: SparseShape, rate: float, share: float, momentum: float, nesterov: bool, decay: float
) -> tuple[Mixture, tuple[float, float, float]]:
    """Return what a step does without data, and what it does with a gradient of 1 by the data.

    See :func:`fastlin.kernels.reference.sgd_steps`: the gradient is ``decay * weights`` and that
    by the data.
    """
    vw, vv = (decay, momentum) if shape.velocity else (0.0, 1.0)
    dw, dv, of_data = vw, vv, 1.0
    if not shape.velocity:
        dw, dv = decay, 0.0
    elif nesterov:
        dw, dv, of_data = decay + momentum * vw, momentum * vv, 1.0 + momentum
    ww, wv, to_weights = 1.0 - rate * dw, -rate * dv, -rate * of_data
    if not shape.average:
        return Mixture(ww, wv, vw, vv, 0.0, 0.0, 1.0), (to_weights, 1.0, 0.0)
    mixture = Mixture(ww, wv, vw, vv, share * ww, share * wv, 1.0 - share)
    return mixture, (to_weights, 1.0, share * to_weights)


@njit(**INNER)  # type: ignore[untyped-decorator]
def after(step: Mixture, before: Mixture) -> Mixture:
    """Return the mixture of a step after another mixture."""
    return Mixture(
        step.ww * before.ww + step.wv * before.vw,
        step.ww * before.wv + step.wv * before.vv,
        step.vw * before.ww + step.vv * before.vw,
        step.vw * before.wv + step.vv * before.vv,
        step.aw * before.ww + step.av * before.vw + step.aa * before.aw,
        step.aw * before.wv + step.av * before.vv + step.aa * before.av,
        step.aa * before.aa,
    )


@njit(**INNER)  # type: ignore[untyped-decorator]
def has_grown(mixture: Mixture) -> bool:
    """Return whether coordinates have become much larger or smaller than what they stand for."""
    size = abs(mixture.ww * mixture.vv - mixture.wv * mixture.vw)
    return not (1 / GROWTH <= size <= GROWTH and abs(mixture.aa) >= 1 / GROWTH)


@njit(**INNER)  # type: ignore[untyped-decorator]
def coordinates(
    mixture: Mixture, change: tuple[float, float, float]
) -> tuple[float, float, float]:
    """Return the coordinates of a change of weights, velocity and average."""
    size = mixture.ww * mixture.vv - mixture.wv * mixture.vw
    x = (mixture.vv * change[0] - mixture.wv * change[1]) / size
    y = (mixture.ww * change[1] - mixture.vw * change[0]) / size
    return x, y, (change[2] - mixture.aw * x - mixture.av * y) / mixture.aa


@njit(**INNER)  # type: ignore[untyped-decorator]
def make_values(shape: SparseShape, work: SparseWork, mixture: Mixture, features: Any) -> None:
    """Turn the coordinates of some features into values, whose mixture is the identity."""
    for j in range(features[0], features[1]):
        of_feature = work.state[j]
        for c in range(shape.k_padded):
            x = of_feature[0, c]
            y = of_feature[shape.velocity, c]
            z = of_feature[shape.average, c]
            of_feature[0, c] = mixture.ww * x
            if shape.velocity:
                of_feature[0, c] = mixture.ww * x + mixture.wv * y
                of_feature[shape.velocity, c] = mixture.vw * x + mixture.vv * y
            if shape.average:
                mean = mixture.aw * x + mixture.aa * z
                of_feature[shape.average, c] = mean + (mixture.av * y if shape.velocity else 0.0)


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
def touch_row(kind: Any, shape: SparseShape, work: SparseWork, position: int) -> None:
    """Ask for the stored values of the row at a position, if there is one."""
    if position < shape.n_order:
        row = row_at(work, position)
        start, count = work.row_starts[row], work.row_starts[row + 1] - work.row_starts[row]
        touch_bytes(kind, work.columns + start * shape.column_size, count * shape.column_size)
        touch_bytes(kind, work.values + start * shape.size, count * shape.size)


@njit(**INNER)  # type: ignore[untyped-decorator]
def add_segment_logits(
    kind: Any, shape: SparseShape, work: SparseWork, start: int, stop: int, mixture: Mixture,
    out: int,
) -> None:
    """Write the logits of a segment, without the intercept, to ``out``."""
    feature_bytes = work.state.shape[1] * shape.k_padded * shape.size
    block_bytes = shape.block * shape.lanes * shape.size
    columns = work.columns + start * shape.column_size
    values = work.values + start * shape.size
    weights = work.state.ctypes.data
    for b in range(shape.n_blocks):
        at = weights + b * block_bytes
        to = out + b * block_bytes
        segment_logits(
            kind, columns, values, stop - start, at, feature_bytes, mixture.ww, False, to
        )
        if shape.velocity:
            at += shape.velocity * shape.k_padded * shape.size
            segment_logits(
                kind, columns, values, stop - start, at, feature_bytes, mixture.wv, True, to
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
    for i in range(n_rows * part // n_parts, n_rows * (part + 1) // n_parts):
        touch_row(kind, shape, work, first + i + 2)
        row = row_at(work, first + i)
        at, end = work.row_starts[row], work.row_starts[row + 1]
        at = first_from(kind, shape, work, at, end, work.bounds[first_slice * PARTS])
        for s in range(first_slice, stop_slice):
            bound = work.bounds[(s + 1) * PARTS]
            until = first_from(kind, shape, work, at, end, bound)
            out = work.partial[buffer, s, i].ctypes.data
            add_segment_logits(kind, shape, work, at, until, mixture, out)
            at = until


@njit(**INNER)  # type: ignore[untyped-decorator]
def sum_logits(
    kind: Any, shape: SparseShape, work: SparseWork, slices: Any, at: int, thread: int
) -> Any:
    """Write a row's logits to its residual, ``at``; return the largest.

    ``slices``: address of the row's first partial logits, their number, and bytes to the next.
    """
    n_vectors = shape.block * shape.n_blocks
    intercept = work.intercept[thread, 0].ctypes.data
    out = work.residual[at].ctypes.data
    return row_logits(kind, n_vectors, slices[1], slices[2], slices[0], intercept, out)


@njit(**INNER)  # type: ignore[untyped-decorator]
def cross_entropy(
    kind: Any, shape: SparseShape, work: SparseWork, row: int, at: int, largest: Any,
    divisor: float, thread: int,
) -> None:
    """Phase B of a row with logits ``at``: the loss, and its gradient in place of the logits."""
    label, logits = work.labels[row], work.residual[at]
    scalars = work.scalars[thread]
    scalars[0] = label
    scalars[1] = (work.sample_weight[row] if len(work.sample_weight) else 1.0) / divisor
    if shape.k == 1:
        target = scalars.ctypes.data
        loss = work.losses[at:].ctypes.data
        sigmoid_loss(kind, logits.ctypes.data, target, target + shape.size, loss)
        return
    n_vectors = shape.block * shape.n_blocks
    is_class = work.is_class.ctypes.data
    work.losses[at] = row_softmax(
        kind, n_vectors, is_class, largest, logits[label], scalars[1], logits.ctypes.data
    )
    logits[label] -= scalars[1]


@njit(**INNER)  # type: ignore[untyped-decorator]
def residual_share(
    kind: Any, shape: SparseShape, work: SparseWork, tile: Any, batch: Any, thread: int
) -> None:
    """One thread's part of phase B: some rows of a tile; ``batch``: first and last position."""
    first, stop, buffer = tile
    n_rows = stop - first
    divisor = float(batch[1] - batch[0]) if shape.updates else 1.0
    slice_bytes = TILE * shape.k_padded * shape.size
    for i in range(n_rows * thread // shape.n_threads, n_rows * (thread + 1) // shape.n_threads):
        partial = work.partial[buffer, 0, i].ctypes.data
        at = first + i - batch[0]
        slices = (partial, shape.n_slices, slice_bytes)
        largest = sum_logits(kind, shape, work, slices, at, thread)
        row = row_at(work, first + i)
        cross_entropy(kind, shape, work, row, at, largest, divisor, thread)


@njit(**INNER)  # type: ignore[untyped-decorator]
def update_share(
    kind: Any, shape: SparseShape, work: SparseWork, batch: Any, change: Any, thread: int
) -> None:
    """One thread's part of phase C: its features' gradients, or steps by ``change`` times them.

    ``change``: coordinates of what a gradient of 1 does to weights, velocity and average.
    """
    features = features_of(shape, work, thread)
    n_arrays = work.state.shape[1]
    array_bytes = shape.k_padded * shape.size
    block_bytes = shape.block * shape.lanes * shape.size
    gain_bytes = shape.size if len(work.gain) > 1 else 0
    gain, state = work.gain.ctypes.data, work.state.ctypes.data
    for position in range(batch[0], batch[1]):
        row = row_at(work, position)
        start, stop = work.row_starts[row], work.row_starts[row + 1]
        start = first_from(kind, shape, work, start, stop, features[0])
        stop = first_from(kind, shape, work, start, stop, features[1])
        columns = work.columns + start * shape.column_size
        values = work.values + start * shape.size
        count = stop - start
        residual = work.residual[position - batch[0]].ctypes.data
        for b in range(shape.n_blocks):
            of_block = residual + b * block_bytes
            if not shape.updates:
                sums = work.gradient_sum.ctypes.data + 8 * b * shape.block * shape.lanes
                segment_sum(
                    kind, columns, values, count, of_block, 1.0, gain, 0, sums, 8 * shape.k_padded
                )
                continue
            for array in range(n_arrays):
                factor = change[0]
                if array > 0:
                    factor = change[1] if array == shape.velocity else change[2]
                sums = state + array * array_bytes + b * block_bytes
                segment_step(
                    kind, columns, values, count, of_block, factor, gain, gain_bytes, sums,
                    n_arrays * array_bytes,
                )


@njit(**INNER)  # type: ignore[untyped-decorator]
def add_residuals(shape: SparseShape, work: SparseWork, n_rows: int, thread: int) -> float:
    """Sum up a batch's residuals over its rows; return the sum of the losses."""
    sums = work.residual_sum[thread]
    if shape.updates:
        sums[:] = 0.0
    loss = 0.0
    for i in range(n_rows):
        loss += work.losses[i]
        for c in range(shape.k_padded):
            sums[c] += work.residual[i, c]
    return loss


@njit(**INNER)  # type: ignore[untyped-decorator]
def step_intercept(
    shape: SparseShape, work: SparseWork, step: Mixture, change: Any, gain: float, thread: int
) -> None:
    """Step with the intercept, by what the step does without data and with a gradient of 1."""
    values, velocities, averages = (
        work.intercept[thread, 0], work.intercept[thread, 1], work.intercept[thread, 2]
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
    buffer, step, first = 0, 0, 0
    while first < shape.n_order:
        batch = (first, min(first + shape.batch_size, shape.n_order))
        # A and B, tile by tile.
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
            rate, share = schedule[0, step], schedule[1, step]
            of_step, by_data = step_mixture(shape, rate, share, momentum, nesterov, decay)
            mixture = after(of_step, mixture)
            if has_grown(mixture):
                make_values(shape, work, mixture, features)
                mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
            change = coordinates(mixture, by_data)
            of_step, by_data = step_mixture(
                shape, rate, share, momentum, nesterov, intercept_gain * intercept_decay
            )
            step_intercept(shape, work, of_step, by_data, intercept_gain, thread)
            if thread == 0:
                losses_out[step] = loss
            step += 1
        elif thread == 0:
            losses_out[0] += loss
        update_share(kind, shape, work, batch, change, thread)
        # Where threads share a slice, the weights that one changes in C another reads in A.
        if n_threads > shape.n_slices:
            wait_for_all(meeting, n_threads)
    if shape.updates:
        make_values(shape, work, mixture, features)


@njit(**INNER)  # type: ignore[untyped-decorator]
def alone(shape: SparseShape) -> SparseShape:
    """Return the sizes of the same run on one thread."""
    return SparseShape(
        shape.d,
        shape.k,
        shape.k_padded,
        shape.lanes,
        shape.block,
        shape.n_blocks,
        shape.size,
        shape.column_size,
        shape.n_slices,
        1,
        shape.n_order,
        shape.batch_size,
        shape.velocity,
        shape.average,
        shape.updates,
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
    partial = work.partial[0, 0, thread].ctypes.data
    at = ROWS_APART * thread
    first_tile = n_tiles * thread // shape.n_threads
    stop_tile = n_tiles * (thread + 1) // shape.n_threads
    for tile in range(first_tile, stop_tile):
        for row in range(tile * TILE, min((tile + 1) * TILE, shape.n_order)):
            start, stop = work.row_starts[row], work.row_starts[row + 1]
            add_segment_logits(kind, shape, work, start, stop, mixture, partial)
            largest = sum_logits(kind, shape, work, (partial, 1, 0), at, thread)
            label = work.labels[row]
            n_correct_out[tile] += is_correct(shape, work.residual.T, at, label)
            if len(logits_out):
                for c in range(shape.k):
                    logits_out[row, c] = work.residual[at, c]
            cross_entropy(kind, shape, work, row, at, largest, 1.0, thread)
            losses_out[tile] += work.losses[at]


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
