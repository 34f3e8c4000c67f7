"""How good weights are on some rows: mean loss and accuracy, in which each row has its weight."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastlin.kernels import Backend, Samples
    from fastlin.kernels.arguments import FloatArray

ROWS_AT_ONCE = 8192
"""Rows whose logits are held at a time, to see which weighted rows are right."""


def mean_score(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, float]:
    """Return mean loss and accuracy of ``weights (k, d)`` and ``intercept (k,)``."""
    loss_sum, n_correct = backend.score(samples, weights, intercept, n_threads)
    n, weight = len(samples.rows), samples.sample_weight
    if weight is None:
        return loss_sum / n, n_correct / n
    total, wrong = float(weight.sum()), 0.0
    for first in range(0, n, ROWS_AT_ONCE):
        part = slice(first, min(first + ROWS_AT_ONCE, n))
        block = samples.part(part)
        z = backend.logits(replace(block, sample_weight=None), weights, intercept, n_threads)
        predicted = z[:, 0] > 0 if z.shape[1] == 1 else z.argmax(axis=1)
        wrong += float(weight[part] @ (predicted != block.labels))
    return loss_sum / total, 1 - wrong / total
