"""Mean loss and accuracy of a model on rows, weighted by the sample weights."""

from __future__ import annotations

from fastlin.kernels import Backend, Samples
from fastlin.kernels.arguments import FloatArray
from fastlin.kernels.reference import predicted
from fastlin.rows.passes import passes
from fastlin.solvers import full_pass


def mean_score(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, float]:
    """Return mean loss and accuracy of ``weights (k, d)`` and ``intercept (k,)``."""
    if samples.sample_weight is None:
        n = len(samples.rows)
        loss_sum, n_correct = full_pass.score(backend, samples, weights, intercept, n_threads)
        return loss_sum / n, n_correct / n
    kernels = full_pass.Kernels(backend, n_threads)
    loss_sum, wrong = passes(samples, weights.dtype).sum(
        weighted_score_of, kernels, weights, intercept
    )
    total = float(samples.sample_weight.sum())
    return loss_sum / total, 1 - wrong / total


def weighted_score_of(
    block: Samples, kernels: full_pass.Kernels, weights: FloatArray, intercept: FloatArray
) -> tuple[float, float]:
    """Return the sum of the losses and the weight of the misclassified rows: a step."""
    assert block.sample_weight is not None
    model = weights, intercept, kernels.n_threads
    loss_sum, _ = kernels.backend.score(block, *model)
    is_wrong = predicted(kernels.backend.logits(block, *model)) != block.labels
    return loss_sum, float(block.sample_weight[is_wrong].sum())
