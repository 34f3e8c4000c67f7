from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fastlin.bench.contestants import Kernel, Model, Outcome
from fastlin.bench.correctness import (
    check,
    check_problem,
    compare,
    random_model,
    reference_outcome,
    tolerance,
)
from fastlin.bench.data import Data, make_data
from fastlin.bench.problems import DTYPES, Problem
from fastlin.bench.suite import check_fit
from fastlin.kernels import Backend, get_backend

NUMPY = get_backend("numpy")


def problem(dtype: str = "float32", n_classes: int = 10) -> Problem:
    return Problem("small", 300, 64, n_classes, 32, dtype)


def kernel_of(backend: Backend) -> Callable[[Problem, Data, Model], Kernel]:
    return lambda problem, data, start: Kernel(backend, problem, data, start, n_threads=1)


def changed(change: Callable) -> Backend:
    """Return the NumPy backend with arguments that ``change`` alters first."""

    def sgd_steps(samples, order, parameters, options, losses_out, n_threads):
        samples, order, options = change(samples, order, options)
        NUMPY.sgd_steps(samples, order, parameters, options, losses_out, n_threads)

    return replace(NUMPY, sgd_steps=sgd_steps)


def penalty_forgotten(samples, order, options):
    return samples, order, replace(options, decay=0 * options.decay)


def rate_a_thousandth_off(samples, order, options):
    return samples, order, replace(options, learning_rates=options.learning_rates * 1.001)


def one_row_wrong(samples, order, options):
    order = order.copy()
    order[5] = order[6]
    return samples, order, options


def one_label_wrong(samples, order, options):
    labels = samples.labels.copy()
    labels[order[0]] = 1 - min(labels[order[0]], 1)
    return replace(samples, labels=labels), order, options


def intercept_frozen(samples, order, options):
    return samples, order, replace(options, intercept_gain=0.0)


@pytest.mark.parametrize("n_classes", [2, 10])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_numpy_kernel_passes_with_room_to_spare(dtype: str, n_classes: int) -> None:
    small = problem(dtype, n_classes)
    result = check(kernel_of(NUMPY), small, make_data(small))
    assert result.passed
    assert result.error < result.tolerance / 2
    if dtype != "float64":
        assert result.error > 0  # float32 was really compared with float64


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "mistake",
    [
        penalty_forgotten,
        rate_a_thousandth_off,
        one_row_wrong,
        one_label_wrong,
        intercept_frozen,
    ],
)
def test_a_wrong_kernel_does_not_pass(mistake: Callable, dtype: str) -> None:
    small = problem(dtype)
    result = check(kernel_of(changed(mistake)), small, make_data(small))
    assert not result.passed
    assert result.error > 5 * result.tolerance


@pytest.mark.parametrize("part", ["weights", "intercept", "losses"])
@pytest.mark.parametrize("value", ["ten tolerances", "nan", "shape"])
def test_each_part_of_an_outcome_is_compared(part: str, value: str) -> None:
    short = check_problem(problem())
    data = make_data(short)
    start = random_model(short)
    right = reference_outcome(short, data, start)
    parts = {
        "weights": right.model.weights.copy(),
        "intercept": right.model.intercept.copy(),
        "losses": right.losses.copy(),
    }
    assert compare(right, right, start, short).error == 0
    before = {"weights": start.weights, "intercept": start.intercept, "losses": 0.0}[part]
    largest_change = np.max(np.abs(parts[part] - before))
    if value == "ten tolerances":
        parts[part].flat[0] += 10 * tolerance(short) * largest_change
    elif value == "nan":
        parts[part].flat[0] = np.nan
    else:
        parts[part] = parts[part][:-1]
    wrong = Outcome(Model(parts["weights"], parts["intercept"]), parts["losses"])
    assert not compare(wrong, right, start, short).passed


def test_tolerance_follows_the_type_and_the_length_of_the_sums() -> None:
    assert tolerance(problem("float64")) < 1e-12 < 1e-6 < tolerance(problem("float32"))
    assert tolerance(problem("uint8")) == tolerance(problem("float32"))
    long = replace(problem(), n_features=6400)
    assert 5 < tolerance(long) / tolerance(problem()) < 10


@pytest.mark.parametrize("n_classes", [2, 10, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_fit_does_the_same_mathematics(dtype: str, n_classes: int) -> None:
    small = problem(dtype, n_classes)
    result = check_fit(NUMPY, small, make_data(small), n_threads=1)
    assert result.passed, result
