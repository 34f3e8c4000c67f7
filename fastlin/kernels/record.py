"""The record of a backend: its four kernels, or the reason why it is unavailable."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.arguments import FloatArray, Parameters, Rows, Samples, StepOptions

P = ParamSpec("P")
R = TypeVar("R")

SgdSteps: TypeAlias = Callable[
    [Samples, NDArray[np.int64], Parameters, StepOptions, NDArray[np.float64], int], None
]
LossGradient: TypeAlias = Callable[
    [Samples, FloatArray, FloatArray, int], tuple[float, NDArray[np.float64], NDArray[np.float64]]
]
Score: TypeAlias = Callable[[Samples, FloatArray, FloatArray, int], tuple[float, int]]
Logits: TypeAlias = Callable[[Samples, FloatArray, FloatArray, int], FloatArray]

KERNEL_NAMES = ("sgd_steps", "loss_gradient", "score", "logits")
"""The functions of a backend; their contract is in :mod:`fastlin.kernels.reference`."""


@dataclass(frozen=True)
class Backend:
    """One backend: its kernels, or the reason why it has none.

    Attributes
    ----------
    name : str
    version : str or None
        Version of the library that runs the kernels.
    n_threads : int
        Default number of threads, by the limits in force when the record was requested.
    threading_layer : str or None
        What starts the threads.
    instruction_set : str or None
        Widest vectors that the kernels use.
    reason, remedy : str or None
        Why the backend is unavailable, and what to type to get it; None if it is available.
    sgd_steps, loss_gradient, score, logits : callable or None
        See :mod:`fastlin.kernels.reference`.
    """

    name: str
    version: str | None = None
    n_threads: int = 1
    threading_layer: str | None = None
    instruction_set: str | None = None
    reason: str | None = None
    remedy: str | None = None
    sgd_steps: SgdSteps = None  # type: ignore[assignment]  # None only if `reason` is set
    loss_gradient: LossGradient = None  # type: ignore[assignment]  # as above
    score: Score = None  # type: ignore[assignment]  # as above
    logits: Logits = None  # type: ignore[assignment]  # as above

    @property
    def available(self) -> bool:
        """Whether the kernels can be called."""
        return self.reason is None


def by_rows(
    kernels: Mapping[type[Rows], Callable[Concatenate[Samples, P], R]],
) -> Callable[Concatenate[Samples, P], R]:
    """Return a kernel that calls the one in ``kernels`` for the class of its rows.

    A backend chooses its kernel here; solvers never ask how rows are stored.
    """

    def call(samples: Samples, /, *arguments: P.args, **options: P.kwargs) -> R:
        return kernels[type(samples.rows)](samples, *arguments, **options)

    functools.update_wrapper(call, next(iter(kernels.values())))
    return call
