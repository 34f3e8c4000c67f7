"""Where everything of a call of many classes lies: sizes, addresses, and who has which part.

Vectors hold classes. A *slice* of the classes is two or three vectors wide, as many as a
micro-kernel takes at once. Slices depend on the shape alone, as the bits do. Packed weights are
``[slice][feature][class in slice]``, zero where there is no such feature or class, and the logits
and residuals of a panel are ``[slice][row][class in slice]``, so that a micro-kernel reads both
from front to back. (The picture is in ``csrc/many_classes/layout.h``.)

The rows of a panel are widened and copied, since each number is read once for every slice: eight
rows are a *bundle*, and lie in turn, ``[bundle][feature][row in bundle]``. So a micro-kernel finds
the numbers of some rows at one feature, or of some features at one row, close together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba

from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.memory import WORD_BYTES, array_at
from fastlin.kernels.jit.options import inner

MOST_WIDE = 3
"""Vectors of a slice of classes at most; the others have one less."""

BUNDLE = 8
"""Rows that lie in turn in a panel, a multiple of a micro-kernel's."""

MOST_ROWS = 256
"""Rows of a panel at most: fewer would add to a large batch's gradient more often, and more would
not stay in the caches."""

FEATURES_OF_A_SUM = 512
"""Features over which one register sums up products: longer sums round more."""

PANELS_OF_A_SUM = 4
"""Panels without updates whose gradient is added up before it is added to the float64 sums."""


class Shape(NamedTuple):
    """Sizes of a call; all int64."""

    d: int
    k: int
    d_padded: int  # whole groups of features
    panel: int  # rows of a panel, whole bundles
    bundle_bytes: int  # from one bundle of a panel to the next
    n_vectors: int  # of classes
    n_slices: int
    lanes: int
    size: int  # bytes of a weight
    group: int  # rows, or features, of a micro-kernel
    row_bytes: int  # of the features of a row
    stride: int  # bytes from one row to the next
    n_rows: int
    n_order: int
    batch_size: int
    updates: int
    shifted: int
    a_pass: int  # whether threads have panels of their own


class Arguments(NamedTuple):
    """Where the arrays of a call lie, and a few numbers; all int64. ``T`` is the weights' type.

    An array that is absent has address 0. Of those with a star each thread has its own, one behind
    the other; of those with two stars in a pass. ``classes`` are padded to whole vectors. In memory
    the words of the :class:`Shape` come first, then these.
    """

    rows: int  # the first row
    order: int  # (n_order,) int64
    labels: int  # (n_rows,) int32
    sample_weight: int  # (n_rows,) float64
    zero_row: int  # (d,), in place of rows after a panel's last
    given: int  # (3,) addresses of weights, velocity, average (k, d) T
    packed: int  # (3,) addresses of the same, packed
    weights: int  # packed T
    velocity: int  # packed T
    average: int  # packed T
    gradient: int  # packed T; a batch of several panels
    gradient_sum: int  # packed float64; without updates
    gradient_out: int  # (k, d) float64; without updates
    intercept_gradient: int  # (classes,) float64; without updates
    shift: int  # (d_padded,) T
    gain: int  # (d_padded,) T
    panels: int  # panels of widened rows: two, or one for each thread of a pass
    panel_bytes: int
    residual: int  # (classes * panel,) T **
    row_losses: int  # (panel,) T
    offset: int  # (classes,) T **: what the shift takes off every logit
    intercept: int  # (3, classes) T: value, velocity, average
    is_class: int  # (classes,) T: 1, or 0 where there is no class
    places: int  # (n_vectors, 2) int64: bytes of a row 0's vector in the residuals, bytes of a row
    bias: int  # (classes,) T *: intercept less offset
    of_row: int  # (classes,) T *: one row's logits
    sums: int  # (group * MOST_WIDE * lanes,) T *
    residual_sum: int  # (classes,) T *; only of the slices that a thread has a part of
    pointers: int  # (panel,) int64 *: addresses of the rows that it gathers
    words: int  # (N_WORDS,) int64 *
    barrier: int  # zeros: where the threads wait for each other
    stop: int  # (1,) int32: another thread sets it to have the kernel leave off
    pack: int  # the compiled phases, 0 if there is no slice of that width
    gather: int
    narrow_logits: int
    wide_logits: int
    residuals: int = 0  # of a run, as all below
    narrow_gradient: int = 0
    wide_gradient: int = 0
    schedule: int = 0  # (2, n_steps) float64: learning rates, rates of the average
    n_steps: int = 0
    constants: int = 0  # (4,) float64: momentum, decay, decay and gain of the intercept
    nesterov: int = 0
    losses: int = 0  # (n_steps,) float64; a pass: (n_panels,)
    n_panels: int = 0  # a pass, as below
    n_correct: int = 0  # (n_panels,) int64
    logits: int = 0  # (n_order, k) T; if they are asked for, nothing else is computed


ARGUMENTS_AT = WORD_BYTES * len(Shape._fields)

# A thread's words: the panel and the next one, each by five words; whether weights are packed or
# unpacked; the bundles of rows to gather, and where to; and which lines to fetch next.
FIRST, N_ROWS, BEGINS_BATCH, ENDS_BATCH, BUFFER, NEXT = range(6)
BACK, N_BUNDLES, GATHERED = range(2 * NEXT, 2 * NEXT + 3)
FETCHED = GATHERED + 1
N_WORDS = FETCHED + 4


def kinds(rows: str, weights: str, lanes: int) -> dict[str, Kind]:
    """Return what the phases are compiled for: only rows that are gathered have a type."""
    of_width = {
        word: Kind("", weights, width, lanes, class_lanes=lanes)
        for word, width in (("narrow", MOST_WIDE - 1), ("wide", MOST_WIDE))
    }
    any_width = Kind("", weights, 0, lanes, class_lanes=lanes)
    return {"rows": Kind(rows, weights, 0, lanes), "any": any_width, **of_width}


class Own(NamedTuple):
    """What a thread has for itself."""

    words: Any
    pointers: Any
    bias: Any
    of_row: Any
    sums: Any
    residual_sum: Any


@inner
def own_arrays(kind: Any, shape: Shape, arguments: Arguments, thread: int) -> Own:
    """Return a thread's part of each array that has one for every thread."""
    classes = shape.n_vectors * shape.lanes
    of_classes = thread * classes * shape.size
    n_sums = shape.group * MOST_WIDE * shape.lanes
    return Own(
        array_at(numba.int64, arguments.words + thread * N_WORDS * WORD_BYTES, (N_WORDS,)),
        array_at(
            numba.int64, arguments.pointers + thread * shape.panel * WORD_BYTES, (shape.panel,)
        ),
        array_at(kind, arguments.bias + of_classes, (classes,)),
        array_at(kind, arguments.of_row + of_classes, (classes,)),
        array_at(kind, arguments.sums + thread * n_sums * shape.size, (n_sums,)),
        array_at(kind, arguments.residual_sum + of_classes, (classes,)),
    )


@inner
def vector_bytes(shape: Shape) -> int:
    """Return the size of a vector."""
    return shape.lanes * shape.size


@inner
def first_vector(shape: Shape, s: int) -> int:
    """Return the first vector of a slice."""
    return shape.n_vectors * s // shape.n_slices


@inner
def packed_at(shape: Shape, s: int, feature: int) -> int:
    """Return the first of a slice's weights of a feature, in vectors."""
    first = first_vector(shape, s)
    return first * shape.d_padded + feature * (first_vector(shape, s + 1) - first)


@inner
def part_of(shape: Shape, s: int, n: int, thread: int, n_threads: int) -> tuple[int, int]:
    """Return a thread's part of n pieces of a slice: bundles of rows, or groups of features.

    The pieces of all slices are laid end to end and divided by their work, so a thread has some
    whole slices, and shares at most its first and its last.
    """
    first = first_vector(shape, s)
    width = first_vector(shape, s + 1) - first
    work, before = shape.n_vectors * n, first * n
    start = work * thread // n_threads - before
    stop = work * (thread + 1) // n_threads - before
    return (
        max(0, min(n, (start + width - 1) // width)),
        max(0, min(n, (stop + width - 1) // width)),
    )


@inner
def bundles_of(n_rows: int) -> int:
    """Return the number of bundles of some rows; the last may hold fewer."""
    return (n_rows + BUNDLE - 1) // BUNDLE


@inner
def part_of_bundles(n_rows: int, thread: int, n_threads: int) -> tuple[int, int]:
    """Return the bundles of a panel that a thread gathers, and turns into residuals."""
    n = bundles_of(n_rows)
    return n * thread // n_threads, n * (thread + 1) // n_threads
