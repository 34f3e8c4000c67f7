"""Random problems, the same on every run, which check that they are worth solving."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import CsrRows, Parameters, Samples, StepOptions


@dataclass(frozen=True)
class Problem:
    """Samples and a model that is right about some of them."""

    samples: Samples
    weights: NDArray[Any]
    intercept: NDArray[Any]

    @property
    def dtype(self) -> str:
        return self.weights.dtype.name

    @property
    def model(self) -> tuple[NDArray[Any], NDArray[Any]]:
        return self.weights, self.intercept

    @property
    def dense_rows(self) -> NDArray[Any]:
        """The rows with their zeros."""
        return self.samples.rows.to_array()

    def in_float64(self) -> Problem:
        """The same numbers in another type and dense, for arithmetic with less rounding."""
        samples = self.samples
        shift = None if samples.shift is None else samples.shift.astype(np.float64)
        return Problem(
            replace(samples, rows=self.dense_rows.astype(np.float64), shift=shift),
            self.weights.astype(np.float64),
            self.intercept.astype(np.float64),
        )


def make_problem(
    n: int,
    d: int,
    k: int,
    row_type: str = "float64",
    weight_type: str = "float64",
    weighted: bool = False,
    shifted: bool = False,
    seed: int = 0,
) -> Problem:
    generator = np.random.default_rng([seed, n, d, k])
    if row_type == "uint8":
        rows = generator.integers(0, 256, (n, d)).astype(np.uint8)
        deviation = 128.0
    elif row_type == "int8":
        rows = generator.integers(-128, 128, (n, d)).astype(np.int8)
        deviation = 64.0
    else:
        rows = generator.standard_normal((n, d)).astype(row_type)
        deviation = 1.0
    labels = generator.integers(0, max(k, 2), n).astype(np.int32)
    weights = generator.standard_normal((k, d)) * (1.5 / (deviation * np.sqrt(d)))
    shift = generator.uniform(0.2, 0.8, d) * deviation if shifted else None
    problem = Problem(
        Samples(
            rows,
            labels,
            generator.uniform(0.1, 2.0, n) if weighted else None,
            None if shift is None else shift.astype(weight_type),
        ),
        weights.astype(weight_type),
        generator.standard_normal(k).astype(weight_type),
    )
    assert_spread(problem)
    return problem


def make_sparse_problem(
    n: int,
    d: int,
    k: int,
    dtype: str = "float64",
    index_type: str = "int32",
    weighted: bool = False,
    seed: int = 0,
) -> Problem:
    """Rows like texts: frequent and rare features, some in no row, and rows without a feature."""
    generator = np.random.default_rng([seed, n, d, k])
    present = generator.random((n, d)) < np.linspace(0.9, 0.0, d) ** 2
    present[:: max(2, n // 4)] = False
    dense = np.where(present, generator.standard_normal((n, d)), 0.0).astype(dtype)
    labels = generator.integers(0, max(k, 2), n).astype(np.int32)
    row_of, column_of = np.nonzero(dense)
    assert len(np.unique(row_of)) < n
    assert d == 1 or len(np.unique(column_of)) < d
    row_starts = np.searchsorted(row_of, np.arange(n + 1)).astype(index_type)
    rows = CsrRows(dense[row_of, column_of], column_of.astype(index_type), row_starts, d)
    weights = generator.standard_normal((k, d)) * (3 / np.sqrt(d))
    problem = Problem(
        Samples(rows, labels, generator.uniform(0.1, 2.0, n) if weighted else None),
        weights.astype(dtype),
        generator.standard_normal(k).astype(dtype),
    )
    assert_spread(problem)
    return problem


def assert_spread(problem: Problem) -> None:
    """Assert that rows and labels vary, and that the model is neither certain nor indifferent."""
    samples = problem.samples
    assert len(np.unique(samples.labels)) > 1
    spread = np.ptp(problem.dense_rows.astype(np.float64), axis=0)
    assert spread.max() > 0 if isinstance(samples.rows, CsrRows) else spread.min() > 0
    if samples.sample_weight is not None:
        assert np.ptp(samples.sample_weight) > 0.1
    shift = 0 if samples.shift is None else samples.shift
    logits = (problem.dense_rows - np.asarray(shift, np.float64)) @ problem.weights.T.astype(
        np.float64
    )
    logits += problem.intercept
    assert 0.2 < logits.std() < 10
    assert np.ptp(logits) < 80


def make_parameters(problem: Problem, momentum: bool = False, average: bool = False) -> Parameters:
    """Copies of the model, with non-zero velocities and averages if asked for."""
    parameters = Parameters(problem.weights.copy(), problem.intercept.copy())
    if momentum:
        parameters.weights_velocity = problem.weights / 8
        parameters.intercept_velocity = problem.intercept / 8
    if average:
        parameters.weights_average = problem.weights / 2
        parameters.intercept_average = problem.intercept / 2
    return parameters


def make_options(problem: Problem, batch_size: int, n_steps: int, **changes: Any) -> StepOptions:
    """Options of steps that go down; rates differ by step, the gain by feature."""
    d = problem.weights.shape[1]
    rows = problem.dense_rows.astype(np.float64, order="C")
    if problem.samples.shift is not None:
        rows = rows - problem.samples.shift
    # At most 1 / L for inputs times the root of the gain, L = the mean squared norm of a row.
    gain = np.linspace(0.5, 1.0, d) / np.mean(np.sum(rows**2, axis=1))
    return StepOptions(
        batch_size=batch_size,
        learning_rates=changes.pop("learning_rates", 0.5 / np.sqrt(1 + np.arange(n_steps))),
        decay=0.02,
        gain=gain.astype(problem.weights.dtype),
        **changes,
    )


def make_order(n: int, n_rounds: int, seed: int = 0) -> NDArray[np.int64]:
    """Each round holds every row once."""
    generator = np.random.default_rng(seed)
    order = np.concatenate([generator.permutation(n) for _ in range(n_rounds)])
    assert (np.diff(order) != 1).any()
    return order
