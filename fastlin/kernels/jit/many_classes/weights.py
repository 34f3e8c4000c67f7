"""The weights of many classes, as users give them and packed: copied by each thread in part."""

from __future__ import annotations

from typing import Any

import numba

from fastlin.kernels.jit.kind import this_kind
from fastlin.kernels.jit.many_classes.copies import transpose
from fastlin.kernels.jit.many_classes.layout import (
    ARGUMENTS_AT,
    BACK,
    Arguments,
    Shape,
    first_vector,
    own_arrays,
    packed_at,
    part_of,
)
from fastlin.kernels.jit.memory import array_at, read_record
from fastlin.kernels.jit.options import inner

N_ARRAYS = 3
"""Arrays of weights at most: values, velocities, averages."""


@inner
def pack_block(
    kind: Any, shape: Shape, given: int, packed: int, place: tuple[int, int, int], back: int
) -> None:
    """Copy the weights (k, d) of a vector's features and a vector of classes, or back.

    ``place``: the slice, the vector and the feature.
    """
    s, vector, feature = place
    d, lanes, size = shape.d, shape.lanes, shape.size
    first = first_vector(shape, s)
    between = (first_vector(shape, s + 1) - first) * lanes  # numbers from feature to feature
    c = vector * lanes
    inside = packed + ((packed_at(shape, s, feature) + vector - first) * lanes) * size
    outside = given + (c * d + feature) * size
    n_features, n_classes = min(lanes, d - feature), min(lanes, shape.k - c)
    if n_features == lanes and n_classes == lanes:
        if back:
            transpose(kind, inside, between * size, outside, d * size)
        else:
            transpose(kind, outside, d * size, inside, between * size)
        return
    by_feature = array_at(kind, inside, (n_features, between))
    by_class = array_at(kind, outside, (n_classes, d))
    for i in range(n_classes):
        for j in range(n_features):
            if back:
                by_class[i, j] = by_feature[j, i]
            else:
                by_feature[j, i] = by_class[i, j]


def pack_phase(data: int, thread: int, n_threads: int) -> None:
    """Pack a thread's part of all weights, or unpack it."""
    kind = this_kind()
    shape, arguments = read_record(Shape, data), read_record(Arguments, data + ARGUMENTS_AT)
    own = own_arrays(kind, shape, arguments, thread)
    given = array_at(numba.int64, arguments.given, (N_ARRAYS,))
    packed = array_at(numba.int64, arguments.packed, (N_ARRAYS,))
    n_blocks = (shape.d + shape.lanes - 1) // shape.lanes
    for array in range(N_ARRAYS):
        if given[array] == 0:
            continue
        for s in range(shape.n_slices):
            start, stop = part_of(shape, s, n_blocks, thread, n_threads)
            for vector in range(first_vector(shape, s), first_vector(shape, s + 1)):
                for b in range(start, stop):
                    place = (s, vector, b * shape.lanes)
                    pack_block(kind, shape, given[array], packed[array], place, own.words[BACK])


@inner
def write_gradient(
    kind: Any, shape: Shape, arguments: Arguments, thread: int, n_threads: int
) -> None:
    """Unpack a thread's part of the gradient over all rows, and correct it for the rows' shift."""
    d, k, group, lanes = shape.d, shape.k, shape.group, shape.lanes
    n_packed = shape.n_vectors * shape.d_padded * lanes
    sums = array_at(numba.float64, arguments.gradient_sum, (n_packed,))
    out = array_at(numba.float64, arguments.gradient_out, (k, d))
    by_intercept = array_at(numba.float64, arguments.intercept_gradient, (k,))
    shift = array_at(kind, arguments.shift, (shape.d_padded,))
    for s in range(shape.n_slices):
        start, stop = part_of(shape, s, shape.d_padded // group, thread, n_threads)
        first, stop_vector = first_vector(shape, s), first_vector(shape, s + 1)
        between = (stop_vector - first) * lanes
        for g in range(start, stop):
            from_group = packed_at(shape, s, g * group) * lanes
            for c in range(first * lanes, min(k, stop_vector * lanes)):
                for j in range(g * group, min(d, (g + 1) * group)):
                    at = from_group + (j - g * group) * between + c - first * lanes
                    out[c, j] = sums[at] - by_intercept[c] * shift[j]
