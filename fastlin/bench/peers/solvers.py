"""Solvers of other libraries that go to the optimum: scikit-learn's L-BFGS, Intel's, PyTorch's."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np

from fastlin.bench.contestants import Model, Outcome, limit_blas_threads
from fastlin.bench.data import Data
from fastlin.bench.optimum import Solver
from fastlin.bench.peers import Variant
from fastlin.bench.problems import Problem


class _SklearnSolver(Solver):
    """``LogisticRegression(solver="lbfgs")`` of a package with scikit-learn's interface."""

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, package: str, n_threads: int
    ) -> None:
        if package == "sklearnex":
            from sklearnex.linear_model import LogisticRegression
        else:
            from sklearn.linear_model import LogisticRegression

        self.n_threads = n_threads
        self.rows, self.labels = data.float_rows, data.labels
        # Its penalty is sum(W**2) / (2 C) next to the sum of the losses, not their mean.
        self.estimator: Any = LogisticRegression(
            C=1.0 / (2.0 * problem.n_rows * problem.l2), solver="lbfgs", tol=1e-12
        )

    def reset(self) -> None:
        """Set the threads and the iterations."""
        limit_blas_threads(self.n_threads)
        self.estimator.set_params(max_iter=self.iterations)

    def run(self) -> None:
        """Train from zero."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the iterations are chosen to end early
            self.estimator.fit(self.rows, self.labels)

    def outcome(self) -> Outcome:
        """Return the model; it keeps no losses."""
        return Outcome(Model(self.estimator.coef_, self.estimator.intercept_), np.empty(0))


class _PytorchSolver(Solver):
    """``torch.optim.LBFGS`` with strong Wolfe line search, autograd and one batch of all rows."""

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, n_threads: int, history: int
    ) -> None:
        import torch

        self.problem, self.n_threads, self.history, self.torch = problem, n_threads, history, torch
        self.rows = torch.from_numpy(data.float_rows)
        self.binary = problem.n_outputs == 1
        labels = torch.from_numpy(data.labels.astype(np.int64))
        self.labels = labels.to(self.rows.dtype) if self.binary else labels
        self.linear = torch.nn.Linear(problem.n_features, problem.n_outputs, dtype=self.rows.dtype)

    def reset(self) -> None:
        """Set the threads; start from zero."""
        self.torch.set_num_threads(self.n_threads)
        for parameter in self.linear.parameters():
            self.torch.nn.init.zeros_(parameter)

    def run(self) -> None:
        """Make all iterations in one call."""
        functional = self.torch.nn.functional
        optimizer = self.torch.optim.LBFGS(
            self.linear.parameters(),
            max_iter=self.iterations,
            max_eval=10 * self.iterations,
            history_size=self.history,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            line_search_fn="strong_wolfe",
        )

        def closure() -> Any:
            optimizer.zero_grad()
            logits = self.linear(self.rows)
            loss: Any
            if self.binary:
                loss = functional.binary_cross_entropy_with_logits(logits[:, 0], self.labels)
            else:
                loss = functional.cross_entropy(logits, self.labels)
            loss = loss + self.problem.l2 * self.linear.weight.square().sum()
            loss.backward()
            return loss

        optimizer.step(closure)

    def outcome(self) -> Outcome:
        """Return copies of the parameters."""
        weights, intercept = (
            value.detach().numpy().copy() for value in (self.linear.weight, self.linear.bias)
        )
        return Outcome(Model(weights, intercept), np.empty(0))


def sklearn_variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Return scikit-learn's one form, on float32 rows."""
    return [Variant("", partial(_SklearnSolver, package="sklearn", n_threads=n_threads))]


def sklearnex_variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Return Intel's one form, on float32 rows."""
    return [Variant("", partial(_SklearnSolver, package="sklearnex", n_threads=n_threads))]


def torch_variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Return L-BFGS with 10 remembered steps, as the others have it, and with PyTorch's 100."""
    return [
        Variant(
            f"{history} steps remembered",
            partial(_PytorchSolver, n_threads=n_threads, history=history),
        )
        for history in (10, 100)
    ]
