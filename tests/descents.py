"""A few steps of training on random rows, for tests of the loop."""

from __future__ import annotations

from typing import Any

import numpy as np
from problems import make_problem

from fastlin.kernels import Parameters, Samples, get_backend
from fastlin.results.history import History
from fastlin.solvers.batches import Batches
from fastlin.solvers.sgd import Descent, new_parameters, train


def make_descent(k: int = 3, n: int = 103, **changes: Any) -> Descent:
    """A few steps' worth of training, without a validation set."""
    problem = make_problem(n, 6, k)
    batch_size = changes.pop("batch_size", 10)
    options = {
        name: changes.pop(name)
        for name in ("drop_last", "shuffle", "checks_per_epoch")
        if name in changes
    }
    return Descent(
        **{
            "backend": get_backend("numpy"),
            "samples": problem.samples,
            "validation": None,
            "batches": Batches(n, batch_size, **options),
            "learning_rate": 0.1,
            "decay": 2e-3,
            "gain": np.ones(6),
            "max_epochs": 3,
            **changes,
        }
    )


def run(descent: Descent, seed: int = 0) -> tuple[History, Parameters]:
    k = int(descent.samples.labels.max()) + 1
    parameters = new_parameters(k if k > 2 else 1, 6, np.float64, descent.momentum, descent.average)
    return train(descent, parameters, np.random.default_rng(seed)), parameters


VALIDATION = make_problem(57, 6, 3, seed=1).samples
"""Rows of no use: their labels are drawn by chance, so their loss rises sooner or later."""


def val_score(parameters: Parameters, samples: Samples = VALIDATION) -> tuple[float, float]:
    loss_sum, n_correct = get_backend("numpy").score(samples, *parameters.to_return(), 1)
    return loss_sum / len(samples.rows), n_correct / len(samples.rows)
