"""The constant model, without features: a fit with an automatic step size never ends worse.

With noisy labels and few steps, noisy gradients can leave the weights at a point whose loss is
above that of predicting the class frequencies alone. The loss is convex, so the line from that
constant model to the trained one always has a point as good as the better of the two, and a better
one if the features are informative in that direction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Parameters, Samples
from fastlin.solvers import full_pass
from fastlin.solvers.problem import Problem

SAFELY_BETTER, FEW_ROWS = 0.75, 4096
"""A run is not compared if its latest epoch's loss is below this fraction of the constant model's,
unless it has so few rows that a pass over them costs nothing."""

ABSENT = (1e-16, 1e-8, 1e-4, 1e-2)
"""Frequencies tried for a class without weight, whose best logit is minus infinity or, with a
penalty, finite."""

NEWTON_STEPS, SHORTEST = 50, 1e-6
"""Steps towards the best penalised intercept, and their shortest fraction."""

TRIALS = 20
"""Bisections of the line; they narrow the minimum down to a millionth of it."""


def constant_model(
    samples: Samples, n_models: int, intercept_decay: float = 0.0
) -> tuple[NDArray[np.float64], float]:
    """Return the intercept ``(k,)`` of a model without features, and its objective.

    Each class gets its fraction of the sample weights; a class without any weight gets one of
    :data:`ABSENT`. With a penalty on the intercept it is the best one under that penalty.
    """
    counts = np.bincount(samples.labels, samples.sample_weight, max(2, n_models))
    shares = counts / counts.sum()
    best, least = np.zeros(n_models), float(np.log(len(shares)))
    for absent in ABSENT if (shares == 0).any() else ABSENT[:1]:
        logs = np.log(np.where(shares > 0, shares, absent))
        intercept = logs[1:] - logs[:1] if n_models == 1 else logs - logs.mean()
        loss = float(np.log(np.exp(logs).sum()) - shares @ logs)
        value = loss + intercept_decay / 2 * float(np.sum(intercept**2))
        if value < least:
            best, least = intercept, value
    return _penalised(shares, best, intercept_decay) if intercept_decay > 0 else (best, least)


def _penalised(
    shares: NDArray[np.float64], start: NDArray[np.float64], decay: float
) -> tuple[NDArray[np.float64], float]:
    """Return the best intercept ``(k,)`` under a penalty, and its objective, by Newton's method."""
    of_two = len(start) == 1

    def at(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        logits = np.append(0.0, point) if of_two else point
        likely = np.exp(logits - logits.max())
        loss = float(np.log(likely.sum()) + logits.max() - shares @ logits)
        return loss + decay / 2 * float(point @ point), likely / likely.sum()

    best, (least, likely) = start, at(start)
    for _ in range(NEWTON_STEPS):
        kept = slice(1, None) if of_two else slice(None)
        p = likely[kept]
        gradient = p - shares[kept] + decay * best
        step = np.linalg.solve(np.diag(p + decay) - np.outer(p, p), gradient)
        length = 1.0
        while (found := at(best - length * step))[0] > least and length > SHORTEST:
            length /= 2
        if not found[0] < least:
            break
        best, (least, likely) = best - length * step, found
    return best, least


def draw_to_constant(problem: Problem, parameters: Parameters, latest_loss: float) -> None:
    """Move parameters that are worse than the constant model to the best point on the line to it.

    The objective over all training rows decides; unless the intercept is penalised, the loss does
    not get worse either.
    ``latest_loss`` is that of the latest steps: if it is far below the constant model's, the pass
    over many rows is skipped.
    """
    weights, intercept = parameters.to_return()
    constant, constant_value = _best_constant(problem, len(weights))
    if latest_loss < SAFELY_BETTER * constant_value and len(problem.samples.rows) > FEW_ROWS:
        return

    def on_the_way(part: float) -> tuple[NDArray[Any], NDArray[Any]]:
        between = constant + part * (intercept.astype(np.float64) - constant)
        return (part * weights).astype(weights.dtype), between.astype(weights.dtype)

    if _objective(problem, weights, intercept) <= constant_value:
        return
    # The slope changes its sign at the minimum. Rounded values of the objective are all equal near
    # it, so comparing values would choose a point by chance.
    way = weights, intercept.astype(np.float64) - constant
    low, high = 0.0, 1.0
    for _ in range(TRIALS):
        middle = (low + high) / 2
        if _slope(problem, on_the_way(middle), way) < 0:
            low = middle
        else:
            high = middle
    there = on_the_way(low)
    if not _objective(problem, *there) < constant_value:
        there = on_the_way(0.0)
    for values, place in (
        (there[0], parameters.weights),
        (there[1], parameters.intercept),
        (there[0], parameters.weights_average),
        (there[1], parameters.intercept_average),
        (0, parameters.weights_velocity),
        (0, parameters.intercept_velocity),
    ):
        if place is not None:
            place[...] = values


def _best_constant(problem: Problem, n_models: int) -> tuple[NDArray[np.float64], float]:
    """Return intercept and objective of the best constant model that the options allow."""
    if not problem.fit_intercept:
        return np.zeros(n_models), float(np.log(max(2, n_models)))
    return constant_model(problem.samples, n_models, problem.intercept_decay)


def _objective(problem: Problem, weights: NDArray[Any], intercept: NDArray[Any]) -> float:
    loss, _ = problem.score(weights, intercept)
    penalty = problem.decay * np.sum(weights.astype(np.float64) ** 2 / problem.gain)
    penalty += problem.intercept_decay * np.sum(intercept.astype(np.float64) ** 2)
    value = loss + float(penalty) / 2
    return value if np.isfinite(value) else np.inf


@np.errstate(over="ignore", invalid="ignore")
def _slope(
    problem: Problem,
    point: tuple[NDArray[Any], NDArray[Any]],
    way: tuple[NDArray[Any], NDArray[np.float64]],
) -> float:
    """Return the derivative of the objective at a point along a direction of the parameters."""
    _, by_weights, by_intercept = full_pass.loss_gradient(
        problem.backend, problem.samples, *point, problem.n_threads
    )
    weight = problem.samples.sample_weight
    total = float(len(problem.samples.rows) if weight is None else weight.sum())
    weights, intercept = (values.astype(np.float64) for values in point)
    along_weights = by_weights / total + problem.decay * weights / problem.gain
    along_intercept = by_intercept / total + problem.intercept_decay * intercept
    return float(np.sum(along_weights * way[0]) + along_intercept @ way[1])
