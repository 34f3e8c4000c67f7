"""The rows of a panel of many classes: which they are, and how they get into the panel."""

from __future__ import annotations

import numba

from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.many_classes.copies import interleave
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUNDLE,
    ENDS_BATCH,
    FETCHED,
    FIRST,
    GATHERED,
    N_BUNDLES,
    N_ROWS,
    N_WORDS,
    PANELS_OF_A_SUM,
    Arguments,
    Own,
    Shape,
)
from fastlin.kernels.jit.memory import WORD_BYTES, array_at, read_record
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, row_at


@inner
def note_panel(shape: Shape, own: Own, at: int, first: int) -> None:
    """Note the rows of the panel that begins at a position: none after the last.

    ``at``: the first of the five words.
    """
    batch_first = first // shape.batch_size * shape.batch_size
    batch_stop = min(batch_first + shape.batch_size, shape.n_order)
    n_rows = max(0, min(batch_stop - first, shape.panel))
    begins, ends = first == batch_first, first + n_rows == batch_stop
    if not shape.updates:
        number = first // shape.panel % PANELS_OF_A_SUM
        begins, ends = number == 0, ends or number == PANELS_OF_A_SUM - 1
    own.words[at + FIRST], own.words[at + N_ROWS] = first, n_rows
    own.words[at + BEGINS_BATCH], own.words[at + ENDS_BATCH] = begins, ends


@inner
def note_rows(
    shape: Shape,
    arguments: Arguments,
    samples: SampleArrays,
    own: Own,
    at: int,
    bundles: tuple[int, int],
    panel: int,
) -> None:
    """Note the addresses of the rows that a thread will gather, and where to.

    ``at``: the first of the panel's words; ``bundles``: first and stop; ``panel``: its address.
    """
    words = own.words
    start, n_rows = bundles[0] * BUNDLE, words[at + N_ROWS]
    count = (bundles[1] - bundles[0]) * BUNDLE
    for i in range(count):
        own.pointers[i] = arguments.zero_row
        if start + i < n_rows:
            row = row_at(samples, words[at + FIRST] + start + i)
            own.pointers[i] = arguments.rows + row * shape.stride
    words[N_BUNDLES] = bundles[1] - bundles[0]
    words[GATHERED] = panel + bundles[0] * shape.bundle_bytes
    pointers = own.pointers.ctypes.data
    words[FETCHED] = pointers
    words[FETCHED + 1] = pointers + WORD_BYTES * max(0, min(n_rows - start, count))
    words[FETCHED + 2] = 0
    words[FETCHED + 3] = shape.row_bytes


def gather_phase(data: int, thread: int, n_threads: int) -> None:
    """Widen the rows whose addresses are noted, and copy them to a panel."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    words = array_at(numba.int64, arguments.words + thread * N_WORDS * WORD_BYTES, (N_WORDS,))
    pointers = arguments.pointers + thread * shape.panel * WORD_BYTES
    for b in range(words[N_BUNDLES]):
        to = words[GATHERED] + b * shape.bundle_bytes
        interleave(kind, shape.d, pointers + b * BUNDLE * WORD_BYTES, to)
