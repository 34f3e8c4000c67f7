"""The training loop: its first ten losses as numbers, its steps and its history."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import oracles
import pytest
from descents import VALIDATION, make_training, of_samples, run
from problems import make_problem
from tolerances import of_sum

from fastlin.kernels import BACKEND_NAMES, Samples, backends, get_backend
from fastlin.solvers.batches import Batches
from fastlin.solvers.state import new_parameters

# ------------------------------------------------------------------ golden losses

N, D = 80, 20
PIXELS = np.array([[(31 * i + 17 * f + 7 * i * f) % 256 for f in range(D)] for i in range(N)])
GOLDEN_LABELS = {
    10: [(i * i + 3 * i + i // 7) % 10 for i in range(N)],
    1: [(i * i + 3 * i + i // 7) % 3 % 2 for i in range(N)],
}
# Ten batches of eight, x = (pixel - 128) / 64, l2 = 0.01, learning rate 1/8, from zero; ten
# classes with Nesterov's momentum of 0.9, two without. From oracles.Descent.
GOLDEN_LOSSES = {
    10: [
        2.302585092994046,
        2.3256091033508492,
        2.3466320019516322,
        2.3370949613410104,
        2.205016501887346,
        2.527419017440346,
        2.658621260710634,
        2.9286537095824787,
        2.601454439838768,
        2.444987746470768,
    ],
    1: [
        0.6931471805599453,
        0.6631311374431111,
        0.6997023301705632,
        0.6280966073666611,
        0.7562458798378502,
        0.6164850963176255,
        0.5587179963941088,
        0.661108277571231,
        0.6300419970401638,
        0.6117282969520721,
    ],
}


def golden_options(k: int) -> dict[str, Any]:
    return {"momentum": 0.9, "nesterov": True} if k == 10 else {}


@pytest.mark.parametrize("k", [1, 10])
def test_the_oracle_gives_the_golden_losses(k: int) -> None:
    rows = ((PIXELS - 128) / 64).tolist()
    zeros = [[0.0] * D for _ in range(k)]
    descent = oracles.Descent(zeros, [0.0] * k, [0.02] * D, [1.0] * D, **golden_options(k))
    for step, loss in enumerate(GOLDEN_LOSSES[k]):
        batch = slice(8 * step, 8 * step + 8)
        got = descent.step(rows[batch], GOLDEN_LABELS[k][batch], 0.125)
        assert got == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize(
    ("row_type", "weight_type", "k"),
    [
        ("float64", "float64", 1),
        ("float64", "float64", 10),
        ("float32", "float32", 10),
        ("uint8", "float64", 10),
        ("uint8", "float32", 1),
        ("uint8", "float32", 10),
    ],
)
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_golden_losses(name: str, row_type: str, weight_type: str, k: int) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    labels = np.array(GOLDEN_LABELS[k], np.int32)
    assert set(labels) == set(range(max(k, 2)))
    # All numbers are exact in every type, and so is the scale that is folded in for pixels.
    if row_type == "uint8":
        shift = np.full(D, 128, weight_type)
        samples, gain = Samples(PIXELS.astype(np.uint8), labels, shift=shift), 1 / 64**2
    else:
        samples, gain = Samples(((PIXELS - 128) / 64).astype(row_type), labels), 1.0
    options = golden_options(k)
    training = of_samples(
        samples,
        k,
        Batches(N, 8, shuffle=False),
        gain,
        backend=get_backend(name),
        dtype=weight_type,
        l2=0.01,
        learning_rate=0.125,
        max_epochs=1,
        n_threads=2,
        **options,
    )
    history, parameters = run(training)
    if weight_type == "float64":
        np.testing.assert_allclose(history.train_loss, GOLDEN_LOSSES[k], rtol=1e-12)
    else:
        # A loss hangs on logits, sums of weights that each were rounded in up to ten steps;
        # pixels and shift, before they cancel, are up to 6 in the units of the scaled features.
        largest = np.abs(parameters.weights).max() / math.sqrt(gain)
        magnitude = 6 * D * largest
        allowed = 2 * of_sum("float32", 10 * (D + 1), magnitude)
        assert allowed < 2e-3
        np.testing.assert_allclose(history.train_loss, GOLDEN_LOSSES[k], rtol=0, atol=allowed)


# ------------------------------------------------------------------ steps and history


def test_history_holds_every_step() -> None:
    history, _ = run(make_training())
    assert history.steps_per_epoch == 11
    assert history.step.tolist() == list(range(33))
    assert history.train_loss.shape == (33,)
    assert (history.stopped_epoch, history.stopped_step, history.best_step) == (2, 32, 32)
    assert history.stop_reason == "max_epochs"
    assert history.check_step.shape == history.val_loss.shape == (0,)
    assert set(history.seconds) == {"steps", "checks", "total"}
    assert history.seconds["total"] >= history.seconds["steps"] > 0


def test_the_first_loss_is_from_before_the_first_update() -> None:
    history, _ = run(make_training(batch_size=103))
    assert history.train_loss[0] == pytest.approx(math.log(3), rel=1e-14)
    assert (np.diff(history.train_loss) < 0).all()


def test_without_the_last_batch_an_epoch_is_shorter() -> None:
    history, _ = run(make_training(drop_last=True))
    assert history.steps_per_epoch == 10
    assert len(history.train_loss) == 30


def test_the_schedule_reaches_the_steps() -> None:
    """With one step an epoch, the rates are those of whole epochs."""
    training = make_training(batch_size=103, shuffle=False, max_epochs=4, schedule="invscaling")
    _, parameters = run(training)
    by_hand = new_parameters(3, 6, np.float64, 0, False)
    n = 103
    for epoch in range(4):
        _, by_weights, by_intercept = get_backend("numpy").loss_gradient(
            training.problem.samples, by_hand.weights, by_hand.intercept, 1
        )
        rate = 0.1 / math.sqrt(1 + epoch)
        by_hand.weights -= rate * (by_weights / n + 2e-3 * by_hand.weights)
        by_hand.intercept -= rate * by_intercept / n
    np.testing.assert_allclose(parameters.weights, by_hand.weights, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(parameters.intercept, by_hand.intercept, rtol=1e-12, atol=1e-15)


def test_fractions_of_an_epoch_count_for_the_schedule() -> None:
    """Cut into runs by checks or not, each step has the same rate."""
    plain, _ = run(make_training(schedule="cosine"))
    checked, _ = run(make_training(schedule="cosine", validation=VALIDATION, checks_per_epoch=5))
    np.testing.assert_array_equal(plain.train_loss, checked.train_loss)


@pytest.mark.parametrize("average", [False, True])
def test_the_average_weighs_later_steps_more(average: bool) -> None:
    """Shares of 2 / (t + 2), t = 0, 1, ..., make step t weigh t + 1."""
    training = make_training(batch_size=103, max_epochs=4)
    seen = []
    for max_epochs in range(1, 5):
        _, parameters = run(training.with_changes(max_epochs=max_epochs))
        seen.append(parameters.weights)
    _, parameters = run(training.with_changes(average=average))
    expected = np.average(seen, axis=0, weights=[1, 2, 3, 4]) if average else seen[-1]
    np.testing.assert_allclose(parameters.to_return()[0], expected, rtol=1e-12)


def test_without_an_intercept_it_stays_zero() -> None:
    _, parameters = run(make_training(fit_intercept=False, momentum=0.9))
    assert not parameters.intercept.any()
    assert parameters.weights.any()


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_seed_fixes_the_bits(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    problem = make_problem(203, 784, 10, "uint8", "float32", shifted=True)
    training = of_samples(
        problem.samples,
        10,
        Batches(203, 32),
        1 / 128**2 / 784,
        backend=get_backend(name),
        dtype="float32",
        l2=5e-5,
        learning_rate=0.5,
        max_epochs=2,
    )

    def bits(seed: int, n_threads: int) -> bytes:
        history, parameters = run(training.with_changes(n_threads=n_threads), seed)
        return parameters.weights.tobytes() + history.train_loss.tobytes()

    assert bits(0, 1) == bits(0, 1) == bits(0, 3)
    assert bits(0, 1) != bits(1, 1)
