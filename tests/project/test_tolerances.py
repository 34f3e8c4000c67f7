"""The tolerances let no wrong answer through."""

from __future__ import annotations

import numpy as np
import pytest
from oracles import central_difference
from problems import Problem, make_problem
from tolerances import ACROSS_BACKENDS, DIFFERENCE, DIFFERENCE_STEP, assert_within, bounds, of_sum

from fastlin.kernels import reference


def bounds_of(problem: Problem, dtype: str) -> object:
    samples = problem.samples
    return bounds(
        dtype, samples.rows, samples.labels, *problem.model, samples.sample_weight, samples.shift
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 10])
def test_ten_tolerances_off_fails(dtype: str, k: int) -> None:
    problem = make_problem(50, 30, k, "uint8", dtype, weighted=True, shifted=True)
    exact = problem.in_float64()
    tolerance = bounds_of(problem, dtype)
    loss_sum, by_weights, by_intercept = reference.loss_gradient(exact.samples, *exact.model)
    answers = {
        "logits": reference.logits(exact.samples, *exact.model),
        "loss_sum": np.array(loss_sum),
        "weights_gradient": by_weights,
        "intercept_gradient": by_intercept,
    }
    generator = np.random.default_rng(0)
    for name, right in answers.items():
        allowed = np.asarray(getattr(tolerance, name))
        assert_within(right, right, allowed)
        for sign in (-1, 1):
            wrong = right.copy()
            at = tuple(generator.integers(size) for size in right.shape)
            wrong[at] += sign * 10 * allowed[at]
            with pytest.raises(AssertionError, match="times the tolerance apart"):
                assert_within(wrong, right, allowed)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 10])
def test_tolerances_are_small_beside_what_they_guard(dtype: str, k: int) -> None:
    problem = make_problem(300, 784, k, "uint8", dtype, weighted=True, shifted=True)
    exact = problem.in_float64()
    tolerance = bounds_of(problem, dtype)
    share = {"float32": 2e-3, "float64": ACROSS_BACKENDS}[dtype]
    loss_sum, by_weights, by_intercept = reference.loss_gradient(exact.samples, *exact.model)
    assert tolerance.loss_sum < share * loss_sum
    assert tolerance.weights_gradient.max() < share * np.abs(by_weights).max()
    assert tolerance.intercept_gradient.max() < share * np.abs(by_intercept).max()


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_fails(wrong: float) -> None:
    with pytest.raises(AssertionError, match="not finite"):
        assert_within([1.0, wrong], [1.0, wrong], 1.0)


def test_a_missing_number_fails() -> None:
    with pytest.raises(AssertionError):
        assert_within([1.0], [1.0, 1.0], 1.0)


def test_a_difference_finds_a_wrong_slope() -> None:
    slope = central_difference(np.sin, 0.7, DIFFERENCE_STEP)
    assert_within(slope, np.cos(0.7), DIFFERENCE)
    with pytest.raises(AssertionError, match="times the tolerance apart"):
        assert_within(slope, np.cos(0.7) + 10 * DIFFERENCE, DIFFERENCE)


@pytest.mark.parametrize("length", [10, 1000, 100_000])
def test_the_bound_of_a_sum_is_neither_passed_nor_idle(length: int) -> None:
    """Terms of one sign, added one after the other: partial sums, and so errors, are largest."""
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(30):
        terms = generator.uniform(0.5, 1, length).astype(np.float32)
        right = terms.sum(dtype=np.float64)
        allowed = of_sum("float32", length, right)
        error = abs(float(np.cumsum(terms, dtype=np.float32)[-1]) - right)
        shares.append(error / allowed)
    assert 0.03 < max(shares) < 1
    # A term that is left out shows, unless the sum is so long that its error is as large.
    assert terms.min() > allowed or length == 100_000
