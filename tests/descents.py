"""A few steps of training on random rows, for tests of the loop."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from problems import make_problem

from fastlin.kernels import Parameters, Samples, get_backend
from fastlin.results.history import History
from fastlin.rows.scaling import InputScale
from fastlin.solvers.batches import Batches
from fastlin.solvers.problem import Problem
from fastlin.solvers.sgd import Descent, train
from fastlin.solvers.state import new_parameters


class Training(NamedTuple):
    """A problem, and how gradient descent goes about it."""

    problem: Problem
    descent: Descent

    def with_changes(self, **changes: Any) -> Training:
        """Change fields of either."""
        of_descent = {name: changes.pop(name) for name in vars(self.descent) if name in changes}
        return Training(replace(self.problem, **changes), replace(self.descent, **of_descent))


def of_samples(
    samples: Samples, k: int, batches: Batches, gain: Any = 1.0, **changes: Any
) -> Training:
    """Training without a validation set; ``gain`` is one number or ``(d,)``, of the weights' type.

    ``changes`` are fields of :class:`Problem` and of :class:`Descent`.
    """
    d = samples.rows.shape[1]
    scale = InputScale(np.zeros(d), np.broadcast_to(np.sqrt(gain), d))
    dtype = np.dtype(changes.pop("dtype", np.float64))
    problem = Problem(changes.pop("backend", get_backend("numpy")), samples, scale, dtype, k, 1e-3)
    return Training(problem, Descent(batches, 0.1)).with_changes(**changes)


def make_training(k: int = 3, n: int = 103, **changes: Any) -> Training:
    """A few steps' worth of training, without a validation set."""
    batch_size = changes.pop("batch_size", 10)
    options = {
        name: changes.pop(name)
        for name in ("drop_last", "shuffle", "checks_per_epoch")
        if name in changes
    }
    batches = Batches(n, batch_size, **options)
    samples = make_problem(n, 6, k).samples
    return of_samples(samples, k if k > 2 else 1, batches, **{"max_epochs": 3, **changes})


def run(training: Training, seed: int = 0) -> tuple[History, Parameters]:
    problem, descent = training
    d = problem.samples.rows.shape[1]
    options = descent.momentum, descent.average
    parameters = new_parameters(problem.n_models, d, problem.dtype, *options)
    return train(problem, descent, parameters, np.random.default_rng(seed)), parameters


VALIDATION = make_problem(57, 6, 3, seed=1).samples
"""Validation rows with random labels, whose loss rises sooner or later."""


def val_score(parameters: Parameters, samples: Samples = VALIDATION) -> tuple[float, float]:
    loss_sum, n_correct = get_backend("numpy").score(samples, *parameters.to_return(), 1)
    return loss_sum / len(samples.rows), n_correct / len(samples.rows)
