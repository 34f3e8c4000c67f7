"""Brings solvers to the optimum: how many iterations each needs, checked from outside."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastlin.bench.contestants import Contestant, Fit, Model, limit_blas_threads
from fastlin.bench.correctness import Check, logits_by_block
from fastlin.bench.data import Data
from fastlin.bench.problems import Problem
from fastlin.kernels import Backend

MOST_ITERATIONS = 4096
MOST_SECONDS = 60.0
"""Time of a run after which a solver that has not reached the gap gets no more iterations."""
CLOSE_ENOUGH = 1.1
"""Ratio of iterations that reach the gap to those that do not, at which the search ends."""


class Solver(Contestant):
    """A contestant that iterates over all rows; ``iterations`` says how often at most."""

    iterations: int = 1


class FastlinSolver(Fit, Solver):
    """``LogisticRegression(solver="lbfgs").fit``, with all that a user pays."""

    def __init__(self, backend: Backend, problem: Problem, data: Data, n_threads: int) -> None:
        from fastlin import LogisticRegression

        self.data, self.n_threads = data, n_threads
        self.estimator = LogisticRegression(
            solver="lbfgs",
            backend=backend.name,
            l2=problem.l2,
            tol=0,
            input_scale=(0.0, data.scale) if data.scale != 1.0 else None,
            n_threads=n_threads,
        )

    def reset(self) -> None:
        """Set the threads and the iterations."""
        limit_blas_threads(self.n_threads)
        self.estimator.set_params(max_epochs=self.iterations)


@dataclass(frozen=True)
class Target:
    """What a solver has to reach: the least objective, within the problem's ``gap``."""

    problem: Problem
    data: Data
    least: float

    @classmethod
    def of(cls, problem: Problem, data: Data, backend: Backend, n_threads: int) -> Target:
        """Solve the problem in float64, far beyond what is asked for, and certified."""
        from fastlin import LogisticRegression

        rows: Any = data.rows
        reference = LogisticRegression(
            solver="lbfgs",
            backend=backend.name,
            l2=problem.l2,
            tol=1e-11,
            max_epochs=MOST_ITERATIONS,
            input_scale=(0.0, data.scale) if data.scale != 1.0 else None,
            dtype="float64",
            n_threads=n_threads,
        ).fit(rows if rows.dtype == np.uint8 else rows.astype(np.float64), data.labels)
        history = reference.history_
        least = float(history.objective[-1])
        assert problem.gap is not None
        assert history.gap[-1] <= problem.gap * least, "no objective is lower by what matters here"
        return cls(problem, data, least)

    def check(self, model: Model) -> Check:
        """Compare the objective of a model, computed here in float64, with the least."""
        assert self.problem.gap is not None
        reached = objective(model, self.problem, self.data)
        return Check(reached / self.least - 1, self.problem.gap)


@np.errstate(invalid="ignore")  # a diverged model has no objective
def objective(model: Model, problem: Problem, data: Data) -> float:
    """Return mean cross-entropy plus penalty, by plain NumPy in float64."""
    total = 0.0
    for block, z in logits_by_block(model, data):
        total += float(np.logaddexp.reduce(z, axis=1).sum())
        total -= float(z[np.arange(len(z)), data.labels[block]].sum())
    weights = np.asarray(model.weights, np.float64)
    return total / len(data.labels) + problem.l2 * float((weights**2).sum())


def bring_to_target(solver: Solver, target: Target) -> Check:
    """Set ``solver.iterations`` to nearly the fewest that reach the target; return the check.

    Where even :data:`MOST_ITERATIONS` or :data:`MOST_SECONDS` do not, the check has not passed.
    """
    seconds = 0.0

    def reached(iterations: int) -> Check:
        nonlocal seconds
        solver.iterations = iterations
        solver.reset()
        started = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # all of them say that the optimum is not reached
            solver.run()
        seconds = time.perf_counter() - started
        return target.check(solver.outcome().model)

    enough, too_few = 8, 0
    check = reached(enough)
    while not check.passed and enough < MOST_ITERATIONS and seconds < MOST_SECONDS:
        enough, too_few = 2 * enough, enough
        check = reached(enough)
    while check.passed and enough > max(CLOSE_ENOUGH * too_few, too_few + 1):
        middle = (enough + too_few) // 2
        tried = reached(middle)
        if tried.passed:
            enough, check = middle, tried
        else:
            too_few = middle
    solver.iterations = enough
    return check
