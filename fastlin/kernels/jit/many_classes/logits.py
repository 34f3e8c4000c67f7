"""Phase A of a panel of many classes: the sums over all features of each row, for each class."""

from __future__ import annotations

from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BEGINS_BATCH,
    BUFFER,
    BUNDLE,
    FEATURES_OF_A_SUM,
    N_ROWS,
    Arguments,
    Shape,
    bundles_of,
    first_vector,
    own_arrays,
    packed_at,
    part_of,
    vector_bytes,
)
from fastlin.kernels.jit.many_classes.tiles import logit_tile, shift_logits, width_of
from fastlin.kernels.jit.memory import read_record


def logits_phase(data: int, thread: int, n_threads: int) -> None:
    """One thread's part of phase A, of the slices of one width; in a pass all of its own panel."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    words = own_arrays(kind, shape, arguments, thread).words
    vector = vector_bytes(shape)
    offset, residual, panel = arguments.offset, arguments.residual, arguments.panels
    if shape.a_pass:
        offset += thread * shape.n_vectors * vector
        residual += thread * shape.n_vectors * shape.panel * vector
        panel += thread * arguments.panel_bytes
        part, n_parts = 0, 1
    else:
        panel += words[BUFFER] * arguments.panel_bytes
        part, n_parts = thread, n_threads
    n_bundles, width = bundles_of(words[N_ROWS]), width_of(kind)
    for s in range(shape.n_slices):
        first = first_vector(shape, s)
        if first_vector(shape, s + 1) - first != width:
            continue
        start, stop = part_of(shape, s, n_bundles, part, n_parts)
        weights = arguments.weights + packed_at(shape, s, 0) * vector
        i = start * BUNDLE
        while i < stop * BUNDLE:  # rows
            of_rows = panel + i // BUNDLE * shape.bundle_bytes + i % BUNDLE * shape.size
            out = residual + (first * shape.panel + i * width) * vector
            j = 0
            while j < shape.d:  # features
                logit_tile(
                    kind,
                    min(shape.d - j, FEATURES_OF_A_SUM),
                    of_rows + j * BUNDLE * shape.size,
                    weights + j * width * vector,
                    out,
                    1 if j else 0,
                )
                j += FEATURES_OF_A_SUM
            i += shape.group
        # In a pass the weights stay what they are.
        if shape.shifted and start == 0 and stop > 0 and words[BEGINS_BATCH] >= shape.a_pass:
            shift_logits(kind, shape.d, weights, arguments.shift, offset + first * vector)
