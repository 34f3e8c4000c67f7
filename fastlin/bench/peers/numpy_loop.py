"""NumPy: a Python loop over the batches, in place, every buffer allocated beforehand."""

from __future__ import annotations

from functools import partial

import numpy as np

from fastlin.bench.contestants import Contestant, Model, Outcome, limit_blas_threads
from fastlin.bench.data import Data
from fastlin.bench.peers import usual_variants
from fastlin.bench.problems import Problem


class NumpyLoop(Contestant):
    """Softmax or sigmoid; products by NumPy's BLAS.

    Parameters
    ----------
    converted : bool
        Take float rows made beforehand instead of widening each narrow batch.
    """

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, n_threads: int, converted: bool
    ) -> None:
        self.problem, self.start, self.n_threads = problem, start, n_threads
        self.rows = data.float_rows if converted else data.rows
        self.scale = problem.weight_dtype.type(data.scale if self.rows is data.rows else 1)
        self.labels = data.labels
        m, d, k = problem.batch_size, problem.n_features, problem.n_outputs
        self.batches = data.order.reshape(-1, m)
        dtype = problem.weight_dtype
        self.weights, self.intercept = np.empty((k, d), dtype), np.empty(k, dtype)
        self.losses = np.empty(len(self.batches))
        self.x, self.gradient = np.empty((m, d), dtype), np.empty((k, d), dtype)
        self.gathered = self.x if self.rows.dtype == dtype else np.empty((m, d), self.rows.dtype)
        self.logits, self.row_value = np.empty((m, k), dtype), np.empty((m, 1), dtype)
        self.batch_labels, self.row_numbers = np.empty(m, np.int32), np.arange(m)

    def reset(self) -> None:
        """Copy the starting weights in."""
        limit_blas_threads(self.n_threads)
        self.weights[:] = self.start.weights
        self.intercept[:] = self.start.intercept

    def run(self) -> None:
        """Make every step."""
        residual_of = self._sigmoid if self.problem.n_outputs == 1 else self._softmax
        rate = self.problem.learning_rate
        shrink = 1.0 - 2.0 * self.problem.l2 * rate
        for step, batch in enumerate(self.batches):
            # mode="raise", the default, would go through a buffer of its own.
            np.take(self.rows, batch, axis=0, out=self.gathered, mode="clip")
            np.take(self.labels, batch, out=self.batch_labels, mode="clip")
            if self.scale != 1:
                np.multiply(self.gathered, self.scale, out=self.x)
            elif self.gathered is not self.x:
                np.copyto(self.x, self.gathered)
            np.matmul(self.x, self.weights.T, out=self.logits)
            self.logits += self.intercept
            self.losses[step] = residual_of()
            residual = self.logits
            residual *= rate / len(batch)
            np.matmul(residual.T, self.x, out=self.gradient)
            self.weights *= shrink
            self.weights -= self.gradient
            self.intercept -= residual.sum(axis=0)

    def _softmax(self) -> float:
        """Turn the logits into residuals in place; return the mean cross-entropy."""
        z, total = self.logits, self.row_value
        np.max(z, axis=1, keepdims=True, out=total)
        z -= total
        right = z[self.row_numbers, self.batch_labels].mean()
        np.exp(z, out=z)
        np.sum(z, axis=1, keepdims=True, out=total)
        z /= total
        z[self.row_numbers, self.batch_labels] -= 1
        np.log(total, out=total)
        return float(total.mean() - right)

    def _sigmoid(self) -> float:
        """Turn the logits into residuals in place; return the mean cross-entropy.

        With ``e = exp(-abs(z))``, which cannot overflow, the loss is
        ``max(z, 0) - y z + ln(1 + e)``, and the sigmoid is ``1 / (1 + e)`` or ``e / (1 + e)``.
        """
        z, e = self.logits[:, 0], self.row_value[:, 0]
        np.abs(z, out=e)
        np.negative(e, out=e)
        np.exp(e, out=e)
        loss = float(np.mean(np.maximum(z, 0) - self.batch_labels * z + np.log1p(e)))
        numerator = np.where(z >= 0, 1, e)
        e += 1
        np.divide(numerator, e, out=z)
        z -= self.batch_labels
        return loss

    def outcome(self) -> Outcome:
        """Return copies of what the run changed in place."""
        return Outcome(Model(self.weights.copy(), self.intercept.copy()), self.losses.copy())


variants = partial(usual_variants, NumpyLoop)
