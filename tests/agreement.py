"""What every backend must do exactly as the reference does. Also a command, for the tests that
need an interpreter with another environment: ``python agreement.py c 784,10,uint8,float32 ...``,
where a type of integers other than uint8 is that of the columns of sparse rows.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray
from problems import (
    Problem,
    make_options,
    make_order,
    make_parameters,
    make_problem,
    make_sparse_problem,
)
from tolerances import ACROSS_BACKENDS, EPSILON, assert_within, bounds, of_sum

from fastlin.kernels import Backend, Parameters, StepOptions, get_backend, reference

STEP_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9, "intercept_decay": 0.01},
    "nesterov": {"momentum": 0.9, "nesterov": True, "intercept_gain": 0.0},
    "average": {"average_rates": 2 / (np.arange(100) + 2.0)},
    "everything": {
        "momentum": 0.5,
        "nesterov": True,
        "intercept_decay": 0.02,
        "intercept_gain": 1.5,
        "average_rates": 1 / (np.arange(100) + 1.0),
    },
}
"""Options for up to 100 steps."""


def check(backend: Backend, problem: Problem, n_threads: int = 1) -> None:
    """Assert that all kernels agree with the reference on a problem."""
    check_passes(backend, problem, n_threads)
    n = len(problem.samples.rows)
    for batch_size, name in ((min(37, n), "plain"), (n, "everything")):
        check_steps(backend, problem, batch_size, name, n_threads)


def check_passes(
    backend: Backend, problem: Problem, n_threads: int = 1, any_shape: bool = False
) -> None:
    """Assert it of ``loss_gradient``, ``score`` and ``logits``.

    ``any_shape``: do not ask, here and in :func:`check_steps`, whether the problem tells right from
    wrong well, as those of very few rows or features do not.
    """
    exact = problem.in_float64()
    allowed = bounds_of(problem, problem.dtype)
    right = reference.loss_gradient(exact.samples, *exact.model)
    got = backend.loss_gradient(problem.samples, *problem.model, n_threads)
    assert_within(got[0], right[0], allowed.loss_sum)
    assert_within(got[1], right[1], allowed.weights_gradient)
    assert_within(got[2], right[2], allowed.intercept_gradient)
    assert got[1].dtype == got[2].dtype == np.float64
    if problem.dtype == "float64":
        assert_within(got[1], right[1], ACROSS_BACKENDS * np.abs(right[1]).max())

    right_logits = reference.logits(exact.samples, *exact.model)
    got_logits = backend.logits(problem.samples, *problem.model, n_threads)
    assert got_logits.dtype == problem.weights.dtype
    assert_within(got_logits, right_logits, allowed.logits)

    loss_sum, n_correct = backend.score(problem.samples, *problem.model, n_threads)
    assert_within(loss_sum, right[0], allowed.loss_sum)
    # Only a row whose decision depends on less than the logits' error may go either way.
    n_undecided = undecided(right_logits, allowed.logits)
    assert abs(n_correct - reference.score(exact.samples, *exact.model)[1]) <= n_undecided
    assert any_shape or n_undecided <= 0.02 * len(right_logits)


def undecided(logits: NDArray[Any], tolerance: NDArray[Any]) -> int:
    """Return how many rows are so close to a decision that they may go either way."""
    if logits.shape[1] == 1:
        margin = np.abs(logits[:, 0])
    else:
        best_two = np.sort(logits, axis=1)[:, -2:]
        margin = best_two[:, 1] - best_two[:, 0]
    return int(np.count_nonzero(margin <= 2 * tolerance.max(axis=1)))


def check_steps(
    backend: Backend,
    problem: Problem,
    batch_size: int,
    name: str,
    n_threads: int = 1,
    any_shape: bool = False,
) -> None:
    """Assert it of ``sgd_steps`` over two rounds of the rows."""
    exact = problem.in_float64()
    n = len(problem.samples.rows)
    order = make_order(n, 2)
    right, right_losses = run_steps(reference, exact, order, batch_size, name)
    got, got_losses = run_steps(backend, problem, order, batch_size, name, n_threads)
    allowed = steps_tolerances(problem, batch_size, name)
    assert_within(got_losses, right_losses, allowed["losses"])
    for field, value in vars(right).items():
        if value is not None:
            assert_within(getattr(got, field), value, np.broadcast_to(allowed[field], value.shape))
    moved = np.abs(right.weights - exact.weights).max()
    large = any_shape or moved > 100 * np.max(allowed["weights"])
    assert large, "the steps are too small to tell right from wrong"


def steps_tolerances(problem: Problem, batch_size: int, name: str) -> dict[str, Any]:
    """Return how far what :func:`run_steps` returns over two rounds of the rows may be off."""
    exact = problem.in_float64()
    n = len(problem.samples.rows)
    n_steps = -(-2 * n // batch_size)
    allowed = bounds_of(problem, problem.dtype)
    options = step_options(exact, batch_size, name, n_steps)
    # A step moves the weights by at most rate / (1 - momentum) of the gradient's mean. Rates are
    # below 1 / L, so that no step widens a gap between two runs: what each adds just adds up.
    reach = float(options.learning_rates.sum()) / (1 - options.momentum)
    of_rows = np.abs(reference.loss_gradient(exact.samples, *exact.model)[1]) / n
    epsilon = EPSILON[problem.dtype]
    of_weights = options.gain * allowed.weights_gradient.max(axis=0) / (batch_size / 2)
    moves = np.abs(problem.weights).max() + options.gain * of_rows.max()
    # A kernel of sparse rows may add a batch's rows to the weights one by one.
    rounding = moves * max(4 * epsilon * n_steps, of_sum(problem.dtype, 2 * n, 1.0))
    by_weights = reach * of_weights + rounding
    of_intercept = float(allowed.intercept_gradient.max()) / (batch_size / 2)
    by_intercept = reach * of_intercept + 4 * epsilon * n_steps * (
        1 + np.abs(problem.intercept).max()
    )
    grown = 1 / (1 - options.momentum) / options.learning_rates.min()
    return {
        # The root of the losses' squares would do; the largest is simpler, and the models differ.
        "losses": 2 * (float(allowed.losses.max()) + by_intercept),
        "weights": by_weights,
        "intercept": by_intercept,
        "weights_velocity": by_weights * grown,
        "intercept_velocity": by_intercept * grown,
        "weights_average": by_weights,
        "intercept_average": by_intercept,
    }


def run_steps(
    kernels: Any,
    problem: Problem,
    order: NDArray[np.int64],
    batch_size: int,
    name: str,
    n_threads: int = 1,
) -> tuple[Parameters, NDArray[np.float64]]:
    """Return what some steps make of the problem's model, and their losses."""
    n_steps = -(-len(order) // batch_size)
    options = step_options(problem, batch_size, name, n_steps)
    parameters = make_parameters(
        problem, options.momentum > 0, average=options.average_rates is not None
    )
    losses = np.full(n_steps, np.nan)
    kernels.sgd_steps(problem.samples, order, parameters, options, losses, n_threads)
    return parameters, losses


def step_options(problem: Problem, batch_size: int, name: str, n_steps: int) -> StepOptions:
    changes = dict(STEP_OPTIONS[name])
    if "average_rates" in changes:
        changes["average_rates"] = changes["average_rates"][:n_steps]
    return make_options(problem, batch_size, n_steps, **changes)


def all_bits(backend: Backend, problem: Problem, n_threads: int) -> bytes:
    """Return everything that the kernels make of a problem, as bytes."""
    n = len(problem.samples.rows)
    loss_sum, by_weights, by_intercept = backend.loss_gradient(
        problem.samples, *problem.model, n_threads
    )
    parts = [np.array(loss_sum), by_weights, by_intercept]
    parts.append(backend.logits(problem.samples, *problem.model, n_threads))
    parts.extend(map(np.array, backend.score(problem.samples, *problem.model, n_threads)))
    for batch_size, name in ((128, "plain"), (n, "everything")):
        order = make_order(n, 2)
        parameters, losses = run_steps(backend, problem, order, batch_size, name, n_threads)
        parts.append(losses)
        parts.extend(value for value in vars(parameters).values() if value is not None)
    assert all(np.isfinite(part).all() for part in parts)
    return b"".join(part.tobytes() for part in parts)


def bounds_of(problem: Problem, dtype: str) -> Any:
    samples = problem.samples
    return bounds(
        dtype,
        problem.dense_rows,
        samples.labels,
        *problem.model,
        samples.sample_weight,
        samples.shift,
    )


def main() -> None:
    backend = get_backend(sys.argv[1])
    for case in sys.argv[2:]:
        d, k, row_type, weight_type = case.split(",")
        if row_type in ("int32", "int64"):
            problem = make_sparse_problem(150, int(d), int(k), weight_type, row_type, weighted=True)
        else:
            problem = make_problem(
                150, int(d), int(k), row_type, weight_type, weighted=True, shifted=True
            )
        for n_threads in (1, 3):
            check(backend, problem, n_threads)
    print(backend.instruction_set)


if __name__ == "__main__":
    main()
