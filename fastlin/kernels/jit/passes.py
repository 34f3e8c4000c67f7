"""The kernels that make one pass over the rows and learn nothing: scores and logits.

Dense and sparse rows have a pass of their own, which does either; what is asked of it is the same,
and so is what it does with the logits of a panel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numba
import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.arguments import Samples
from fastlin.kernels.jit.loss import is_correct
from fastlin.kernels.jit.memory import array_at
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays, row_at

if TYPE_CHECKING:
    from fastlin.kernels.arguments import FloatArray

    Pass: TypeAlias = Callable[
        [Samples, FloatArray, FloatArray, FloatArray, int],
        tuple[NDArray[np.float64], NDArray[np.int64]],
    ]


def score_by(
    run: Pass,
) -> Callable[[Samples, FloatArray, FloatArray, int], tuple[float, int]]:
    """Return the kernel ``score`` over a pass that fills no logits."""

    def score(
        samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
    ) -> tuple[float, int]:
        """See :func:`fastlin.kernels.reference.score`."""
        assert samples.has_labels, "this kernel needs the rows' labels"
        nothing = np.empty((0, 0), weights.dtype)
        losses, n_correct = run(samples, weights, intercept, nothing, n_threads)
        return float(losses.sum()), int(n_correct.sum())

    return score


def logits_by(run: Pass) -> Callable[[Samples, FloatArray, FloatArray, int], FloatArray]:
    """Return the kernel ``logits`` over a pass that fills them."""

    def logits(
        samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
    ) -> FloatArray:
        """See :func:`fastlin.kernels.reference.logits`."""
        out: FloatArray = np.empty((len(samples.rows), len(weights)), weights.dtype)
        run(samples, weights, intercept, out, n_threads)
        return out

    return logits


class Results(NamedTuple):
    """What a pass writes."""

    losses: Any  # (n_panels,) float64
    n_correct: Any  # (n_panels,) int64
    logits: Any  # (n_rows, k) T; empty unless they are asked for, and then nothing else is


@inner
def results_of(kind: Any, shape: Any, arguments: Any) -> Results:
    """Return the arrays at the addresses in a pass's arguments."""
    n_panels, n_logits = arguments.n_panels, shape.n_rows if arguments.logits else 0
    return Results(
        array_at(numba.float64, arguments.losses, (n_panels,)),
        array_at(numba.int64, arguments.n_correct, (n_panels,)),
        array_at(kind, arguments.logits, (n_logits, shape.k)),
    )


@inner
def write_logits(k: int, logits: Any, at: int, first: int, n_rows: int, results: Results) -> None:
    """Write a panel's logits ``[class][row]``: ``at`` is where row ``first`` lies."""
    for i in range(n_rows):
        for c in range(k):
            results.logits[first + i, c] = logits[c, at + i]


@inner
def count_correct(
    k: int,
    logits: Any,
    at: int,
    samples: SampleArrays,
    first: int,
    n_rows: int,
    results: Results,
    panel: int,
) -> None:
    """Count the rows of a panel that are predicted right; the others: see :func:`write_logits`."""
    for i in range(n_rows):
        label = samples.labels[row_at(samples, first + i)]
        results.n_correct[panel] += is_correct(k, logits, at + i, label)
