"""Phase C of a panel of many classes: the gradient, and with a batch's last panel the step."""

from __future__ import annotations

from typing import Any

import numba

from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    BUNDLE,
    ENDS_BATCH,
    FETCHED,
    FIRST,
    MOST_WIDE,
    N_BUNDLES,
    N_ROWS,
    Arguments,
    Own,
    Shape,
    bundles_of,
    first_vector,
    own_arrays,
    packed_at,
    part_of,
    vector_bytes,
)
from fastlin.kernels.jit.many_classes.tiles import (
    CACHE_LINE,
    add_vectors,
    descend,
    gradient_tile,
    sum_rows,
    width_of,
)
from fastlin.kernels.jit.memory import WORD_BYTES, array_at, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.step import Rates, rates_of, step_intercept


@inner
def lines_at_once(shape: Shape, own: Own, n_threads: int) -> int:
    """Return how many lines to fetch at a time, so that all are when the next panel is gathered."""
    n_lines: int = own.words[N_BUNDLES] * BUNDLE * (shape.row_bytes // CACHE_LINE + 1)
    n_tiles = shape.n_vectors * shape.d_padded // (MOST_WIDE * shape.group * n_threads)
    return n_lines // max(1, n_tiles * bundles_of(own.words[N_ROWS])) + 1


@inner
def sum_residuals(
    kind: Any,
    shape: Shape,
    arguments: Arguments,
    own: Own,
    s: int,
    steps_intercept: bool,
    rates: Rates,
) -> None:
    """Sum up a slice's residuals for the intercept, whose step is its first group's owner's."""
    first, vector = first_vector(shape, s), vector_bytes(shape)
    words = own.words
    at = first * shape.lanes
    n_classes = min(shape.k, first_vector(shape, s + 1) * shape.lanes) - at
    sum_rows(
        kind,
        bundles_of(words[N_ROWS]) * BUNDLE,
        arguments.residual + first * shape.panel * vector,
        own.residual_sum.ctypes.data + first * vector,
        0 if words[BEGINS_BATCH] else 1,
    )
    if not (steps_intercept and words[ENDS_BATCH]):
        return
    classes = shape.n_vectors * shape.lanes
    sums = array_at(kind, own.residual_sum.ctypes.data + first * vector, (n_classes,))
    if shape.updates:
        intercept = array_at(kind, arguments.intercept + first * vector, (3, classes))
        step_intercept(n_classes, intercept, sums, rates)
    else:
        total = array_at(numba.float64, arguments.intercept_gradient, (classes,))
        for c in range(n_classes):
            total[at + c] += sums[c]


@inner
def finish_group(
    kind: Any, shape: Shape, arguments: Arguments, own: Own, s: int, feature: int, rates: Rates
) -> None:
    """Keep a group's gradient for the batch's next panel, add it to the sums, or step with it."""
    at, vector = packed_at(shape, s, feature), vector_bytes(shape)
    first = first_vector(shape, s)
    count = shape.group * (first_vector(shape, s + 1) - first)
    sums = own.sums.ctypes.data
    byte, words = at * vector, own.words
    if not words[ENDS_BATCH]:
        add_vectors(kind, count, sums, arguments.gradient + byte, 0 if words[BEGINS_BATCH] else 1)
        return
    if not words[BEGINS_BATCH]:
        add_vectors(kind, count, arguments.gradient + byte, sums, 1)
    if not shape.updates:
        n = count * shape.lanes
        total = array_at(
            numba.float64, arguments.gradient_sum + at * shape.lanes * WORD_BYTES, (n,)
        )
        for i in range(n):
            total[i] += own.sums[i]
        return
    velocity, average = arguments.velocity, arguments.average
    descend(
        kind,
        sums,
        (
            arguments.weights + byte,
            velocity + byte if velocity else 0,
            average + byte if average else 0,
        ),
        (arguments.shift + feature * shape.size, arguments.gain + feature * shape.size),
        own.residual_sum.ctypes.data + first * vector,
        (rates.learning_rate, rates.momentum, rates.average_rate, rates.decay),
        rates.nesterov,
    )


def gradient_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase C, of the slices of one width."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    own = own_arrays(kind, shape, arguments, thread)
    words, vector = own.words, vector_bytes(shape)
    n_bundles, n_lines = bundles_of(words[N_ROWS]), lines_at_once(shape, own, n_threads)
    rates = rates_of(arguments, words[FIRST] // shape.batch_size)
    panel = arguments.panels + words[BUFFER] * arguments.panel_bytes
    in_one = words[BEGINS_BATCH] and words[ENDS_BATCH]
    changed = arguments.gradient if arguments.gradient and not in_one else arguments.weights
    fetched = words.ctypes.data + FETCHED * WORD_BYTES
    for s in range(shape.n_slices):
        first = first_vector(shape, s)
        if first_vector(shape, s + 1) - first != width_of(kind):
            continue
        start, stop = part_of(shape, s, shape.d_padded // shape.group, thread, n_threads)
        if start == stop:
            continue
        sum_residuals(kind, shape, arguments, own, s, start == 0, rates)
        for g in range(start, stop):
            feature = g * shape.group
            gradient_tile(
                kind,
                n_bundles,
                shape.bundle_bytes,
                panel + feature * BUNDLE * shape.size,
                arguments.residual + first * shape.panel * vector,
                fetched,
                n_lines,
                changed + packed_at(shape, s, feature) * vector,
                own.sums.ctypes.data,
            )
            finish_group(kind, shape, arguments, own, s, feature, rates)
