"""What a thread does in a call of many classes: panel after panel, phase after phase.

With many classes the work is two products of matrices, rows by weights and rows by residuals, and
no sum has to be added up over lanes. The phases are the C backend's (``csrc/many_classes``). A
panel is gathered: widened and copied (:mod:`.rows`); then come A, its logits (:mod:`.logits`), B,
its residuals (:mod:`.residuals`), and C, the gradient and with the batch's last panel the step
(:mod:`.gradient`).

Threads divide the classes, or, where there are more threads than slices, also the rows of A and the
features of C. So each keeps its part of the weights in its core's cache from step to step. Each sum
over features or rows is one thread's, in an order that the shape decides, so the bits do not depend
on the threads. The phases meet at barriers; the next panel is gathered, into another buffer, before
the barrier that ends C.
"""

from __future__ import annotations

from typing import Any

import numba

from fastlin.kernels.jit.barrier import (
    decide_to_leave_off,
    leaves_off,
    told_to_stop,
    wait_for_all,
)
from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.many_classes.copies import take_row
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BACK,
    BEGINS_BATCH,
    BUFFER,
    FIRST,
    N_ROWS,
    NEXT,
    Arguments,
    Own,
    Shape,
    bundles_of,
    own_arrays,
    part_of_bundles,
    vector_bytes,
)
from fastlin.kernels.jit.many_classes.residuals import note_bias, softmax
from fastlin.kernels.jit.many_classes.rows import note_panel, note_rows
from fastlin.kernels.jit.many_classes.weights import write_gradient
from fastlin.kernels.jit.memory import array_at, call_kernel, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.passes import Results, results_of
from fastlin.kernels.jit.samples import SampleArrays, row_at, samples_of, weight_of
from fastlin.kernels.jit.team import place_in_team


@inner
def begin_panel(
    shape: Shape,
    arguments: Arguments,
    samples: SampleArrays,
    own: Own,
    at: int,
    first: int,
    thread: int,
    n_threads: int,
) -> None:
    """Note which rows of the panel at a position a thread gathers.

    ``at``: the first of the panel's words, of which the buffer's is set.
    """
    note_panel(shape, own, at, first)
    bundles = part_of_bundles(own.words[at + N_ROWS], thread, n_threads)
    panel = arguments.panels + own.words[at + BUFFER] * arguments.panel_bytes
    note_rows(shape, arguments, samples, own, at, bundles, panel)


@inner
def sum_losses(kind: Any, shape: Shape, arguments: Arguments, own: Own) -> None:
    """Add the losses of a panel's rows to those of its step."""
    row_losses = array_at(kind, arguments.row_losses, (shape.panel,))
    losses = array_at(numba.float64, arguments.losses, (arguments.n_steps,))
    first = own.words[FIRST]
    total = 0.0
    for i in range(own.words[N_ROWS]):
        total += row_losses[i]
    step = first // shape.batch_size
    losses[step] = total if first % shape.batch_size == 0 else losses[step] + total


def run(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a run: all batches, panel by panel and phase by phase."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    barrier = arguments.barrier
    thread, n_threads = place_in_team(barrier, thread, n_threads)
    if n_threads == 0:
        return
    samples = samples_of(shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    words = own.words
    call_kernel(arguments.pack, data, thread, n_threads)
    begin_panel(shape, arguments, samples, own, 0, 0, thread, n_threads)
    call_kernel(arguments.gather, data, thread, n_threads)
    wait_for_all(barrier, n_threads)
    while words[N_ROWS] > 0:
        first = words[FIRST]
        decide_to_leave_off(barrier, arguments.stop, thread, first)
        if arguments.narrow_logits:
            call_kernel(arguments.narrow_logits, data, thread, n_threads)
        if arguments.wide_logits:
            call_kernel(arguments.wide_logits, data, thread, n_threads)
        wait_for_all(barrier, n_threads)
        if leaves_off(barrier, first):
            return
        call_kernel(arguments.residuals, data, thread, n_threads)
        wait_for_all(barrier, n_threads)
        if thread == 0:
            sum_losses(kind, shape, arguments, own)
        words[NEXT + BUFFER] = 1 - words[BUFFER]
        begin_panel(shape, arguments, samples, own, NEXT, first + words[N_ROWS], thread, n_threads)
        if arguments.narrow_gradient:
            call_kernel(arguments.narrow_gradient, data, thread, n_threads)
        if arguments.wide_gradient:
            call_kernel(arguments.wide_gradient, data, thread, n_threads)
        call_kernel(arguments.gather, data, thread, n_threads)
        for word in range(NEXT):
            words[word] = words[NEXT + word]
        wait_for_all(barrier, n_threads)
    if shape.updates:
        words[BACK] = 1
        call_kernel(arguments.pack, data, thread, n_threads)
    else:
        write_gradient(kind, shape, arguments, thread, n_threads)


@inner
def is_correct(logits: Any, largest: float, label: int) -> bool:
    """Return whether a label has the first of a row's largest logits; ``logits``: (classes)."""
    of_label = logits[label]
    if largest > of_label:
        return False
    for c in range(label):  # noqa: SIM110  # Numba compiles no generator
        if logits[c] == of_label:
            return False
    return True


@inner
def take_panel(
    kind: Any,
    shape: Shape,
    arguments: Arguments,
    samples: SampleArrays,
    own: Own,
    residual: int,
    panel: int,
    results: Results,
) -> None:
    """Write a panel's logits, or its loss and the number of rows predicted right."""
    first, of_row = own.words[FIRST], own.of_row
    for i in range(own.words[N_ROWS]):
        largest = take_row(
            kind,
            shape.n_vectors,
            arguments.places,
            residual,
            i,
            own.bias.ctypes.data,
            of_row.ctypes.data,
        )
        row = row_at(samples, first + i)
        if len(results.logits):
            for c in range(shape.k):
                results.logits[row, c] = of_row[c]
            continue
        label, weight = samples.labels[row], weight_of(samples, row, 1.0)
        results.n_correct[panel] += is_correct(of_row, largest, label)
        results.losses[panel] += softmax(kind, shape, arguments, own, label, largest, weight)


def one_pass(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of a pass over all rows: some panels of rows."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    barrier = arguments.barrier
    thread, n_threads = place_in_team(barrier, thread, n_threads)
    if n_threads == 0:
        return
    samples = samples_of(shape, arguments)
    results = results_of(kind, shape, arguments)
    own = own_arrays(kind, shape, arguments, thread)
    words, vector = own.words, vector_bytes(shape)
    residual = arguments.residual + thread * shape.n_vectors * shape.panel * vector
    offset = arguments.offset + thread * shape.n_vectors * vector
    call_kernel(arguments.pack, data, thread, n_threads)
    wait_for_all(barrier, n_threads)
    n_panels = arguments.n_panels
    is_first = True
    for panel in range(n_panels * thread // n_threads, n_panels * (thread + 1) // n_threads):
        if told_to_stop(arguments.stop):
            break
        words[FIRST] = panel * shape.panel
        words[N_ROWS] = min(shape.n_order - words[FIRST], shape.panel)
        words[BEGINS_BATCH] = is_first
        bundles = (0, bundles_of(words[N_ROWS]))
        to = arguments.panels + thread * arguments.panel_bytes
        note_rows(shape, arguments, samples, own, 0, bundles, to)
        call_kernel(arguments.gather, data, thread, n_threads)
        if arguments.narrow_logits:
            call_kernel(arguments.narrow_logits, data, thread, n_threads)
        if arguments.wide_logits:
            call_kernel(arguments.wide_logits, data, thread, n_threads)
        if is_first:
            note_bias(kind, shape, arguments, own, offset)
            is_first = False
        take_panel(kind, shape, arguments, samples, own, residual, panel, results)
