"""The oracles check the NumPy kernels, which in turn check the others."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
from problems import Problem, make_options, make_order, make_parameters, make_problem
from tolerances import DIFFERENCE, DIFFERENCE_STEP, assert_within, bounds, of_sum

from fastlin.kernels import Parameters, Samples, StepOptions, reference

CLASSES = [1, 2, 3, 7]


def lists(problem: Problem) -> dict[str, Any]:
    """The problem in Python's own numbers, as the oracles take it."""
    samples = problem.samples
    return {
        "rows": samples.rows.to_array().tolist(),
        "labels": samples.labels.tolist(),
        "weights": problem.weights.tolist(),
        "intercept": problem.intercept.tolist(),
        "sample_weight": None if samples.sample_weight is None else samples.sample_weight.tolist(),
        "shift": None if samples.shift is None else samples.shift.tolist(),
    }


def bounds_of(problem: Problem) -> Any:
    samples = problem.samples
    return bounds(
        problem.dtype,
        samples.rows.values,
        samples.labels,
        *problem.model,
        samples.sample_weight,
        samples.shift,
    )


@pytest.fixture(params=[(k, w, s) for k in CLASSES for w in (False, True) for s in (False, True)])
def problem(request: pytest.FixtureRequest) -> Problem:
    k, weighted, shifted = request.param
    return make_problem(40, 5, k, weighted=weighted, shifted=shifted)


# ------------------------------------------------------------------ known answers


def test_sigmoid_and_loss_at_points_known_by_heart() -> None:
    losses, residual = reference.cross_entropy(
        np.array([[0.0], [0.0], [np.log(3)], [-np.log(3)]]), np.array([0, 1, 1, 1], np.int32)
    )
    np.testing.assert_allclose(losses, np.log([2, 2, 4 / 3, 4]), rtol=1e-15)
    np.testing.assert_allclose(residual[:, 0], [0.5, -0.5, -0.25, -0.75], rtol=1e-15)


def test_softmax_and_loss_at_points_known_by_heart() -> None:
    logits = np.log([[1.0, 1, 1, 1], [1, 2, 3, 4], [1, 2, 3, 4]])
    losses, residual = reference.cross_entropy(logits, np.array([2, 0, 3], np.int32))
    np.testing.assert_allclose(losses, np.log([4, 10, 2.5]), rtol=1e-15)
    np.testing.assert_allclose(
        residual,
        [[0.25, 0.25, -0.75, 0.25], [-0.9, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, -0.6]],
        rtol=1e-14,
    )


def test_two_classes_of_the_softmax_are_the_sigmoid() -> None:
    z = np.linspace(-30, 30, 61)
    labels = (np.arange(61) % 2).astype(np.int32)
    losses, residual = reference.cross_entropy(z[:, np.newaxis], labels)
    both = np.column_stack([np.zeros(61), z])
    softmax_losses, softmax_residual = reference.cross_entropy(both, labels)
    # The softmax's loss is a difference of logits of up to 30.
    np.testing.assert_allclose(softmax_losses, losses, rtol=1e-14, atol=30 * 2.0**-52)
    np.testing.assert_allclose(softmax_residual[:, 1], residual[:, 0], rtol=1e-12, atol=2.0**-52)


def test_at_zero_weights_every_class_is_as_probable() -> None:
    for k in CLASSES:
        problem = make_problem(40, 5, k)
        zeros = np.zeros((k, 5)), np.zeros(k)
        loss_sum, _, _ = reference.loss_gradient(problem.samples, *zeros)
        assert loss_sum == pytest.approx(40 * np.log(max(k, 2)), rel=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 10])
@pytest.mark.parametrize("z", [1e4, -1e4])
def test_huge_logits_are_finite(dtype: str, k: int, z: float) -> None:
    logits = np.zeros((2, k), dtype)
    logits[:, -1] = z
    labels = np.array([0, max(k, 2) - 1], np.int32)
    losses, residual = reference.cross_entropy(logits, labels)
    right = [oracles.loss_of(row, y) for row, y in zip(logits.tolist(), labels, strict=True)]
    np.testing.assert_allclose(losses, right, rtol=2e-7)
    right = [oracles.residual_of(row, y) for row, y in zip(logits.tolist(), labels, strict=True)]
    np.testing.assert_allclose(residual, right, rtol=2e-7)


# ------------------------------------------------------------------ plain loops


def test_logits(problem: Problem) -> None:
    of = lists(problem)
    right = [
        oracles.logits_of(row, of["weights"], of["intercept"], of["shift"]) for row in of["rows"]
    ]
    got = reference.logits(problem.samples, *problem.model)
    assert_within(got, right, bounds_of(problem).logits)


def test_loss_and_gradient(problem: Problem) -> None:
    of, allowed = lists(problem), bounds_of(problem)
    got = reference.loss_gradient(problem.samples, *problem.model)
    by_weights, by_intercept = oracles.gradient_sums(**of)
    assert_within(got[0], oracles.loss_sum(**of), allowed.loss_sum)
    assert_within(got[1], by_weights, allowed.weights_gradient)
    assert_within(got[2], by_intercept, allowed.intercept_gradient)


def test_score(problem: Problem) -> None:
    of = lists(problem)
    loss_sum, n_correct = reference.score(problem.samples, *problem.model)
    assert_within(loss_sum, oracles.loss_sum(**of), bounds_of(problem).loss_sum)
    right = 0
    for row, label in zip(of["rows"], of["labels"], strict=True):
        logits = oracles.logits_of(row, of["weights"], of["intercept"], of["shift"])
        right += oracles.predicted(logits) == label
    assert n_correct == right
    assert 0 < right < len(of["rows"])


def test_ties_go_to_the_first_class_and_to_zero() -> None:
    rows = np.ones((4, 1))
    labels = np.array([0, 1, 2, 0], np.int32)
    assert reference.score(Samples(rows, labels), np.zeros((3, 1)), np.zeros(3))[1] == 2
    assert reference.score(Samples(rows, labels), np.zeros((3, 1)), np.array([0, 1.0, 1]))[1] == 1
    labels = np.array([0, 1, 1, 1], np.int32)
    assert reference.score(Samples(rows, labels), np.zeros((1, 1)), np.zeros(1))[1] == 1


def test_rows_beyond_a_block_count_too() -> None:
    n = reference.ROWS_AT_ONCE + 77
    problem = make_problem(n, 3, 2)
    halves = [problem.samples.part(part) for part in (slice(500), slice(500, n))]
    got = reference.loss_gradient(problem.samples, *problem.model)
    parts = [reference.loss_gradient(half, *problem.model) for half in halves]
    for whole, first, second in zip(got, *parts, strict=True):
        np.testing.assert_allclose(whole, first + second, rtol=1e-12)
    scores = [reference.score(half, *problem.model) for half in halves]
    assert reference.score(problem.samples, *problem.model)[1] == scores[0][1] + scores[1][1]
    logits = [reference.logits(half, *problem.model) for half in halves]
    got_logits = reference.logits(problem.samples, *problem.model)
    np.testing.assert_allclose(got_logits, np.concatenate(logits), rtol=1e-12, atol=1e-14)


# ------------------------------------------------------------------ finite differences


def test_the_gradient_is_the_slope_of_the_loss(problem: Problem) -> None:
    weights, intercept = problem.model
    _, by_weights, by_intercept = reference.loss_gradient(problem.samples, weights, intercept)

    def slope(values: np.ndarray, index: tuple[int, ...]) -> float:
        def loss(value: float) -> float:
            kept, values[index] = values[index], value
            result = reference.loss_gradient(problem.samples, weights, intercept)[0]
            values[index] = kept
            return result

        return oracles.central_difference(loss, values[index], DIFFERENCE_STEP)

    loss_sum = reference.loss_gradient(problem.samples, weights, intercept)[0]
    rows = problem.samples.rows.values
    shifted = rows if problem.samples.shift is None else rows - problem.samples.shift
    # The third derivative of a row's loss by a weight is at most |x|^3 / 4.
    allowed = DIFFERENCE * (loss_sum + 2 * (np.abs(shifted) ** 3).sum())
    slopes = [slope(weights, index) for index in np.ndindex(*weights.shape)]
    assert_within(by_weights.ravel(), slopes, allowed)
    slopes = [slope(intercept, index) for index in np.ndindex(*intercept.shape)]
    assert_within(by_intercept, slopes, allowed)


# ------------------------------------------------------------------ steps

OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "no intercept": {"intercept_gain": 0.0},
    "decayed intercept": {"intercept_decay": 0.05},
    "average": {"average_rates": 2 / (np.arange(10) + 2.0)},
    "everything": {
        "momentum": 0.5,
        "nesterov": True,
        "intercept_decay": 0.05,
        "intercept_gain": 1.5,
        "average_rates": 1 / (np.arange(10) + 1.0),
    },
}


@pytest.mark.parametrize("name", OPTIONS)
@pytest.mark.parametrize("k", CLASSES)
def test_steps(name: str, k: int) -> None:
    changes = OPTIONS[name]
    problem = make_problem(23, 4, k, weighted=True, shifted=True)
    order = make_order(23, 2)
    options = make_options(problem, batch_size=5, n_steps=10, **changes)  # 46 rows: the last has 1
    parameters = make_parameters(problem)
    if options.momentum:
        parameters.weights_velocity = np.zeros_like(problem.weights)
        parameters.intercept_velocity = np.zeros_like(problem.intercept)
    if options.average_rates is not None:
        parameters.weights_average = np.zeros_like(problem.weights)
        parameters.intercept_average = np.zeros_like(problem.intercept)
    losses = np.full(10, np.nan)
    reference.sgd_steps(problem.samples, order, parameters, options, losses)

    of = lists(problem)
    descent = oracles.Descent(
        of["weights"],
        of["intercept"],
        [options.decay] * len(options.gain),
        options.gain.tolist(),
        options.intercept_decay,
        options.intercept_gain,
        options.momentum,
        options.nesterov,
    )
    for step in range(10):
        batch = order[5 * step : 5 * step + 5].tolist()
        loss = descent.step(
            [of["rows"][i] for i in batch],
            [of["labels"][i] for i in batch],
            options.learning_rates[step],
            [of["sample_weight"][i] for i in batch],
            of["shift"],
            0.0 if options.average_rates is None else options.average_rates[step],
        )
        # Each step rounds sums of a few terms of the size of 1.
        assert_within(losses[step], loss, of_sum("float64", 10 * (step + 1), 10.0))
    allowed = of_sum("float64", 100, 10.0)
    assert_within(parameters.weights, descent.weights, allowed)
    assert_within(parameters.intercept, descent.intercept, allowed)
    if options.momentum:
        assert_within(parameters.weights_velocity, descent.weights_velocity, allowed)
        assert_within(parameters.intercept_velocity, descent.intercept_velocity, allowed)
    if options.average_rates is not None:
        assert_within(parameters.weights_average, descent.weights_average, allowed)
        assert_within(parameters.intercept_average, descent.intercept_average, allowed)
    assert np.abs(parameters.weights - problem.weights).max() > 0.01


def test_the_share_of_the_average_gives_the_plain_mean() -> None:
    problem = make_problem(20, 4, 3)
    shares = 1 / (np.arange(4) + 1.0)
    options = make_options(problem, batch_size=5, n_steps=4, average_rates=shares)
    averaged = make_parameters(problem, average=True)
    order = np.arange(20)
    reference.sgd_steps(problem.samples, order, averaged, options, np.empty(4))
    seen = []
    parameters = make_parameters(problem)
    for step in range(4):
        one = replace(
            options,
            learning_rates=options.learning_rates[step : step + 1],
            average_rates=None,
        )
        batch = order[5 * step : 5 * step + 5]
        reference.sgd_steps(problem.samples, batch, parameters, one, np.empty(1))
        seen.append(parameters.weights.copy())
    np.testing.assert_allclose(averaged.weights_average, np.mean(seen, axis=0), rtol=1e-13)


def test_folded_scale_is_the_scaled_problem() -> None:
    """Steps on raw rows with shift and gain are steps on scaled rows without."""
    problem = make_problem(30, 4, 3, "uint8", "float64", shifted=True)
    raw = problem.samples
    scale = np.array([0.01, 0.02, 0.005, 0.03])
    scaled = Samples((raw.rows.to_array() - raw.shift) * scale, raw.labels)
    common = {"decay": 0.02, "learning_rates": np.full(6, 0.3)}
    folded, plain = make_parameters(problem), make_parameters(problem)
    plain.weights = problem.weights / scale
    options = replace(make_options(problem, 10, 6), gain=scale**2, **common)
    reference.sgd_steps(raw, make_order(30, 2), folded, options, folded_losses := np.empty(6))
    options = replace(options, gain=np.ones(4))
    reference.sgd_steps(scaled, make_order(30, 2), plain, options, plain_losses := np.empty(6))
    np.testing.assert_allclose(folded_losses, plain_losses, rtol=1e-12)
    np.testing.assert_allclose(folded.weights, plain.weights * scale, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(folded.intercept, plain.intercept, rtol=1e-11)


def test_a_model_of_float32_stays_float32() -> None:
    problem = make_problem(30, 4, 3, "uint8", "float32", weighted=True, shifted=True)
    parameters = make_parameters(problem, momentum=True, average=True)
    options = make_options(problem, 10, 3, momentum=0.9, average_rates=np.full(3, 0.5))
    reference.sgd_steps(problem.samples, make_order(30, 1), parameters, options, np.empty(3))
    assert {value.dtype.name for value in vars(parameters).values()} == {"float32"}
    assert reference.logits(problem.samples, *problem.model).dtype == np.float32


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_residuals_that_cancel_leave_the_digits_of_their_sum(dtype: str) -> None:
    """One after the other, they left no digit of this sum in float32, and lost six in float64."""
    n, k = 65_536, 3
    residual = np.random.default_rng(0).random((n, k)).astype(dtype) / n
    residual[n // 2 :] = -residual[: n // 2]
    residual[0] += 2.0**-30
    right = [math.fsum(column) for column in residual.T.tolist()]
    parameters = Parameters(np.zeros((k, 1), dtype), np.zeros(k, dtype))
    options = StepOptions(n, np.ones(1), 0.0, np.ones(1, dtype))
    reference.descend_intercept(parameters, residual, 1.0, options)
    off = np.abs(parameters.intercept.astype(np.float64) + right).max()
    assert off <= 5e-7 * 2.0**-30
