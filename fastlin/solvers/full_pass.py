"""The kernels' passes over all rows, with the same bits wherever the rows are.

:mod:`fastlin.rows.passes` says how the blocks are cut and their sums added.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, Samples, find_backend
from fastlin.kernels.arguments import FloatArray
from fastlin.rows.passes import Threaded, cut_of, pairwise_sum, passes

__all__ = ["Kernels", "blocks", "loss_gradient", "pairwise_sum", "score"]


@dataclass(frozen=True)
class Kernels(Threaded):
    """A backend and its number of threads, for steps: sent by name, since code stays at home."""

    backend: Backend
    n_threads: int

    def with_threads(self, n_threads: int) -> Kernels:
        """See :class:`~fastlin.rows.passes.Threaded`."""
        return Kernels(self.backend, n_threads)

    def __reduce__(self) -> tuple[Any, ...]:
        return _kernels, (self.backend.name, self.n_threads)


def _kernels(name: str, n_threads: int) -> Kernels:
    return Kernels(find_backend(name), n_threads)


def loss_gradient(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the result of :func:`fastlin.kernels.reference.loss_gradient` over all rows."""
    kernels = Kernels(backend, n_threads)
    found: tuple[float, NDArray[np.float64], NDArray[np.float64]] = passes(
        samples, weights.dtype
    ).sum(loss_gradient_of, kernels, weights, intercept)
    return found


def score(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, int]:
    """Return the result of :func:`fastlin.kernels.reference.score` over all rows."""
    kernels = Kernels(backend, n_threads)
    found: tuple[float, int] = passes(samples, weights.dtype).sum(
        score_of, kernels, weights, intercept
    )
    return found


def loss_gradient_of(
    block: Samples, kernels: Kernels, weights: FloatArray, intercept: FloatArray
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Sum one block's losses and gradients: a step."""
    return kernels.backend.loss_gradient(block, weights, intercept, kernels.n_threads)


def score_of(
    block: Samples, kernels: Kernels, weights: FloatArray, intercept: FloatArray
) -> tuple[float, int]:
    """Sum one block's losses, and count its right rows: a step."""
    return kernels.backend.score(block, weights, intercept, kernels.n_threads)


def blocks(samples: Samples, dtype: np.dtype[Any]) -> Iterator[Samples]:
    """Iterate over the blocks, in a form that kernels can read for weights of ``dtype``."""
    return cut_of(samples.rows, dtype).blocks(samples)
