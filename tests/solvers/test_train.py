"""The training loop: its first ten losses as numbers, its checks, and what ends it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import oracles
import pytest
from problems import make_problem
from tolerances import of_sum

from fastlin.errors import DivergenceError
from fastlin.kernels import BACKEND_NAMES, Parameters, Samples, backends, get_backend
from fastlin.results.history import History
from fastlin.solvers.batches import Batches
from fastlin.solvers.sgd import Descent, Progress, new_parameters, train

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
    descent = Descent(
        backend=get_backend(name),
        samples=samples,
        validation=None,
        batches=Batches(N, 8, shuffle=False),
        learning_rate=0.125,
        decay=np.full(D, 0.02, weight_type),
        gain=np.full(D, gain, weight_type),
        max_epochs=1,
        n_threads=2,
        **options,
    )
    parameters = new_parameters(k, D, weight_type, options.get("momentum", 0), average=False)
    history = train(descent, parameters, np.random.default_rng(0))
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


# ------------------------------------------------------------------ a small problem


def make_descent(k: int = 3, n: int = 103, **changes: Any) -> Descent:
    """A few steps' worth of training, without a validation set."""
    problem = make_problem(n, 6, k)
    batch_size = changes.pop("batch_size", 10)
    options = {
        name: changes.pop(name)
        for name in ("drop_last", "shuffle", "checks_per_epoch")
        if name in changes
    }
    return Descent(
        **{
            "backend": get_backend("numpy"),
            "samples": problem.samples,
            "validation": None,
            "batches": Batches(n, batch_size, **options),
            "learning_rate": 0.1,
            "decay": np.full(6, 2e-3),
            "gain": np.ones(6),
            "max_epochs": 3,
            **changes,
        }
    )


def run(descent: Descent, seed: int = 0) -> tuple[History, Parameters]:
    k = int(descent.samples.labels.max()) + 1
    parameters = new_parameters(k if k > 2 else 1, 6, np.float64, descent.momentum, descent.average)
    return train(descent, parameters, np.random.default_rng(seed)), parameters


VALIDATION = make_problem(57, 6, 3, seed=1).samples
"""Rows of no use: their labels are drawn by chance, so their loss rises sooner or later."""


def val_score(parameters: Parameters, samples: Samples = VALIDATION) -> tuple[float, float]:
    loss_sum, n_correct = get_backend("numpy").score(samples, *parameters.to_return(), 1)
    return loss_sum / len(samples.rows), n_correct / len(samples.rows)


# ------------------------------------------------------------------ steps and history


def test_history_holds_every_step() -> None:
    history, _ = run(make_descent())
    assert history.steps_per_epoch == 11
    assert history.step.tolist() == list(range(33))
    assert history.train_loss.shape == (33,)
    assert (history.stopped_epoch, history.stopped_step, history.best_step) == (2, 32, 32)
    assert history.stop_reason == "max_epochs"
    assert history.check_step.shape == history.val_loss.shape == (0,)
    assert set(history.seconds) == {"steps", "checks", "total"}
    assert history.seconds["total"] >= history.seconds["steps"] > 0


def test_the_first_loss_is_from_before_the_first_update() -> None:
    history, _ = run(make_descent(batch_size=103))
    assert history.train_loss[0] == pytest.approx(math.log(3), rel=1e-14)
    assert (np.diff(history.train_loss) < 0).all()


def test_without_the_last_batch_an_epoch_is_shorter() -> None:
    history, _ = run(make_descent(drop_last=True))
    assert history.steps_per_epoch == 10
    assert len(history.train_loss) == 30


def test_the_schedule_reaches_the_steps() -> None:
    """With one step an epoch, the rates are those of whole epochs."""
    descent = make_descent(batch_size=103, shuffle=False, max_epochs=4, schedule="invscaling")
    _, parameters = run(descent)
    by_hand = new_parameters(3, 6, np.float64, 0, False)
    n = 103
    for epoch in range(4):
        _, by_weights, by_intercept = get_backend("numpy").loss_gradient(
            descent.samples, by_hand.weights, by_hand.intercept, 1
        )
        rate = 0.1 / math.sqrt(1 + epoch)
        by_hand.weights -= rate * (by_weights / n + 2e-3 * by_hand.weights)
        by_hand.intercept -= rate * by_intercept / n
    np.testing.assert_allclose(parameters.weights, by_hand.weights, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(parameters.intercept, by_hand.intercept, rtol=1e-12, atol=1e-15)


def test_fractions_of_an_epoch_count_for_the_schedule() -> None:
    """Cut into runs by checks or not, each step has the same rate."""
    plain, _ = run(make_descent(schedule="cosine"))
    checked, _ = run(make_descent(schedule="cosine", validation=VALIDATION, checks_per_epoch=5))
    np.testing.assert_array_equal(plain.train_loss, checked.train_loss)


@pytest.mark.parametrize("average", [False, True])
def test_the_average_weighs_later_steps_more(average: bool) -> None:
    """Shares of 2 / (t + 2), t = 0, 1, ..., make step t weigh t + 1."""
    descent = make_descent(batch_size=103, max_epochs=4)
    seen = []
    for max_epochs in range(1, 5):
        _, parameters = run(replace(descent, max_epochs=max_epochs))
        seen.append(parameters.weights)
    _, parameters = run(replace(descent, average=average))
    expected = np.average(seen, axis=0, weights=[1, 2, 3, 4]) if average else seen[-1]
    np.testing.assert_allclose(parameters.to_return()[0], expected, rtol=1e-12)


def test_without_an_intercept_it_stays_zero() -> None:
    _, parameters = run(make_descent(fit_intercept=False, momentum=0.9))
    assert not parameters.intercept.any()
    assert parameters.weights.any()


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_seed_fixes_the_bits(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    problem = make_problem(203, 784, 10, "uint8", "float32", shifted=True)
    descent = Descent(
        get_backend(name),
        problem.samples,
        None,
        Batches(203, 32),
        learning_rate=0.5,
        decay=np.full(784, 1e-4, np.float32),
        gain=np.full(784, 1 / 128**2 / 784, np.float32),
        max_epochs=2,
    )

    def bits(seed: int, n_threads: int) -> bytes:
        parameters = new_parameters(10, 784, np.float32, 0, average=False)
        threaded = replace(descent, n_threads=n_threads)
        history = train(threaded, parameters, np.random.default_rng(seed))
        return parameters.weights.tobytes() + history.train_loss.tobytes()

    assert bits(0, 1) == bits(0, 1) == bits(0, 3)
    assert bits(0, 1) != bits(1, 1)


# ------------------------------------------------------------------ checks


@pytest.mark.parametrize("checks_per_epoch", [1, 3, 11, 100])
def test_checks_fall_on_multiples_of_the_interval(checks_per_epoch: int) -> None:
    history, _ = run(make_descent(validation=VALIDATION, checks_per_epoch=checks_per_epoch))
    interval = max(1, 11 // checks_per_epoch)
    assert history.check_step.tolist() == [s for s in range(33) if s % interval == 0]
    shape = history.check_step.shape
    assert history.val_loss.shape == history.val_accuracy.shape == shape
    assert history.train_accuracy.shape == shape


def test_the_first_check_follows_the_update_of_step_0() -> None:
    descent = make_descent(validation=VALIDATION)
    history, _ = run(descent)
    _, after_one = run(replace(descent, validation=None, batches=Batches(103, 10), max_epochs=1))
    first_step = []

    def stop_at_once(progress: Progress) -> bool:
        first_step.append(progress)
        return True

    stopped, after_one = run(replace(descent, callbacks=[stop_at_once]))
    assert stopped.check_step.tolist() == [0]
    assert len(stopped.train_loss) == 1
    assert history.val_loss[0] == stopped.val_loss[0] == val_score(after_one)[0]
    assert history.val_loss[0] != pytest.approx(math.log(3), abs=1e-6)
    assert history.val_accuracy[0] == val_score(after_one)[1]


def test_the_last_check_is_of_the_last_weights() -> None:
    """34 steps, a check each."""
    descent = make_descent(validation=VALIDATION, checks_per_epoch=100)
    history, parameters = run(descent)
    assert (history.val_loss[-1], history.val_accuracy[-1]) == val_score(parameters)
    samples = descent.samples
    n_correct = get_backend("numpy").score(samples, *parameters.to_return(), 1)[1]
    assert history.train_accuracy[-1] == n_correct / len(samples.rows)


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_validation_set_is_only_recorded(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    options = {"momentum": 0.9, "nesterov": True, "average": True}
    problem = make_problem(103, 30, 10)
    validation = make_problem(57, 30, 10, seed=1).samples
    plain = Descent(
        get_backend(name),
        problem.samples,
        None,
        Batches(103, 10, checks_per_epoch=4),
        learning_rate=0.05,
        decay=np.full(30, 2e-3),
        gain=np.ones(30),
        max_epochs=3,
        patience=1,
        **options,
    )
    results = []
    for descent in (plain, replace(plain, validation=validation)):
        parameters = new_parameters(10, 30, np.float64, 0.9, average=True)
        history = train(descent, parameters, np.random.default_rng(0))
        results.append((history, parameters))
    (without, first), (recorded, second) = results
    assert len(recorded.check_step) == 17
    assert recorded.stop_reason == "max_epochs"
    np.testing.assert_array_equal(without.train_loss, recorded.train_loss)
    np.testing.assert_array_equal(first.weights_average, second.weights_average)


# ------------------------------------------------------------------ early stopping


@pytest.mark.parametrize("average", [False, True])
def test_early_stopping_returns_the_weights_of_the_best_check(average: bool) -> None:
    descent = make_descent(
        checks_per_epoch=11,
        early_stopping=True,
        patience=5,
        learning_rate=0.1,
        average=average,
        momentum=0.5,
        max_epochs=50,
    )
    some = descent.samples  # of which the loss falls, and now and then rises
    validation = Samples(some.rows[:40], some.labels[:40])
    descent = replace(descent, validation=validation)
    history, parameters = run(descent)
    best = int(history.val_loss.argmin())
    assert history.stop_reason == "early_stopping"
    assert history.best_step == history.check_step[best]
    assert len(history.val_loss) == best + 1 + 5
    assert history.stopped_step == history.check_step[-1] == len(history.train_loss) - 1
    assert 0 < history.best_step < history.stopped_step
    assert history.val_loss[best] == val_score(parameters, validation)[0]
    assert history.val_accuracy[best] == val_score(parameters, validation)[1]
    # All of the state is of that check, so that training can go on from it.
    to_best, expected = run(
        replace(descent, callbacks=[lambda progress: progress.step == history.best_step])
    )
    assert to_best.stopped_step == history.best_step
    for name, value in vars(expected).items():
        if value is not None:
            np.testing.assert_array_equal(getattr(parameters, name), value)


def test_early_stopping_returns_the_best_also_where_patience_lasts() -> None:
    descent = make_descent(
        validation=VALIDATION, early_stopping=True, patience=1000, learning_rate=0.5
    )
    history, parameters = run(descent)
    assert history.stop_reason == "max_epochs"
    assert history.best_step == history.check_step[history.val_loss.argmin()]
    assert history.best_step < history.stopped_step == 32
    assert val_score(parameters)[0] == history.val_loss.min()


def test_the_epoch_and_step_at_which_training_stopped() -> None:
    """The first check is the best, and three more are one too many."""
    descent = make_descent(
        validation=replace(VALIDATION, labels=(VALIDATION.labels + 1) % 3),
        drop_last=True,
        checks_per_epoch=2,
        early_stopping=True,
        patience=3,
        max_epochs=30,
        learning_rate=5.0,
    )
    history, _ = run(descent)
    assert history.check_step.tolist() == [0, 5, 10, 15]
    assert (history.best_step, history.stopped_step, history.stopped_epoch) == (0, 15, 1)


# ------------------------------------------------------------------ other ends


def test_tol_stops_where_an_epoch_brings_less() -> None:
    history, _ = run(make_descent(batch_size=103, max_epochs=500, tol=1e-3, patience=4))
    gains = -np.diff(history.train_loss)
    first_poor = int(np.argmax(gains < 1e-3))
    assert history.stop_reason == "tol"
    assert history.stopped_epoch == first_poor + 4
    assert 4 < history.stopped_epoch < 499


@pytest.mark.parametrize("tol", [0.0, None])
def test_no_tol_never_stops(tol: float | None) -> None:
    descent = make_descent(batch_size=103, max_epochs=60, tol=tol, patience=1, learning_rate=1e-30)
    history, _ = run(descent)
    assert history.stop_reason == "max_epochs"
    assert history.stopped_epoch == 59


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_loss_that_is_not_finite_names_the_step_and_the_remedy(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    descent = make_descent(backend=get_backend(name), k=10, learning_rate=1e200, max_epochs=9)
    with pytest.raises(DivergenceError) as caught:
        run(descent)
    message = str(caught.value)
    assert "the training loss became " in message
    assert "at step 2 (epoch 0) with learning_rate=1e+200; lower learning_rate" in message
    assert "input_scale='standard'" in message


def test_it_names_the_step_in_a_later_epoch() -> None:
    descent = make_descent(batch_size=50, learning_rate=1e-3, momentum=0.0)
    huge = replace(descent, decay=np.full(6, -1e80 / 1e-3))  # grows by 1e80 a step
    with pytest.raises(DivergenceError, match=r"at step 5 \(epoch 1\)"):
        run(huge)


# ------------------------------------------------------------------ callbacks


def test_callbacks_are_told_after_every_check_and_epoch() -> None:
    told: list[Progress] = []
    descent = make_descent(
        validation=VALIDATION,
        checks_per_epoch=3,
        callbacks=[lambda progress: told.append(progress)],
    )
    history, _ = run(descent)
    ends = [10, 21, 32]
    assert [progress.step for progress in told] == sorted({*history.check_step.tolist(), *ends})
    assert [progress.step for progress in told if progress.end_of_epoch] == ends
    for progress in told:
        assert progress.epoch == progress.step // 11
        assert progress.max_epochs == 3
        of_epoch = history.train_loss[11 * progress.epoch : progress.step + 1]
        rows = [10] * len(of_epoch) if progress.step not in ends else [10] * 10 + [3]
        assert progress.train_loss == pytest.approx(np.average(of_epoch, weights=rows), rel=1e-14)
        latest = int(np.flatnonzero(history.check_step <= progress.step)[-1])
        assert progress.val_loss == history.val_loss[latest]
        assert progress.val_accuracy == history.val_accuracy[latest]
        assert progress.train_accuracy == history.train_accuracy[latest]
        assert progress.rows_per_second > 0


def test_without_a_validation_set_callbacks_are_told_after_every_epoch() -> None:
    told: list[Progress] = []
    run(make_descent(callbacks=[told.append]))
    assert [progress.step for progress in told] == [10, 21, 32]
    assert {progress.val_loss for progress in told} == {None}


def test_a_callback_stops_the_training() -> None:
    others: list[int] = []
    descent = make_descent(
        callbacks=[
            lambda progress: progress.epoch == 1,
            lambda progress: others.append(progress.step),
        ]
    )
    history, _ = run(descent)
    assert history.stop_reason == "callback"
    assert (history.stopped_epoch, history.stopped_step) == (1, 21)
    assert others == [10, 21]


def test_callbacks_are_told_of_the_check_that_stops_early() -> None:
    told: list[int] = []
    descent = make_descent(
        validation=VALIDATION,
        checks_per_epoch=11,
        early_stopping=True,
        patience=2,
        learning_rate=5.0,
        max_epochs=50,
        callbacks=[lambda progress: told.append(progress.step)],
    )
    history, _ = run(descent)
    assert history.stop_reason == "early_stopping"
    assert told == history.check_step.tolist()
