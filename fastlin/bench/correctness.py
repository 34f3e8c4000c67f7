"""Compares a contestant's first steps with the NumPy reference in float64, before any timing.

The check starts from random weights, with a large step and a heavy penalty, so
that a forgotten penalty, a wrong row or a wrong rate changes the weights by far
more than rounding does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.bench.contestants import Contestant, Model, Outcome, sgd_arguments
from fastlin.bench.data import Data
from fastlin.bench.problems import Problem
from fastlin.kernels import Parameters, get_backend

CHECK_STEPS = 3
ROWS_AT_ONCE = 4096
# Rounding errors of a sum of N terms grow like sqrt(N) epsilon (Higham, "Accuracy
# and Stability of Numerical Algorithms", 2002, section 2.8). The two sums of a step
# have d and batch_size terms. The factor covers the steps, exp, and the cancellation
# in a gradient that is smaller than its terms.
_ERROR_FACTOR = 8.0


@dataclass(frozen=True)
class Check:
    """How far a contestant was from the reference, and how far it may be.

    ``error`` is the largest difference of a weight, an intercept or a loss,
    relative to the largest change of a weight (of an intercept, to the largest loss).
    """

    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the contestant may be timed; nan does not pass."""
        return self.error <= self.tolerance


def check_problem(problem: Problem) -> Problem:
    """Return the problem of the check: few steps, each with large changes.

    With a rate of 64 / d the logits of rows in [0, 1] change by about 1 a step,
    and the penalty alone shrinks the weights by a tenth a step.
    """
    rate = 64.0 / problem.n_features
    steps = min(CHECK_STEPS, problem.n_steps)
    return replace(problem, n_rows=steps * problem.batch_size, rate=rate, l2=0.05 / rate)


def tolerance(problem: Problem) -> float:
    """Return the allowed relative error for the problem's type and shape."""
    epsilon = float(np.finfo(problem.weight_dtype).eps)
    terms = problem.n_features + (0 if problem.predicts else problem.batch_size)
    return float(_ERROR_FACTOR * epsilon * np.sqrt(terms))


def random_model(problem: Problem) -> Model:
    """Return seeded weights that give rows in [0, 1] logits of about 1.

    The intercept starts at zero: next to a large one, rounding alone would hide the
    small changes that are to be compared.
    """
    random = np.random.default_rng(problem.seed + 1)
    shape = (problem.n_outputs, problem.n_features)
    weights = random.standard_normal(shape) / np.sqrt(problem.n_features)
    return Model(weights.astype(problem.weight_dtype), Model.zeros(problem).intercept)


def check(
    build: Callable[[Problem, Data, Model], Contestant],
    problem: Problem,
    data: Data,
) -> Check:
    """Run a contestant's first steps and compare them with the reference.

    Parameters
    ----------
    build : callable
        Makes the contestant for the check's problem, its data and its start.
    problem, data
        What will be timed.
    """
    short = check_problem(problem)
    few = data.first_steps(short.n_steps, short.batch_size)
    start = random_model(short)
    contestant = build(short, few, start)
    contestant.reset()
    contestant.run()
    return compare(contestant.outcome(), reference_outcome(short, few, start), start, short)


def compare(outcome: Outcome, expected: Outcome, start: Model, problem: Problem) -> Check:
    """Measure how far an outcome is from the expected one."""
    parts = (
        (outcome.model.weights, expected.model.weights, start.weights),
        (outcome.model.intercept, expected.model.intercept, start.intercept),
        (outcome.losses, expected.losses, 0.0),
    )
    error = 0.0
    for got, right, before in parts:
        if np.shape(got) != np.shape(right):
            return Check(float("inf"), tolerance(problem))
        difference = np.max(np.abs(np.asarray(got, np.float64) - right))
        error = max(error, _nan_to_infinity(difference / np.max(np.abs(right - before))))
    return Check(error, tolerance(problem))


def _nan_to_infinity(value: Any) -> float:
    return float("inf") if np.isnan(value) else float(value)


def reference_outcome(problem: Problem, data: Data, start: Model) -> Outcome:
    """Run the NumPy reference in float64, one batch at a time to keep memory small."""
    sgd_steps = get_backend("numpy").sgd_steps
    parameters = Parameters(
        start.weights.astype(np.float64) * data.scale, start.intercept.astype(np.float64)
    )
    losses = np.empty(problem.n_steps)
    for step, batch in enumerate(data.order.reshape(problem.n_steps, problem.batch_size)):
        rows = data.rows[batch]
        rows = rows if isinstance(rows, np.ndarray) else rows.toarray()
        few = Data(
            rows if rows.dtype == np.uint8 else rows.astype(np.float64),
            data.labels[batch],
            np.arange(len(batch)),
            data.scale,
        )
        samples, options, loss = sgd_arguments(problem, few, np.dtype(np.float64))
        sgd_steps(samples, few.order, parameters, options, loss, 1)
        losses[step] = loss[0]
    return Outcome(Model(parameters.weights / data.scale, parameters.intercept), losses)


def logits_by_block(model: Model, data: Data) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield blocks of rows and their logits ``(rows, k)``, by plain NumPy in float64.

    With two classes, the first one's logit is 0.
    """
    weights = np.asarray(model.weights, np.float64)
    rows: Any = data.rows
    for first in range(0, len(data.labels), ROWS_AT_ONCE):
        block = slice(first, first + ROWS_AT_ONCE)
        z = (rows[block].astype(np.float64) * data.scale) @ weights.T + model.intercept
        yield block, np.column_stack([np.zeros(len(z)), z]) if z.shape[1] == 1 else z
