"""Mean loss and accuracy of a model on rows, weighted by the sample weights."""

from __future__ import annotations

from fastlin.kernels import Backend, Samples
from fastlin.kernels.arguments import FloatArray
from fastlin.kernels.reference import predicted
from fastlin.solvers import full_pass


def mean_score(
    backend: Backend, samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[float, float]:
    """Return mean loss and accuracy of ``weights (k, d)`` and ``intercept (k,)``."""
    if samples.sample_weight is None:
        n = len(samples.rows)
        loss_sum, n_correct = full_pass.score(backend, samples, weights, intercept, n_threads)
        return loss_sum / n, n_correct / n

    def weighted_score(block: Samples) -> tuple[float, float]:
        """Return the sum of the losses and the weight of the misclassified rows."""
        assert block.sample_weight is not None
        loss_sum, _ = backend.score(block, weights, intercept, n_threads)
        z = backend.logits(block, weights, intercept, n_threads)
        is_wrong = predicted(z) != block.labels
        return loss_sum, float(block.sample_weight[is_wrong].sum())

    blocks = full_pass.blocks(samples, weights.dtype)
    loss_sum, wrong = full_pass.pairwise_sum(map(weighted_score, blocks))
    total = float(samples.sample_weight.sum())
    return loss_sum / total, 1 - wrong / total
