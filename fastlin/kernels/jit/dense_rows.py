"""The Numba kernels for dense rows: vectors hold features, or classes if these are many.

Their contract is that of :mod:`fastlin.kernels.reference`.
"""

from __future__ import annotations

from types import ModuleType
from typing import TYPE_CHECKING

from fastlin.kernels.arguments import Parameters, Samples, StepOptions
from fastlin.kernels.blocking import REGISTERS, holds_classes
from fastlin.kernels.jit.dense import kernels as dense
from fastlin.kernels.jit.launch import instruction_set
from fastlin.rows.interface import type_name

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray


def sgd_steps(
    samples: Samples,
    order: NDArray[np.int64],
    parameters: Parameters,
    options: StepOptions,
    losses_out: NDArray[np.float64],
    n_threads: int = 1,
) -> None:
    """See :func:`fastlin.kernels.reference.sgd_steps`."""
    kernels = _kernels(samples, parameters.weights, options.batch_size)
    kernels.sgd_steps(samples, order, parameters, options, losses_out, n_threads)


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    kernels = _kernels(samples, weights, len(samples.rows))
    result: tuple[float, NDArray[np.float64], NDArray[np.float64]] = kernels.loss_gradient(
        samples, weights, intercept, n_threads
    )
    return result


def score(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, int]:
    """See :func:`fastlin.kernels.reference.score`."""
    kernels = _kernels(samples, weights, None)
    result: tuple[float, int] = kernels.score(samples, weights, intercept, n_threads)
    return result


def logits(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> FloatArray:
    """See :func:`fastlin.kernels.reference.logits`."""
    kernels = _kernels(samples, weights, None)
    result: FloatArray = kernels.logits(samples, weights, intercept, n_threads)
    return result


def _kernels(samples: Samples, weights: FloatArray, batch_size: int | None) -> ModuleType:
    """Return the kernels for a call; ``batch_size``: None if it computes no gradients."""
    types = type_name(samples.rows.dtype), type_name(weights.dtype)
    steps = batch_size is not None
    registers = REGISTERS[instruction_set()]
    if not holds_classes(types, len(weights), batch_size or 0, registers, steps=steps):
        return dense
    # Making its intrinsics takes a tenth of the start of a process, and few need them.
    from fastlin.kernels.jit.many_classes import kernels as many_classes

    return many_classes
