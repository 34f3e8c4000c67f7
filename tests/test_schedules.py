"""The learning rate over the steps, and the one that is safe."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import make_problem

from fastlin.kernels import Samples, reference
from fastlin.scaling import InputScale
from fastlin.schedules import SCHEDULES, rates, safe_learning_rate


def test_constant() -> None:
    assert rates("constant", 0.3, np.linspace(0, 9, 19), 10).tolist() == [0.3] * 19


def test_invscaling() -> None:
    got = rates("invscaling", 0.3, np.array([0.0, 0.5, 3.0, 8.0]), 10)
    np.testing.assert_allclose(got, [0.3, 0.3 / math.sqrt(1.5), 0.15, 0.1], rtol=1e-15)


def test_cosine() -> None:
    got = rates("cosine", 0.3, np.array([0.0, 2.5, 5.0, 7.5, 10.0, 11.0]), 10)
    half = 0.15 * math.sqrt(0.5)
    np.testing.assert_allclose(got, [0.3, 0.15 + half, 0.15, 0.15 - half, 0, 0], atol=1e-16)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_schedule_ever_rises(schedule: str) -> None:
    got = rates(schedule, 0.7, np.arange(200) / 20, 10)
    assert got.shape == (200,)
    assert got.dtype == np.float64
    assert got[0] == 0.7
    assert (np.diff(got) <= 0).all()
    assert got[-1] > 0


def unscaled(d: int) -> InputScale:
    return InputScale(np.zeros(d), np.ones(d))


def curvature(rows: np.ndarray, k: int, l2: float) -> float:
    """Largest possible curvature of the loss over all rows at once (Boehning's bound)."""
    bound = 0.25 if k == 1 else 0.5
    return bound * np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1] + 2 * l2


@pytest.mark.parametrize("k", [1, 3])
def test_with_all_rows_in_a_batch_it_is_one_over_the_curvature(k: int) -> None:
    samples = make_problem(200, 6, k).samples
    rate = safe_learning_rate(samples, unscaled(6), k, 200, 0.01, fit_intercept=True)
    with_ones = np.column_stack([samples.rows, np.ones(200)])
    # The power iteration comes within a few percent and adds five.
    assert 1 / rate == pytest.approx(curvature(with_ones, k, 0.01), rel=0.08)
    rate = safe_learning_rate(samples, unscaled(6), k, 200, 0.01, fit_intercept=False)
    assert 1 / rate == pytest.approx(curvature(samples.rows, k, 0.01), rel=0.08)


def test_with_one_row_in_a_batch_it_is_one_over_that_of_the_largest_row() -> None:
    samples = make_problem(200, 6, 1).samples
    rate = safe_learning_rate(samples, unscaled(6), 1, 1, 0.0, fit_intercept=False)
    assert 1 / rate == pytest.approx(0.25 * (samples.rows**2).sum(axis=1).max(), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(small=st.integers(1, 200), large=st.integers(1, 200))
def test_larger_batches_allow_larger_steps(small: int, large: int) -> None:
    samples = make_problem(200, 6, 3).samples
    small, large = sorted((small, large))
    of_small, of_large = (
        safe_learning_rate(samples, unscaled(6), 3, size, 0.01, True) for size in (small, large)
    )
    assert of_small <= of_large


def test_it_is_for_the_scaled_rows() -> None:
    samples = make_problem(100, 5, 3, "uint8", "float64").samples
    scale = InputScale(np.full(5, 127.5), np.full(5, 1 / 127.5))
    scaled = Samples((samples.rows - 127.5) / 127.5, samples.labels)
    got = safe_learning_rate(samples, scale, 3, 10, 0.01, True)
    right = safe_learning_rate(scaled, unscaled(5), 3, 10, 0.01, True)
    assert got == pytest.approx(right, rel=1e-5)


def test_a_row_with_weight_two_is_two_rows() -> None:
    samples = make_problem(40, 5, 1).samples
    twice = Samples(np.tile(samples.rows, (2, 1)), np.tile(samples.labels, 2))
    weighted = Samples(twice.rows, twice.labels, np.repeat([2.0, 0.0], 40))
    got = [safe_learning_rate(s, unscaled(5), 1, 80, 0.0, False) for s in (weighted, twice)]
    assert got[0] == pytest.approx(got[1], rel=0.05)


def test_with_all_rows_in_a_batch_the_loss_always_falls() -> None:
    for k in (1, 3):
        problem = make_problem(100, 5, k)
        rate = safe_learning_rate(problem.samples, unscaled(5), k, 100, 0.0, True)
        weights, intercept = problem.weights.copy(), problem.intercept.copy()
        before = math.inf
        for _ in range(10):
            loss, by_weights, by_intercept = reference.loss_gradient(
                problem.samples, weights, intercept
            )
            assert loss < before
            before = loss
            weights -= rate * by_weights / 100
            intercept -= rate * by_intercept / 100


def test_rows_of_zeros_without_intercept_or_penalty() -> None:
    samples = Samples(np.zeros((5, 3)), np.array([0, 1, 0, 1, 0], np.int32))
    assert safe_learning_rate(samples, unscaled(3), 1, 2, 0.0, fit_intercept=False) == 1.0
