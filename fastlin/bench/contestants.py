"""What takes part in a benchmark: the common form of all, and fastlin's own entries."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fastlin.bench.data import Data
from fastlin.bench.problems import Problem
from fastlin.blas import threadpools
from fastlin.kernels import Backend, DenseRows, Parameters, Samples, StepOptions


@dataclass(frozen=True)
class Model:
    """Weights ``(k, d)`` and intercept ``(k,)`` that act on the scaled rows ``x``."""

    weights: NDArray[Any]
    intercept: NDArray[Any]

    @classmethod
    def zeros(cls, problem: Problem) -> Model:
        """Return the start of training, unless a check chooses another."""
        shape = (problem.n_outputs, problem.n_features)
        return cls(np.zeros(shape, problem.weight_dtype), np.zeros(shape[0], problem.weight_dtype))


@dataclass(frozen=True)
class Outcome:
    """The model after an epoch, and each step's loss before its own update ``(s,)``."""

    model: Model
    losses: NDArray[Any]


class Contestant(ABC):
    """One way to run an epoch of a problem.

    Everything that an epoch can find ready in memory (rows, buffers, compiled
    code) is made by the constructor; only :meth:`run` is timed.
    """

    same_mathematics: ClassVar[bool] = True
    """Whether the outcome can be compared with the reference."""

    @abstractmethod
    def reset(self) -> None:
        """Go back to the starting model and set the number of threads."""

    @abstractmethod
    def run(self) -> None:
        """Train for one epoch."""

    @abstractmethod
    def outcome(self) -> Outcome:
        """Return what the latest run arrived at."""


def sgd_arguments(
    problem: Problem, data: Data, dtype: np.dtype[Any]
) -> tuple[Samples, StepOptions, NDArray[np.float64]]:
    """Return the samples, options and loss buffer of a kernel that holds ``dtype`` weights."""
    options = StepOptions(
        batch_size=problem.batch_size,
        learning_rates=np.full(len(data.order) // problem.batch_size, problem.learning_rate),
        decay=2.0 * problem.l2,
        gain=np.full(problem.n_features, data.scale**2, dtype),
    )
    losses_out = np.empty(len(options.learning_rates))
    return Samples(DenseRows(data.rows), data.labels), options, losses_out


class Kernel(Contestant):
    """A backend's ``sgd_steps``, called once for the whole epoch."""

    def __init__(
        self, backend: Backend, problem: Problem, data: Data, start: Model, n_threads: int
    ) -> None:
        self.backend, self.data, self.n_threads = backend, data, n_threads
        dtype = problem.weight_dtype
        self.samples, self.options, self.losses = sgd_arguments(problem, data, dtype)
        # The kernels hold V = W * scale; see fastlin.kernels.arguments.
        self.start = Model((start.weights * data.scale).astype(dtype), start.intercept)
        self.parameters = Parameters(self.start.weights.copy(), self.start.intercept.copy())

    def reset(self) -> None:
        """Copy the starting weights in."""
        limit_blas_threads(self.n_threads)
        self.parameters.weights[:] = self.start.weights
        self.parameters.intercept[:] = self.start.intercept

    def run(self) -> None:
        """Make all steps in one call."""
        self.backend.sgd_steps(
            self.samples,
            self.data.order,
            self.parameters,
            self.options,
            self.losses,
            self.n_threads,
        )

    def outcome(self) -> Outcome:
        """Unfold the scale from the weights."""
        kernel_weights: Any = self.parameters.weights
        return Outcome(
            Model(kernel_weights / self.data.scale, self.parameters.intercept.copy()),
            self.losses.copy(),
        )


class Fit(Contestant):
    """``LogisticRegression.fit`` for one epoch: the kernel and all that a user pays around it.

    Parameters
    ----------
    learning_rate : float or "auto", optional
        Instead of the problem's.
    """

    def __init__(
        self,
        backend: Backend,
        problem: Problem,
        data: Data,
        n_threads: int,
        *,
        learning_rate: float | str | None = None,
        dtype: str = "auto",
        shuffle: bool = True,
    ) -> None:
        from fastlin import LogisticRegression

        self.data, self.n_threads = data, n_threads
        self.estimator = LogisticRegression(
            backend=backend.name,
            l2=problem.l2,
            learning_rate=learning_rate or problem.learning_rate,
            dtype=dtype,
            batch_size=problem.batch_size,
            drop_last=True,
            max_epochs=1,
            shuffle=shuffle,
            tol=None,
            input_scale=(0.0, data.scale) if data.scale != 1.0 else None,
            random_state=0,
            n_threads=n_threads,
        )

    def reset(self) -> None:
        """Set the threads; ``fit`` itself starts from zero."""
        limit_blas_threads(self.n_threads)

    def run(self) -> None:
        """Validate, shuffle, train, keep the history."""
        with warnings.catch_warnings():
            # The grid has cells with fewer rows a class than scikit-learn finds likely.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            self.estimator.fit(self.data.rows, self.data.labels)

    def outcome(self) -> Outcome:
        """Unfold the scale from the public attributes."""
        coefficients: Any = self.estimator.coef_
        model = Model(coefficients / self.data.scale, self.estimator.intercept_)
        return Outcome(model, np.asarray(self.estimator.history_.train_loss))


def limit_blas_threads(n_threads: int) -> None:
    """Let the BLAS libraries that are loaded use ``n_threads`` threads."""
    threadpools().limit(limits=n_threads, user_api="blas")
