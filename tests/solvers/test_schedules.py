"""The learning rate over the steps, and the one that is safe."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from problems import make_problem

from fastlin.errors import InputError
from fastlin.kernels import Samples, reference
from fastlin.rows.scaling import InputScale
from fastlin.solvers import schedules
from fastlin.solvers.schedules import (
    DENSE_FEATURES,
    INTERCEPT_SHARE,
    SCHEDULES,
    StepSize,
    rates,
    safe_step_size,
)


def test_constant() -> None:
    assert rates("constant", 0.3, np.linspace(0, 9, 19), 10).tolist() == [0.3] * 19


def test_invscaling() -> None:
    got = rates("invscaling", 0.3, np.array([0.0, 0.5, 3.0, 8.0]), 10)
    np.testing.assert_allclose(got, [0.3, 0.3 / math.sqrt(1.5), 0.15, 0.1], rtol=1e-15)


def test_cosine() -> None:
    got = rates("cosine", 0.3, np.array([0.0, 2.5, 5.0, 7.5, 10.0, 12.5]), 10)
    half = 0.15 * math.sqrt(0.5)
    np.testing.assert_allclose(
        got, [0.3, 0.15 + half, 0.15, 0.15 - half, 0.3, 0.15 + half], atol=1e-16
    )


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


FLOAT64 = np.dtype(np.float64)


def step_of(samples: Samples, scale: InputScale, *arguments: Any, **changes: Any) -> StepSize:
    return safe_step_size(samples, scale, *arguments, **{"dtype": FLOAT64, **changes})


def rate_of(*arguments: Any, **changes: Any) -> float:
    return step_of(*arguments, **changes).learning_rate


def curvature(rows: np.ndarray, k: int, l2: float) -> float:
    """Largest possible curvature of the loss over all rows at once (Boehning's bound)."""
    bound = 0.25 if k == 1 else 0.5
    return bound * np.linalg.eigvalsh(rows.T @ rows / len(rows))[-1] + 2 * l2


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("d", [6, DENSE_FEATURES + 6])
def test_with_all_rows_in_a_batch_it_is_one_over_the_curvature(k: int, d: int) -> None:
    samples = make_problem(200, d, k).samples
    rate, gain = step_of(samples, unscaled(d), k, 200, 0.01, fit_intercept=True)
    of_weights = curvature(samples.rows.values, 4, 0.0) * 2
    assert gain == pytest.approx(INTERCEPT_SHARE * of_weights, rel=0.05)
    # The intercept is as one more feature, whose curvature is added to the largest.
    with_intercept = np.column_stack([samples.rows.values, np.full(200, np.sqrt(gain))])
    exact = curvature(with_intercept, k, 0.01)
    assert 0.95 * exact <= 1 / rate <= (1 + INTERCEPT_SHARE) * exact
    rate, gain = step_of(samples, unscaled(d), k, 200, 0.01, fit_intercept=False)
    assert 1 / rate == pytest.approx(curvature(samples.rows.values, k, 0.01), rel=0.05)
    assert gain == 0


def test_with_one_row_in_a_batch_it_is_that_of_single_steps() -> None:
    samples = make_problem(200, 6, 1).samples
    rate = rate_of(samples, unscaled(6), 1, 1, 0.0, fit_intercept=False)
    squares = (samples.rows.values**2).sum(axis=1)
    assert 1 / rate == pytest.approx(0.25 * np.mean(squares**2) / np.mean(squares), rel=1e-12)
    assert 1 / rate < 0.25 * squares.max()


@pytest.mark.parametrize("batch_size", [1, 4, 200])
def test_a_batch_of_a_stream_is_few_of_all_rows(batch_size: int) -> None:
    """Its noise falls with its size alone, even if it holds all rows of its block."""
    samples = make_problem(200, 6, 1).samples
    one, all_rows = (
        1 / rate_of(samples, unscaled(6), 1, size, 0.0, fit_intercept=False) for size in (1, 200)
    )
    got = rate_of(samples, unscaled(6), 1, batch_size, 0.0, fit_intercept=False, in_stream=True)
    expected = (1 - 1 / batch_size) * all_rows + one / batch_size
    assert 1 / got == pytest.approx(expected, rel=1e-12)
    assert one > 1.1 * all_rows


def test_single_steps_on_heavy_rows_are_as_short_if_a_part_of_the_rows_is_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    n, d = 4000, 6
    samples = make_problem(n, d, 1).samples
    weight = np.where(np.arange(n) % 4 == 0, 9.0, 1.0)
    weighted = replace(samples, sample_weight=weight / weight.mean())
    arguments = (unscaled(d), 1, 1, 0.0, False)
    of_all = rate_of(weighted, *arguments)
    monkeypatch.setattr(schedules, "PROBE_BYTES", 0)  # which leaves 256 rows
    of_part = rate_of(weighted, *arguments)
    assert of_part != of_all
    assert of_part == pytest.approx(of_all, rel=0.2)
    assert rate_of(samples, *arguments) > 1.5 * of_all


def test_momentum_divides_the_noise_and_leaves_the_curvature() -> None:
    samples = make_problem(200, 6, 1).samples
    of_all = [rate_of(samples, unscaled(6), 1, 200, 0.0, True, momentum=m) for m in (0, 0.9)]
    assert of_all[0] == of_all[1]
    of_rows = [rate_of(samples, unscaled(6), 1, 1, 0.0, True, momentum=m) for m in (0, 0.9)]
    assert of_rows[0] == pytest.approx(10 * of_rows[1], rel=1e-12)


def test_the_unit_of_the_features_does_not_matter() -> None:
    """The weights grow by 1 / unit, so their rate does by its square; the intercept's does not."""
    samples = make_problem(100, 5, 3).samples
    rate, gain = step_of(samples, unscaled(5), 3, 10, 0.0, True)
    larger = Samples(samples.rows.values * 1024, samples.labels)
    rate_of_larger, gain_of_larger = step_of(larger, unscaled(5), 3, 10, 0.0, True)
    assert rate_of_larger * 1024**2 == pytest.approx(rate, rel=1e-12)
    assert rate_of_larger * gain_of_larger == pytest.approx(rate * gain, rel=1e-12)


def test_a_penalised_intercept_counts_its_penalty() -> None:
    samples = make_problem(100, 5, 3).samples
    larger = Samples(samples.rows.values * 100, samples.labels)
    free = step_of(larger, unscaled(5), 3, 100, 0.5, True)
    held = step_of(larger, unscaled(5), 3, 100, 0.5, True, intercept_decay=1.0)
    assert held.intercept_gain == free.intercept_gain > 1
    assert 1 / held.learning_rate - 1 / free.learning_rate == pytest.approx(free.intercept_gain - 1)


@pytest.mark.parametrize(
    ("size", "dtype"), [(1e300, np.float64), (1e160, np.float64), (1e30, np.float32)]
)
def test_squares_that_overflow(size: float, dtype: Any) -> None:
    samples = make_problem(20, 3, 1).samples
    for d in (3, DENSE_FEATURES + 1):
        rows = np.resize(samples.rows.values * size, (20, d)).astype(dtype)
        with pytest.raises(InputError, match=r"squares that .* cannot hold; divide the features"):
            step_of(Samples(rows, samples.labels), unscaled(d), 1, 5, 0.0, True, dtype=dtype)


@settings(max_examples=30, deadline=None)
@given(small=st.integers(1, 200), large=st.integers(1, 200))
def test_larger_batches_allow_larger_steps(small: int, large: int) -> None:
    samples = make_problem(200, 6, 3).samples
    small, large = sorted((small, large))
    of_small, of_large = (
        rate_of(samples, unscaled(6), 3, size, 0.01, True) for size in (small, large)
    )
    assert of_small <= of_large


def test_it_is_for_the_scaled_rows() -> None:
    scale = InputScale(np.full(5, 127.5), np.full(5, 1 / 127.5))
    rows = make_problem(100, 5, 3, "uint8", "float64").samples
    samples = replace(rows, shift=scale.shift)
    scaled = Samples((samples.rows.values - 127.5) / 127.5, samples.labels)
    got = rate_of(samples, scale, 3, 10, 0.01, True)
    right = rate_of(scaled, unscaled(5), 3, 10, 0.01, True)
    assert got == pytest.approx(right, rel=1e-12)


@pytest.mark.parametrize("d", [5, DENSE_FEATURES + 5])
def test_in_one_batch_a_row_with_weight_two_is_two_rows(d: int) -> None:
    samples = make_problem(40, d, 1).samples
    times = np.arange(40) % 3
    repeated = Samples(samples.rows.values.repeat(times, axis=0), samples.labels.repeat(times))
    weighted = Samples(samples.rows.values, samples.labels, times / times.mean())
    got = [step_of(s, unscaled(d), 1, 80, 0.0, True) for s in (weighted, repeated)]
    np.testing.assert_allclose(got[0], got[1], rtol=1e-12)
    unweighted = step_of(samples, unscaled(d), 1, 80, 0.0, True)
    assert got[0].learning_rate != pytest.approx(unweighted.learning_rate, rel=1e-3)


def test_with_all_rows_in_a_batch_the_loss_always_falls() -> None:
    for k in (1, 3):
        problem = make_problem(100, 5, k)
        rate, gain = step_of(problem.samples, unscaled(5), k, 100, 0.0, True)
        weights, intercept = problem.weights.copy(), problem.intercept.copy()
        before = math.inf
        for _ in range(10):
            loss, by_weights, by_intercept = reference.loss_gradient(
                problem.samples, weights, intercept
            )
            assert loss < before
            before = loss
            weights -= rate * by_weights / 100
            intercept -= rate * gain * by_intercept / 100


@pytest.mark.parametrize("d", [3, DENSE_FEATURES + 1])
def test_rows_of_zeros(d: int) -> None:
    samples = Samples(np.zeros((5, d)), np.array([0, 1, 0, 1, 0], np.int32))
    assert step_of(samples, unscaled(d), 1, 2, 0.0, fit_intercept=False) == (1.0, 0.0)
    # The intercept's own curvature is 1/4.
    assert step_of(samples, unscaled(d), 1, 5, 0.0, fit_intercept=True) == (4.0, 1.0)
