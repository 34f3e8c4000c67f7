"""What a thread does in a call on dense rows: panel after panel, phase after phase.

The three phases are the C backend's (``csrc/dense``): A partial logits of each slice of the
features, B residuals, C gradient and update. A panel is described by five int64: first position of
the order, number of rows, whether it begins and ends a batch, and which of two buffers holds its
rows' addresses and its partial logits. Phase C works on the panel before the present one.
"""

from __future__ import annotations

from typing import Any

import numba

from fastlin.kernels.blocking import PANEL
from fastlin.kernels.jit.barrier import (
    decide_to_leave_off,
    leaves_off,
    told_to_stop,
    wait_for_all,
)
from fastlin.kernels.jit.dense.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    ENDS_BATCH,
    FIRST,
    LOSSES,
    N_ROWS,
    Arguments,
    Own,
    Shape,
    Shared,
    own_arrays,
    shared_arrays,
)
from fastlin.kernels.jit.dense.logits import (
    cross_entropy,
    gather,
    weigh,
    whole_logits,
)
from fastlin.kernels.jit.dense.tiles import sum_rows
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.memory import array_at, call_kernel, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.passes import results_of, take_logits
from fastlin.kernels.jit.step import rates_of, step_intercept
from fastlin.kernels.jit.team import place_in_team


@inner
def begin_panel(kind: Any, shape: Shape, shared: Shared, own: Own) -> None:
    """Note the rows of the panel that begins at the present position."""
    panel = own.panels[0]
    first = panel[FIRST]
    batch_end = min((first // shape.batch_size + 1) * shape.batch_size, shape.n_order)
    panel[N_ROWS] = min(batch_end - first, PANEL)
    panel[BEGINS_BATCH] = first % shape.batch_size == 0
    panel[ENDS_BATCH] = first + panel[N_ROWS] == batch_end
    gather(kind, shape, shared, own, first, panel[N_ROWS], panel[BUFFER])


@inner
def next_panel(kind: Any, shape: Shape, shared: Shared, own: Own) -> None:
    """Make the next panel the present one."""
    panel, previous = own.panels[0], own.panels[1]
    for i in range(len(panel)):
        previous[i] = panel[i]
    panel[FIRST] += panel[N_ROWS]
    panel[BUFFER] = 1 - panel[BUFFER]
    if panel[FIRST] < shape.n_order:
        begin_panel(kind, shape, shared, own)


@inner
def weigh_panel(shape: Shape, shared: Shared, own: Own) -> None:
    """Note the factors of the losses: weights, over the size of the batch if it steps."""
    panel = own.panels[0]
    batch_first = panel[FIRST] // shape.batch_size * shape.batch_size
    batch_rows = min(shape.batch_size, shape.n_order - batch_first)
    divisor = float(batch_rows) if shape.updates else 1.0
    weigh(shared.samples, own, panel[FIRST], panel[N_ROWS], divisor)


@inner
def end_residual(
    kind: Any, shape: Shape, own: Own, arguments: Arguments, losses_out: Any, thread: int
) -> None:
    """End phase B: sums over the panel's rows, and with a batch's last panel the intercept."""
    panel = own.panels[0]
    step = panel[FIRST] // shape.batch_size
    if thread == 0:
        loss = 0.0
        for i in range(panel[N_ROWS]):
            loss += own.by_row[LOSSES, i]
        losses_out[step] = loss if panel[BEGINS_BATCH] else losses_out[step] + loss
    groups = (panel[N_ROWS] + shape.lanes - 1) // shape.lanes
    for c in range(shape.k):
        total = sum_rows(kind, own.residual.ctypes.data + c * PANEL * shape.size, groups)
        own.residual_sum[c] = total if panel[BEGINS_BATCH] else own.residual_sum[c] + total
        own.residual_total[c] += total
    if shape.updates and panel[ENDS_BATCH]:
        step_intercept(shape.k, own.intercept, own.residual_sum, rates_of(arguments, step))


def run(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a run: all batches, panel by panel and phase by phase."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    barrier = arguments.barrier
    thread, n_threads = place_in_team(barrier, thread, n_threads)
    if n_threads == 0:
        return
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    losses_out = array_at(numba.float64, arguments.losses, (arguments.n_steps,))
    panel, previous = own.panels[0], own.panels[1]
    begin_panel(kind, shape, shared, own)
    while panel[FIRST] < shape.n_order:
        decide_to_leave_off(barrier, arguments.stop, thread, panel[FIRST])
        call_kernel(arguments.logits_phase, data, thread, n_threads)
        wait_for_all(barrier, n_threads)
        if leaves_off(barrier, panel[FIRST]):
            break
        weigh_panel(shape, shared, own)
        call_kernel(arguments.residual_phase, data, thread, n_threads)
        if shape.residual_shared:
            wait_for_all(barrier, n_threads)
        end_residual(kind, shape, own, arguments, losses_out, thread)
        next_panel(kind, shape, shared, own)
        call_kernel(arguments.gradient_phase, data, thread, n_threads)
        # If threads share a slice, the weights that one changes in C another reads in A.
        if n_threads > shape.n_slices and previous[ENDS_BATCH]:
            wait_for_all(barrier, n_threads)


def one_pass(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a pass over all rows: some panels of rows."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    n_panels = arguments.n_panels
    results = results_of(kind, shape, arguments)
    shared = shared_arrays(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    here = own.panels[0]
    here[BEGINS_BATCH] = True
    for panel in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
        if told_to_stop(arguments.stop):
            break
        first = panel * PANEL
        n_rows = min(shape.n_order - first, PANEL)
        here[N_ROWS] = n_rows
        gather(kind, shape, shared, own, first, n_rows, 0)
        call_kernel(arguments.logits_phase, data, thread, n_threads)
        here[BEGINS_BATCH] = False
        groups = (n_rows + shape.lanes - 1) // shape.lanes
        for group in range(groups):
            slices = (thread * shape.n_slices, shape.n_slices)
            whole_logits(kind, shape, shared, own, slices, group)
        rows = (panel, first, first + n_rows)
        if not take_logits(shape.k, own.residual, 0, shared.samples, rows, results):
            continue
        weigh(shared.samples, own, first, n_rows, 1.0)
        for group in range(groups):
            cross_entropy(kind, shape, own, n_rows, group)
        for i in range(n_rows):
            results.losses[panel] += own.by_row[LOSSES, i]
