r"""Passes over all rows: sums over fixed blocks, added up in a fixed order.

A kernel sums one block. Blocks start at the first row, and their size
(:meth:`fastlin.rows.interface.Rows.rows_of_a_block`) depends only on the number of features, the
types and the form of the rows. Their sums are added in pairs, by a fixed tree::

    0   1   2   3   4
     \ /     \ /    |
     0-1     2-3    |
        \   /       |
         0-3        |
            \      /
              0-4

So the bits of a result depend neither on the number of threads nor on where the rows are: in
memory, on disk, or in several pieces, if each piece but the last ends at the end of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, Samples
from fastlin.kernels.arguments import FloatArray

Sums = TypeVar("Sums", bound=tuple[Any, ...])


def loss_gradient(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the result of :func:`fastlin.kernels.reference.loss_gradient` over all rows."""
    return pairwise_sum(
        backend.loss_gradient(block, weights, intercept, n_threads)
        for block in blocks(samples, weights.dtype)
    )


def score(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, int]:
    """Return the result of :func:`fastlin.kernels.reference.score` over all rows."""
    return pairwise_sum(
        backend.score(block, weights, intercept, n_threads)
        for block in blocks(samples, weights.dtype)
    )


def blocks(samples: Samples, dtype: np.dtype[Any]) -> Iterator[Samples]:
    """Iterate over the blocks, in a form that kernels can read for weights of ``dtype``.

    There is at least one block, which is empty if there are no rows.
    """
    size = samples.rows.rows_of_a_block(dtype)
    for first in range(0, max(1, len(samples.rows)), size):
        samples.rows.prefetch(first + size, first + 2 * size)
        block = samples.part(slice(first, first + size))
        yield replace(block, rows=block.rows.for_weights(dtype))


def pairwise_sum(parts: Iterable[Sums]) -> Sums:
    """Return the sum of tuples of numbers or arrays, by the module's tree.

    At most one sum of each height waits for its neighbour, so at any time about ``log2`` of the
    number of blocks are held.
    """
    waiting: list[tuple[int, Any]] = []
    for part in parts:
        height = 0
        while waiting and waiting[-1][0] == height:
            part = _add(waiting.pop()[1], part)
            height += 1
        waiting.append((height, part))
    total: Sums = waiting.pop()[1]
    while waiting:
        total = _add(waiting.pop()[1], total)
    return total


def _add(left: Any, right: Any) -> Any:
    return tuple(a + b for a, b in zip(left, right, strict=True))
