"""Phase C of a batch of sparse rows: its gradient added up, or stepped with at once.

Each feature gets its changes in the order of the rows, whatever the number of threads. What steps
do to the features that none of their rows stores is left to a :class:`.Mixture`; the arrays are
held in its coordinates.
"""

from __future__ import annotations

from typing import Any

from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.sparse.layout import Arrays, Shape, segment_at
from fastlin.kernels.jit.sparse.mixture import Mixture
from fastlin.kernels.jit.sparse.tiles import add_products, mix

FLUSHED_AT_ONCE = 64
"""Features whose gradients, one class after the other, stay in the cache."""


@inner
def make_values(kind: Any, shape: Shape, arrays: Arrays, mixture: Mixture, features: Any) -> None:
    """Turn the coordinates of some features into values, whose mixture is the identity."""
    array_bytes = shape.k_padded * shape.size
    n_vectors = shape.block * shape.n_blocks
    factors = (
        mixture.ww,
        mixture.wv,
        mixture.vw,
        mixture.vv,
        mixture.aw,
        mixture.av,
        mixture.aa,
    )
    for j in range(features[0], features[1]):
        at = arrays.state.ctypes.data + j * shape.feature_bytes
        three = at, at + shape.velocity * array_bytes, at + shape.average * array_bytes
        mix(kind, n_vectors, three, factors)


@inner
def factor_of(shape: Shape, change: tuple[float, float, float], array: int) -> float:
    """Return the part of a change that belongs to one of the arrays of the state."""
    if array == 0:
        return change[0]
    return change[1] if array == shape.velocity else change[2]


@inner
def update_phase(
    kind: Any, shape: Shape, arrays: Arrays, batch: Any, features: Any, change: Any
) -> None:
    """One thread's part of phase C: add its features' gradients to their sums, or step with them.

    ``change``: coordinates of what a gradient of 1 does to weights, velocity and average.
    """
    array_bytes = shape.k_padded * shape.size
    gain, gain_bytes = arrays.gain.ctypes.data, shape.size if len(arrays.gain) > 1 else 0
    n_arrays, sums, feature_bytes = (
        arrays.state.shape[1],
        arrays.state.ctypes.data,
        shape.feature_bytes,
    )
    if not shape.in_place:
        change, gain, gain_bytes = (1.0, 0.0, 0.0), arrays.is_class.ctypes.data, 0
        n_arrays, sums, feature_bytes = 1, arrays.gradient.ctypes.data, array_bytes
    following = segment_at(kind, shape, arrays, batch[0], features)
    for position in range(batch[0], batch[1]):
        start, stop = following
        if position + 1 < batch[1]:
            following = segment_at(kind, shape, arrays, position + 1, features)
        columns = arrays.at.columns + start * shape.column_size
        values = arrays.at.values + start * shape.size
        residual = arrays.residual[position - batch[0]].ctypes.data
        for b in range(shape.n_blocks):
            for array in range(n_arrays):
                add_products(
                    kind,
                    columns,
                    values,
                    stop - start,
                    residual + b * shape.block_bytes,
                    factor_of(shape, change, array),
                    gain,
                    gain_bytes,
                    sums + array * array_bytes + b * shape.block_bytes,
                    feature_bytes,
                    arrays.at.columns + following[0] * shape.column_size,
                    following[1] - following[0],
                )


@inner
def descend(shape: Shape, arrays: Arrays, features: Any, change: Any) -> None:
    """Step with the gradients that were summed up for some features, which become zero."""
    for j in range(features[0], features[1]):
        gain = arrays.gain[j if len(arrays.gain) > 1 else 0]
        for array in range(arrays.state.shape[1]):
            factor = gain * factor_of(shape, change, array)
            for c in range(shape.k_padded):
                arrays.state[j, array, c] += factor * arrays.gradient[j, c]
        arrays.gradient[j] = 0


@inner
def flush(shape: Shape, arrays: Arrays, features: Any) -> None:
    """Add the gradients that were summed up for some features to the result, and make them zero."""
    for first in range(features[0], features[1], FLUSHED_AT_ONCE):
        stop = min(first + FLUSHED_AT_ONCE, features[1])
        for c in range(shape.k):
            for j in range(first, stop):
                arrays.gradient_out[c, j] += arrays.gradient[j, c]
        arrays.gradient[first:stop] = 0
