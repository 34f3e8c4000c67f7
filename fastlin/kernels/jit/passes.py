"""The kernels that make one pass over the rows and learn nothing: scores and logits.

Dense and sparse rows have a pass of their own, which does either; what is asked of it is the same,
and so is what it does with the logits of a panel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numba
import numpy as np

from fastlin.kernels.arguments import Samples
from fastlin.kernels.jit.launch import start
from fastlin.kernels.jit.loss import is_correct
from fastlin.kernels.jit.memory import array_at, words_of
from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.samples import SampleArrays

if TYPE_CHECKING:
    from fastlin.kernels.arguments import FloatArray
    from fastlin.kernels.jit.calls import Call

    Begin: TypeAlias = Callable[[Samples, FloatArray, FloatArray, int], tuple[Call, Any, Any]]
    Score: TypeAlias = Callable[[Samples, FloatArray, FloatArray, int], tuple[float, int]]
    Logits: TypeAlias = Callable[[Samples, FloatArray, FloatArray, int], FloatArray]


def score_and_logits(begin: Begin, body: Any, panel: int) -> tuple[Score, Logits]:
    """Return the kernels ``score`` and ``logits`` over a pass.

    ``begin`` allocates what a call needs; ``body`` is what each thread does; ``panel`` is the
    number of rows that it takes at once.
    """

    def score(
        samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
    ) -> tuple[float, int]:
        """See :func:`fastlin.kernels.reference.score`."""
        assert samples.has_labels, "this kernel needs the rows' labels"
        n_panels = -(-len(samples.rows) // panel)
        if n_panels == 0:
            return 0.0, 0
        call, shape, arguments = begin(samples, weights, intercept, min(n_threads, n_panels))
        losses, n_correct = np.zeros(n_panels), np.zeros(n_panels, np.int64)
        arguments = arguments._replace(
            n_panels=n_panels, losses=call.address(losses), n_correct=call.address(n_correct)
        )
        start(body, call.kind, words_of(shape, arguments), call.n_threads)
        return float(losses.sum()), int(n_correct.sum())

    def logits(
        samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
    ) -> FloatArray:
        """See :func:`fastlin.kernels.reference.logits`."""
        out: FloatArray = np.empty((len(samples.rows), len(weights)), weights.dtype)
        n_panels = -(-len(samples.rows) // panel)
        if n_panels:
            call, shape, arguments = begin(samples, weights, intercept, min(n_threads, n_panels))
            arguments = arguments._replace(n_panels=n_panels, logits=call.address(out))
            start(body, call.kind, words_of(shape, arguments), call.n_threads)
        return out

    return score, logits


class Results(NamedTuple):
    """What a pass writes."""

    losses: Any  # (n_panels,) float64; empty if logits are asked for
    n_correct: Any  # (n_panels,) int64; likewise
    logits: Any  # (n_rows, k) T; empty unless they are asked for, and then nothing else is


@inner
def results_of(kind: Any, shape: Any, arguments: Any) -> Results:
    """Return the arrays at the addresses in a pass's arguments."""
    n_panels, n_logits = (0, shape.n_rows) if arguments.logits else (arguments.n_panels, 0)
    return Results(
        array_at(numba.float64, arguments.losses, (n_panels,)),
        array_at(numba.int64, arguments.n_correct, (n_panels,)),
        array_at(kind, arguments.logits, (n_logits, shape.k)),
    )


@inner
def take_logits(
    k: int, logits: Any, at: int, samples: SampleArrays, rows: Any, results: Results
) -> bool:
    """Write a panel's logits or count the rows predicted right; return whether losses are wanted.

    ``logits``: [class][row], of which ``at`` is the panel's first; ``rows``: number of the
    panel, its first row and stop.
    """
    panel, first, stop = rows
    for row in range(first, stop):
        i = at + row - first
        if len(results.logits):
            for c in range(k):
                results.logits[row, c] = logits[c, i]
        else:
            results.n_correct[panel] += is_correct(k, logits, i, samples.labels[row])
    return len(results.logits) == 0
