"""The kernels that make one pass over the rows and learn nothing: scores and logits.

Dense and sparse rows have a pass of their own, which does either; what is asked of it is the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.arguments import Samples

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
