"""The training objective over all rows, its gradient, and a lower bound on it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Samples
from fastlin.solvers import full_pass
from fastlin.solvers.problem import Problem

NUMBERS_AT_ONCE = 2**15
"""Numbers of a block of rows that :func:`row_blocks` takes from a matrix."""


@dataclass(frozen=True)
class Value:
    """The objective at a point, the loss, which is the objective without penalty, and the gradient.

    ``gradient`` is ``(k, d + 1)`` float64, and zero for an intercept that is not trained.
    """

    objective: float
    loss: float
    gradient: NDArray[np.float64]

    def to_plain(self) -> tuple[NDArray[np.float64], list[float]]:
        """Return the gradient, and the numbers before it."""
        return self.gradient, [self.objective, self.loss]

    @classmethod
    def from_plain(cls, gradient: NDArray[np.float64], numbers: Sequence[float]) -> Value:
        """Undo :meth:`to_plain`."""
        objective, loss = numbers
        return cls(objective, loss, gradient)


class Objective:
    """Mean cross-entropy plus penalty, as a function of points ``(k, d + 1)`` float64.

    A point holds the weights ``W`` of the scaled inputs and, as its last column, the intercept. The
    gradient by ``W`` is the gradient by the folded weights times ``scale`` (chain rule).

    Attributes
    ----------
    problem : Problem
    decay : (d + 1,) float64
        The penalty is ``decay / 2 * point**2`` in each column.
    trains_intercept : bool
    scale : (d + 1,) float64
        Folds the input scale into a point's weights.
    n_passes : int
        Number of passes over all rows so far.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem, self.samples, self.n_models = problem, problem.samples, problem.n_models
        self.n_rows, d = len(problem.samples.rows), problem.samples.rows.shape[1]
        self.decay = _decay(problem, d)
        self.trains_intercept = problem.fit_intercept
        self.scale = np.append(problem.scale.scale, 1.0)
        self._folds = bool((self.scale != 1).any())
        self.n_passes = 0
        self._at_zero: NDArray[np.float64] | None = None  # the loss's gradient, until it is used

    def with_l2(self, l2: float) -> Objective:
        """Return the objective with another penalty; it keeps what was computed from the rows."""
        other = copy(self)
        other.problem = self.problem.with_l2(l2)
        other.decay = _decay(other.problem, len(self.decay) - 1)
        return other

    def to_plain(self) -> tuple[dict[str, NDArray[np.float64] | None], int]:
        """Return what was computed from the rows, and the number of passes."""
        names = "mean_row", "labels_rows", "share"
        moments = vars(self).get("moments")
        found = {} if moments is None else dict(zip(names, moments, strict=True))
        return {"at_zero": self._at_zero, **found}, self.n_passes

    def restore(self, arrays: Mapping[str, NDArray[np.float64]], n_passes: int) -> None:
        """Take over what :meth:`to_plain` returned."""
        self._at_zero, self.n_passes = arrays.get("at_zero"), n_passes
        if "mean_row" in arrays:
            self.moments = arrays["mean_row"], arrays["labels_rows"], arrays["share"]

    def fold(self, point: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the kernels' weights ``(k, d)`` and intercept ``(k,)``."""
        dtype = self.problem.dtype
        weights = np.empty((len(point), point.shape[1] - 1), dtype)
        for some in row_blocks(point):
            weights[some] = point[some, :-1] * self.scale[:-1] if self._folds else point[some, :-1]
        return weights, point[:, -1].astype(dtype)

    def at(self, point: NDArray[np.float64]) -> Value:
        """Return the objective at a point; not finite if the arithmetic overflows."""
        with np.errstate(over="ignore", invalid="ignore"):
            loss, gradient = self.mean_loss(self.samples, *self.fold(point))
            if not point.any():
                self._at_zero = gradient[:, :-1].copy()
            squares = np.zeros(point.shape[1])
            for some in row_blocks(point):
                squares += np.einsum("ij,ij->j", point[some], point[some])
                gradient[some] += self.decay * point[some]
            objective = loss + float(squares @ self.decay) / 2
        if not self.trains_intercept:
            gradient[:, -1] = 0
        return Value(objective, loss, gradient)

    @property
    def has_free_intercept(self) -> bool:
        """Whether the intercept is trained without a penalty, and everything else with one."""
        weights_decay = self.decay[:-1]
        return bool(self.trains_intercept and self.decay[-1] == 0 and (weights_decay > 0).all())

    def lower_bound(self, point: NDArray[np.float64], value: Value) -> float:
        """Return a lower bound on the objective, from the gradient at a point.

        It is that of ``dual_bound``, up to rounding in the weights' type.
        """
        gradient = value.gradient - self.decay * point  # of the loss alone
        if not self.trains_intercept:
            gradient[:, -1] = 0
        entropy = value.loss - float(np.sum(gradient * point))
        moments = self.moments if self.has_free_intercept else None
        return dual_bound(entropy, gradient, point, self.decay, self.trains_intercept, moments)

    @cached_property
    def moments(
        self,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Mean of the rows ``(d,)``, of rows times labels ``(k, d)``, and of the labels ``(k,)``.

        The first two come from the gradient at zero weights, where every probability is ``1 / k``
        (1/2 for the sigmoid). The third is exact, because a class may have no weight at all.
        """
        k, d = self.n_models, len(self.scale) - 1
        dtype = self.problem.dtype
        labels, weight = self.samples.labels, self.samples.sample_weight
        of_nobody = self.samples.renumbered(np.zeros(max(k, 2), np.int32))
        _, half = self.mean_loss(of_nobody, np.zeros((1, d), dtype), np.zeros(1, dtype))
        mean_row = 2 * half[0, :-1]
        if self._at_zero is None:  # no run began there
            self.at(np.zeros((k, d + 1)))
        assert self._at_zero is not None
        with_labels = (mean_row / 2 if k == 1 else mean_row / k) - self._at_zero
        self._at_zero = None
        share = np.bincount(labels, weight, minlength=max(k, 2)) / self.n_rows
        return mean_row, with_labels, share[-k:]

    def mean_loss(
        self, samples: Samples, weights: NDArray[Any], intercept: NDArray[Any]
    ) -> tuple[float, NDArray[np.float64]]:
        """Return the mean loss and its gradient by a point."""
        self.n_passes += 1
        loss, gradient, intercept_gradient = full_pass.loss_gradient(
            self.problem.backend, samples, weights, intercept, self.problem.n_threads
        )
        joined = np.empty((len(gradient), len(self.scale)))
        factors = self.scale / self.n_rows
        for some in row_blocks(gradient):
            np.multiply(gradient[some], factors[:-1], out=joined[some, :-1])
        joined[:, -1] = intercept_gradient * factors[-1]
        return loss / self.n_rows, joined


def row_blocks(matrix: NDArray[Any]) -> Iterator[slice]:
    """Iterate over blocks of the rows of ``matrix``, so small that the cache holds one.

    Several operations on each block in turn are faster than each of them on a large matrix.
    """
    size = max(1, NUMBERS_AT_ONCE // matrix.shape[1])
    for first in range(0, len(matrix), size):
        yield slice(first, first + size)


def _decay(problem: Problem, d: int) -> NDArray[np.float64]:
    """Return the coefficients of the penalty's gradient by the weights and the intercept."""
    return np.append(np.full(d, problem.decay), problem.intercept_decay)


def dual_bound(
    entropy: float,
    gradient: NDArray[np.float64],
    point: NDArray[np.float64],
    decay: NDArray[np.float64],
    trains_intercept: bool,
    moments: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]] | None,
) -> float:
    """Return a lower bound on the objective, from the probabilities at one point.

    Weak duality: the mean entropy of any probabilities ``p`` minus ``|G|^2 / (2 decay)``, with
    ``G = mean((p - y) x)``, is a lower bound on the optimum; if the intercept is free, the means of
    ``p`` and ``y`` must be equal (Yu, Huang and Lin, "Dual coordinate descent methods for logistic
    regression and maximum entropy models", 2011, equation 40, here with an intercept). With the
    model's ``p`` that is the objective minus ``|gradient|^2 / (2 decay)``. If a free intercept's
    gradient is not zero yet, ``p`` is mixed with as much of a constant as makes the means equal;
    entropy is concave and never negative. Without a penalty the bound is 0.

    Parameters
    ----------
    entropy : float
        Mean entropy of the rows' probabilities, in nats.
    gradient : (k, d + 1)
        ``G``, and in the last column the mean of ``p - y``: the gradient of the loss alone.
    point : (k, d + 1)
    decay : (d + 1,)
    trains_intercept : bool
    moments : (d,), (k, d) and (k,), or None
        Means of the rows, of rows times labels, and of the labels, if the intercept is free.
    """
    weights_decay = decay[:-1]
    if not (weights_decay > 0).all():
        return 0.0
    if moments is None:
        trained = slice(None) if trains_intercept else slice(-1)
        slack = (gradient + decay * point)[:, trained] ** 2 / (2 * decay[trained])
        objective = entropy + float(np.sum(gradient * point + decay * point**2 / 2))
        return max(0.0, objective - float(slack.sum()))
    mean_row, labels_rows, share = moments
    excess = gradient[:, -1]  # mean of p - y
    # The smallest part for which a constant q >= 0 solves (1 - part) (share + excess) + part q =
    # share; two classes have one column, and the other class is its complement.
    with np.errstate(divide="ignore", invalid="ignore"):  # a class may have no weight
        candidates = [excess / (share + excess)]
        if len(excess) == 1:
            candidates.append(-excess / (1 - share - excess))
    part = float(np.clip(np.nan_to_num(np.concatenate(candidates)).max(), 0.0, 1.0))
    mixed = (1 - part) * gradient[:, :-1] - part * labels_rows
    mixed += np.outer(part * share - (1 - part) * excess, mean_row)
    return max(0.0, (1 - part) * entropy - float(np.sum(mixed**2 / (2 * weights_decay))))
