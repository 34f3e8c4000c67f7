"""A step's size fits the rows that it holds: in the last batch of an epoch and in small blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.metrics import log_loss

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, backends
from fastlin.solvers.batches import LONGEST_STEP, Batches

DESCENTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.8, "nesterov": True, "schedule": "invscaling"},
    "average": {"momentum": 0.5, "average": True, "schedule": "cosine"},
}


@pytest.fixture(params=BACKEND_NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    if not backends()[request.param].available:
        pytest.skip(f"backend {request.param!r} is not available")
    return str(request.param)


def problem(n: int, d: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    rows = generator.standard_normal((n, d))
    labels = rows[:, :3].sum(axis=1) + 0.5 * generator.standard_normal(n) > 0
    return rows, labels.astype(int)


def loss(model: LogisticRegression, rows: Any, labels: np.ndarray) -> float:
    return float(log_loss(labels, model.predict_proba(rows)))


# ------------------------------------------------------------------ the plan


def test_a_batch_makes_the_share_of_its_rows() -> None:
    assert Batches(26, 10).shares(0, 3).tolist() == [1, 1, 0.6]
    assert Batches(26, 10).shares(1, 2).tolist() == [1]
    assert Batches(26, 10, drop_last=True).shares(0, 2).tolist() == [1, 1]
    # Few rows alone make a whole step, unless larger blocks came before.
    assert Batches(6, 10).shares(0, 1).tolist() == [1]
    assert Batches(6, 10, full_batch=8).shares(0, 1).tolist() == [0.75]
    assert Batches(26, 10, row_weight=0.5).shares(0, 3).tolist() == [0.5, 0.5, 0.3]
    assert Batches(26, 10, row_weight=9.0).shares(0, 3).tolist() == [LONGEST_STEP] * 3


# ------------------------------------------------------------------ one epoch by hand


def by_hand(
    rows: np.ndarray,
    labels: np.ndarray,
    weight: np.ndarray,
    batch_size: int,
    rates: np.ndarray,
    momentum: float = 0.0,
    nesterov: bool = False,
    average: bool = False,
    **_: Any,
) -> np.ndarray:
    """Coefficients after steps of which each row makes ``1 / batch_size``."""
    l2 = 1e-2
    w, v, mean = np.zeros((3, rows.shape[1] + 1))
    x = np.column_stack([rows, np.ones(len(rows))])
    for step, rate in enumerate(rates):
        batch = slice(step * batch_size, (step + 1) * batch_size)
        residual = weight[batch] * (1 / (1 + np.exp(-x[batch] @ w)) - labels[batch])
        gradient = residual @ x[batch] / len(residual)
        gradient[:-1] += 2 * l2 * w[:-1]
        share = len(residual) / batch_size
        kept = momentum**share
        gradient *= (1 - kept) / (1 - momentum)
        v = kept * v + gradient
        w = w - share * rate * (gradient + kept * v if nesterov else v)
        mean += 2 / (step + 2) * (w - mean)
    return mean if average else w


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("last", [1, 3, 10])
@pytest.mark.parametrize("name", DESCENTS)
def test_a_short_batch_counts_its_rows_as_the_others_do(
    name: str, last: int, weighted: bool, sparse: bool, backend: str
) -> None:
    n, descent = 30 + last, DESCENTS[name]
    rows, labels = problem(n, 6)
    rows[np.abs(rows) < 0.7] = 0
    weight = np.random.default_rng(1).uniform(0.2, 3, n) if weighted else np.ones(n)
    model = LogisticRegression(
        backend=backend,
        learning_rate=0.5,
        l2=1e-2,
        batch_size=10,
        max_epochs=1,
        shuffle=False,
        **descent,
    ).fit(csr_array(rows) if sparse else rows, labels, sample_weight=weight)
    done = np.arange(4) / 4
    rates = {
        "invscaling": 0.5 / np.sqrt(1 + done),
        "cosine": 0.25 * (1 + np.cos(np.pi * done)),
    }.get(descent.get("schedule", ""), np.full(4, 0.5))
    expected = by_hand(rows, labels, weight / weight.mean(), 10, rates, **descent)
    got = np.append(model.coef_, model.intercept_)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------ what it is for


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"batch_size": 256},
        {"momentum": 0.9},
        {"momentum": 0.9, "nesterov": True},
        {"average": True},
        {"schedule": "cosine"},
        {"learning_rate": 0.5},
        {"early_stopping": True},
    ],
)
@pytest.mark.parametrize("n", [4993, 4994])
def test_a_last_batch_of_a_row_or_two_spoils_nothing(n: int, options: dict[str, Any]) -> None:
    rows, labels = problem(n)
    best = loss(LogisticRegression(solver="lbfgs").fit(rows, labels), rows, labels)
    worst = 0.0
    for seed in range(3):
        model = LogisticRegression(random_state=seed, max_epochs=20, **options).fit(rows, labels)
        worst = max(worst, loss(model, rows, labels))
    assert worst < best + 0.03


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"learning_rate": 0.5}])
def test_blocks_of_a_row_after_large_ones_spoil_nothing(options: dict[str, Any]) -> None:
    rows, labels = problem(5000)
    model = LogisticRegression(random_state=0, **options)
    for _ in range(5):
        model.partial_fit(rows[:4992], labels[:4992], classes=[0, 1])
    before = loss(model, rows, labels)
    for i in range(4992, 5000):
        model.partial_fit(rows[i : i + 1], labels[i : i + 1])
        assert loss(model, rows, labels) < before + 0.01


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_rows_one_by_one_move_as_much_as_together(momentum: float) -> None:
    """At a rate so small that the gradients hardly change meanwhile."""
    rows, labels = problem(256)
    moves = []
    for size in (128, 16, 1):
        model = LogisticRegression(learning_rate=1e-4, random_state=0, momentum=momentum)
        model.partial_fit(rows[:128], labels[:128], classes=[0, 1])
        parameters = model._state.parameters
        if momentum:  # what came before would go on moving the weights
            parameters.weights_velocity[...] = 0
        before = model.coef_.copy()
        for start in range(128, 256, size):
            block = slice(start, start + size)
            model.partial_fit(rows[block], labels[block])
        moves.append(model.coef_ - before)
        if momentum:  # what is still to come, were there no more gradients
            velocity = model._state.parameters.weights_velocity
            moves[-1] -= 1e-4 * velocity * momentum / (1 - momentum)
    assert np.abs(moves[0]).max() > 1e-6
    for move in moves[1:]:
        # Velocity fades a little less by parts of a step than by whole ones.
        allowed = (1 - momentum) / 2 + 0.01 if momentum else 0.01
        assert np.linalg.norm(move - moves[0]) < allowed * np.linalg.norm(moves[0])


@pytest.mark.parametrize("size", [1, 3, 40])
def test_a_stream_of_small_blocks_learns(size: int) -> None:
    rows, labels = problem(3000, 8)
    model = LogisticRegression(random_state=0)
    for start in range(0, len(rows), size):
        block = slice(start, start + size)
        model.partial_fit(rows[block], labels[block], classes=[0, 1])
    assert model.score(rows, labels) > 0.85


def test_a_rate_of_few_rows_is_measured_again() -> None:
    """The first row is all but zero, and says nothing of the others."""
    rows, labels = problem(2000)
    rows[0] *= 1e-6
    model = LogisticRegression(random_state=0).partial_fit(rows[:1], labels[:1], classes=[0, 1])
    of_one = model.learning_rate_
    model.partial_fit(rows, labels)
    assert model.learning_rate_ < of_one / 1.4
    rate = model.learning_rate_
    assert model.partial_fit(rows[:500], labels[:500]).learning_rate_ == rate
    fitted = LogisticRegression(random_state=0, max_epochs=1).fit(rows, labels)
    assert rate == pytest.approx(fitted.learning_rate_, rel=0.1)


def test_the_rate_of_single_rows_is_that_of_batches_of_one() -> None:
    rows, labels = problem(400)
    rows += 5 - rows[0]  # so that the first row is no fair origin
    rows[0] = 0
    model = LogisticRegression(fit_intercept=False)
    for i in range(1, 400):
        model.partial_fit(rows[i : i + 1], labels[i : i + 1], classes=[0, 1])
    fitted = LogisticRegression(fit_intercept=False, batch_size=1, max_epochs=1).fit(rows, labels)
    assert model.learning_rate_ == pytest.approx(fitted.learning_rate_, rel=0.2)


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("form", [np.asarray, csr_array])
@pytest.mark.parametrize("descent", DESCENTS)
def test_short_batches_give_the_same_bits_at_any_number_of_threads(
    descent: str, form: Any, backend: str
) -> None:
    """Of rows enough for several threads, some of weight 0, with all that an epoch's end does."""
    rows, labels = problem(2201, 1500)
    rows = np.where(np.abs(rows) > 1, rows, 0).astype(np.float32)
    weights = np.where(np.arange(len(rows)) % 7 == 0, 0, 1 + np.arange(len(rows)) % 3)
    models = [
        LogisticRegression(
            backend=backend,
            n_threads=n_threads,
            batch_size=900,
            max_epochs=3,
            tol=None,
            early_stopping=True,
            random_state=0,
            **DESCENTS[descent],
        ).fit(form(rows), labels, weights)
        for n_threads in (1, 3)
    ]
    one, three = models
    assert one.coef_.any()
    np.testing.assert_array_equal(one.coef_, three.coef_)
    np.testing.assert_array_equal(one.intercept_, three.intercept_)
    np.testing.assert_array_equal(one.history_.train_loss, three.history_.train_loss)
    np.testing.assert_array_equal(one.history_.val_loss, three.history_.val_loss)
