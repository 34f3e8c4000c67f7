"""A preconditioner with a block for each class, from rows drawn where the class is uncertain.

The block of class ``c`` in the Hessian of softmax regression is ``mean(p_c (1 - p_c) x x^T)``
(Boehning, "Multinomial logistic regression algorithm", 1992, section 2). Few rows are uncertain
about a class, so the rows of its sample are drawn in proportion to ``p_c (1 - p_c)``, by systematic
sampling (Madow, "On the theory of systematic sampling, II", 1949), and weighted by the inverse of
their chance to be drawn (Horvitz and Thompson, "A generalization of sampling without replacement
from a finite universe", 1952). A sample may still be too small for its block, so each block is
mixed with the mean of all blocks, the more the fewer rows it rests on (the shrinkage of Ledoit and
Wolf, "A well-conditioned estimator for large-dimensional covariance matrices", 2004; the number of
rows is Kish's effective one, "Survey Sampling", 1965, section 11.7).

Adding a vector to the weights of all classes changes no probability, and the blocks, which hold no
products of classes, would give such a direction a curvature that it does not have. So the blocks
are applied to what is left of a gradient after subtracting its mean over the classes.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.kernels import Samples
from fastlin.kernels.threads import map_in_threads
from fastlin.rows.dense import DenseRows
from fastlin.solvers.covariance import SATURATED, countable, inverse_of, seen
from fastlin.solvers.objective import Objective

ROWS_A_FEATURE = 3
"""Rows drawn for each feature and class."""

LEAST_ROWS = 1024

SHRINKAGE = 0.3
"""Rows for each feature that the mean of all blocks counts as, when it is mixed with a block."""

MOST_ROWS_LOOKED_AT = 2**17
"""Of more rows than this, a sample is drawn first, from which the rows of each class are drawn."""

ROWS_AT_ONCE = 4096

MOST_NUMBERS = 2**26
"""Most numbers of all blocks together."""


class ClassBlocks:
    """Multiplies gradients by the inverses of one block for each class."""

    def __init__(self, objective: Objective) -> None:
        self.objective = objective
        self._n_features = len(objective.scale) - 1
        counting, n_counting = countable(objective)
        if n_counting > MOST_ROWS_LOOKED_AT:
            generator = np.random.default_rng(1)
            counting = np.sort(generator.choice(counting, MOST_ROWS_LOOKED_AT, replace=False))
        elif isinstance(counting, int):
            counting = np.arange(counting)
        self._looked_at = counting
        # Divides a sum over these rows, so that it estimates the mean over all rows.
        self._divisor = objective.n_rows * len(counting) / n_counting
        self._n_drawn = max(LEAST_ROWS, ROWS_A_FEATURE * self._n_features)

    @property
    def passes(self) -> float:
        """How many passes over all rows take as many products as an update."""
        d, n_drawn = self._n_features, min(self._n_drawn, len(self._looked_at))
        return (1.3 * n_drawn * d + d * d) / (4 * self.objective.n_rows)

    @property
    def are_possible(self) -> bool:
        """Whether there are blocks to tell apart, and memory for them."""
        k = self.objective.n_models
        return k > 1 and k * self._n_features**2 <= MOST_NUMBERS

    def update(self, point: NDArray[np.float64], decay: NDArray[np.float64]) -> None:
        """Compute the blocks at ``point (k, d + 1)`` with a penalty of ``decay (d + 1,)``."""
        k, d, dtype = len(point), self._n_features, self.objective.problem.dtype
        curvature = self._curvature(point)
        self._total, self._mean_row = np.empty((k, 1)), np.empty((k, d))
        self._inverse = np.empty((k, d, d), dtype)
        n_effective, n_threads = np.empty(k), self.objective.problem.n_threads
        generator = np.random.default_rng(0)
        starts = generator.random(k)

        def scatter(c: int) -> None:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                places, weight = drawn(curvature[:, c], self._n_drawn, starts[c])
                weight = weight / self._divisor
                rows = self._rows(places)
                self._total[c] = weight.sum()
                n_effective[c] = weight.sum() ** 2 / (weight**2).sum()
                self._mean_row[c] = weight.astype(dtype) @ rows / weight.sum()
                rows -= self._mean_row[c].astype(dtype)
                rows *= np.sqrt(weight)[:, np.newaxis].astype(dtype)
                self._inverse[c] = rows.T @ rows

        intercept_decay = decay[-1] if self.objective.trains_intercept else np.inf

        def invert(c: int) -> None:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
                total, mean_row = float(self._total[c, 0]), self._mean_row[c]
                part = SHRINKAGE * d / (SHRINKAGE * d + n_effective[c])
                matrix = (1 - part) * self._inverse[c].astype(np.float64)
                matrix += part * total / self._total.mean() * mean_block
                left = total * (1 - self._share[c, 0])
                matrix += left * np.outer(mean_row, mean_row)
                variance = seen(np.diag(matrix), total, mean_row, self._n_drawn, dtype)
                np.fill_diagonal(matrix, variance + decay[:-1])
                self._inverse[c] = inverse_of(matrix, dtype)

        _ = self._kept  # read once, before the threads do
        with one_blas_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            map_in_threads(scatter, range(k), n_threads)
            mean_block = self._inverse.mean(axis=0, dtype=np.float64)
            self._share = self._total / (self._total + intercept_decay)
            map_in_threads(invert, range(k), n_threads)

    @np.errstate(over="ignore", invalid="ignore", divide="ignore")
    def solve(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the inverse times each of ``m`` gradients, ``(m k, d + 1)``."""
        g = gradients.reshape(-1, *self._mean_row.shape[:1], gradients.shape[1])
        mean = np.broadcast_to(g.mean(axis=1, keepdims=True), g.shape)
        right = np.concatenate([g - mean, mean])  # (2 m, k, d + 1)
        intercept = self._share * right[:, :, -1:]
        weights = (right[:, :, :-1] - intercept * self._mean_row).astype(self._inverse.dtype)
        out = np.empty(right.shape)
        for c, inverse in enumerate(self._inverse):
            out[:, c, :-1] = weights[:, c] @ inverse
        along = np.einsum("rcj,cj->rc", out[:, :, :-1], self._mean_row)
        out[:, :, -1:] = intercept / self._total - self._share * along[:, :, np.newaxis]
        of_rest, of_mean = np.split(out, 2)
        of_rest += (of_mean - of_rest).mean(axis=1, keepdims=True)
        return of_rest.reshape(gradients.shape)

    @cached_property
    def _kept(self) -> tuple[Samples, NDArray[np.int64]]:
        """Samples that hold the rows looked at, and the places of these there."""
        samples, looked_at = self.objective.samples, self._looked_at
        rows, places = samples.rows.kept(looked_at)
        if rows is samples.rows:
            return samples, looked_at
        weight = samples.sample_weight
        weight = None if weight is None else weight[looked_at]
        labels = samples.labels[looked_at]
        return replace(samples, rows=rows, labels=labels, sample_weight=weight), places

    def _rows(self, chosen: NDArray[np.int64]) -> NDArray[Any]:
        """Return some of the rows looked at, scaled, as an array that may be written to."""
        objective, (samples, places) = self.objective, self._kept
        rows = DenseRows(samples.rows.part(places[chosen]).to_array())
        shift, scale = objective.samples.shift, objective.scale[:-1]
        return np.array(rows.scaled(objective.problem.dtype, shift, scale).matrix, order="C")

    def _curvature(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``p (1 - p)`` times each row's weight, ``(m, k)``, of the rows looked at."""
        objective, (samples, rows) = self.objective, self._kept
        problem = objective.problem
        model = objective.fold(point)
        out = np.empty((len(rows), len(point)))
        for first in range(0, len(rows), ROWS_AT_ONCE):
            some: Any = rows[first : first + ROWS_AT_ONCE]
            if len(rows) == len(samples.rows):
                some = slice(first, first + ROWS_AT_ONCE)
            block = samples.part(some)
            block = replace(block, rows=block.rows.for_weights(problem.dtype))
            weight = block.sample_weight
            z = problem.backend.logits(block, *model, problem.n_threads)
            p = z.astype(np.float64)
            p -= p.max(axis=1, keepdims=True)
            np.exp(p, out=p)
            p /= p.sum(axis=1, keepdims=True)
            p *= 1 - p
            place = slice(first, first + ROWS_AT_ONCE)
            out[place] = np.maximum(p, SATURATED)
            if weight is not None:
                out[place] *= weight[:, np.newaxis]
        return out


def drawn(
    size: NDArray[np.float64], n_drawn: int, start: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw about ``n_drawn`` of the rows, each with a chance in proportion to its ``size (n,)``.

    Returns their places, and the size of each divided by its chance, whose sum estimates that of
    all sizes. ``start``, between 0 and 1, decides which rows are drawn.
    """
    if n_drawn >= len(size):
        return np.arange(len(size)), size
    chance = np.minimum(1.0, size * (n_drawn / size.sum()))
    for _ in range(10):  # rows whose chance is 1 leave the rest of the draws to the others
        factor = n_drawn / chance.sum()
        if factor < 1.01:
            break
        chance = np.minimum(1.0, chance * factor)
    passed = np.floor(np.cumsum(chance) + start)
    places = np.flatnonzero(np.diff(passed, prepend=np.floor(start)) > 0)
    return places, size[places] / chance[places]
