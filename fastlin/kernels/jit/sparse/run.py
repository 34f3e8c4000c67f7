"""What a thread does in a call on sparse rows: panel after panel, phase after phase.

The phases are those of dense rows (:mod:`.dense.run`): A partial logits of each slice of the
features, B residuals, C update. A thread keeps the same features in A and C, so their weights stay
in its core's cache.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastlin.kernels.blocking import SPARSE_PANEL
from fastlin.kernels.jit.barrier import (
    decide_to_leave_off,
    leaves_off,
    told_to_stop,
    wait_for_all,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.memory import array_at, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.passes import results_of, take_logits
from fastlin.kernels.jit.sparse.gradient import descend, flush, make_values, update_phase
from fastlin.kernels.jit.sparse.layout import (
    ARGUMENTS_AT,
    LOSSES,
    Arguments,
    Arrays,
    Own,
    Shape,
    features_of,
    own_arrays,
    shared_arrays,
)
from fastlin.kernels.jit.sparse.logits import (
    cross_entropy,
    logits_phase,
    residual_phase,
    segment_product,
    sum_logits,
)
from fastlin.kernels.jit.sparse.mixture import (
    Mixture,
    after,
    coordinates,
    has_grown,
    mixture_of,
    step_values,
)
from fastlin.kernels.jit.step import rates_of, step_intercept
from fastlin.kernels.jit.team import place_in_team


@inner
def add_residuals(shape: Shape, arrays: Arrays, own: Own, n_rows: int) -> float:
    """Sum up a batch's residuals over its rows; return the sum of the losses."""
    if shape.updates:
        own.residual_sum[:] = 0.0
    loss = 0.0
    for i in range(n_rows):
        loss += arrays.by_row[LOSSES, i]
        for c in range(shape.k_padded):
            own.residual_sum[c] += arrays.residual[i, c]
    return loss


def run(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a run: all batches, panel by panel and phase by phase."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    barrier = arguments.barrier
    thread, n_threads = place_in_team(barrier, thread, n_threads)
    if n_threads == 0:
        return
    arrays = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    losses_out = array_at(numba.float64, arguments.losses, (arguments.n_steps,))
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    features = features_of(shape, arrays, thread, n_threads)
    has = shape.velocity, shape.average
    # Of a type of its own: a tuple of literal numbers would have the phases compiled once more.
    zero: Any = np.int64(0)
    n_batches, first = zero, zero
    while first < shape.n_order:
        batch = (first, min(first + shape.batch_size, shape.n_order))
        buffer = zero
        # A and B, panel by panel, whose halves of `partial` take turns.
        while first < batch[1]:
            panel = (first, min(first + SPARSE_PANEL, batch[1]), buffer)
            decide_to_leave_off(barrier, arguments.stop, thread, first)
            logits_phase(kind, shape, arrays, panel, mixture, thread, n_threads)
            wait_for_all(barrier, n_threads)
            if leaves_off(barrier, first):
                break
            residual_phase(kind, shape, arrays, own, panel, batch, thread, n_threads)
            buffer = 1 - buffer
            first = panel[1]
        if first < batch[1]:  # left off
            break
        wait_for_all(barrier, n_threads)
        # C.
        loss = add_residuals(shape, arrays, own, batch[1] - batch[0])
        change = (0.0, 0.0, 0.0)
        if shape.updates:
            rates = rates_of(arguments, n_batches)
            mixture = after(mixture_of(has, rates), mixture)
            if has_grown(mixture):
                make_values(kind, shape, arrays, mixture, features)
                mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
            change = coordinates(mixture, step_values(has, rates, (0.0, 0.0, 0.0), 1.0))
            step_intercept(shape.k, own.intercept, own.residual_sum, rates)
            if thread == 0:
                losses_out[n_batches] = loss
        elif thread == 0:
            losses_out[0] += loss
        n_batches += 1
        update_phase(kind, shape, arrays, batch, features, change)
        if shape.updates and not shape.in_place:
            descend(shape, arrays, features, change)
        elif not shape.updates and n_batches % shape.flush_interval == 0:
            flush(shape, arrays, features)
        # If threads share a slice, the weights that one changes in C another reads in A.
        if n_threads > shape.n_slices:
            wait_for_all(barrier, n_threads)
    if shape.updates:
        make_values(kind, shape, arrays, mixture, features)
    else:
        flush(shape, arrays, features)


def one_pass(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a pass over all rows: some panels of rows."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    n_panels = arguments.n_panels
    results = results_of(kind, shape, arguments)
    arrays = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    mixture = Mixture(1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0)
    partial, intercept = arrays.partial[thread].ctypes.data, own.intercept.ctypes.data
    at = thread * SPARSE_PANEL  # of its rows in `residual` and `by_row`
    for panel in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
        if told_to_stop(arguments.stop):
            break
        first = panel * SPARSE_PANEL
        n_rows = min(SPARSE_PANEL, shape.n_order - first)
        for i in range(n_rows):
            row = first + i
            following = min(row + 1, shape.n_order - 1)
            segment = arrays.row_starts[row], arrays.row_starts[row + 1]
            ahead = arrays.row_starts[following], arrays.row_starts[following + 1]
            out = partial + i * shape.k_padded * shape.size
            segment_product(kind, shape, arrays, segment, ahead, mixture, out)
        rows = at, at + n_rows
        sum_logits(kind, shape, arrays, partial, 1, rows, first, 1.0, intercept)
        logits, taken = arrays.residual.T, (panel, first, first + n_rows)
        if not take_logits(shape.k, logits, at, arrays.samples, taken, results):
            continue
        cross_entropy(kind, shape, arrays, rows)
        for i in range(at, at + n_rows):
            results.losses[panel] += arrays.by_row[LOSSES, i]
