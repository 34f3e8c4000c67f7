"""The training loop: its checks, what ends it, and what callbacks are told."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from descents import VALIDATION, make_training, of_samples, run, val_score
from problems import make_problem

from fastlin.errors import DivergenceError
from fastlin.kernels import BACKEND_NAMES, backends, get_backend
from fastlin.solvers.batches import Batches
from fastlin.solvers.progress import Progress

# ------------------------------------------------------------------ checks


@pytest.mark.parametrize("checks_per_epoch", [1, 3, 11, 100])
def test_checks_fall_on_multiples_of_the_interval(checks_per_epoch: int) -> None:
    history, _ = run(make_training(validation=VALIDATION, checks_per_epoch=checks_per_epoch))
    interval = max(1, 11 // checks_per_epoch)
    assert history.check_step.tolist() == [s for s in range(33) if s % interval == 0]
    shape = history.check_step.shape
    assert history.val_loss.shape == history.val_accuracy.shape == shape
    assert history.train_accuracy.shape == shape


def test_the_first_check_follows_the_update_of_step_0() -> None:
    training = make_training(validation=VALIDATION)
    history, _ = run(training)
    first_step = []

    def stop_at_once(progress: Progress) -> bool:
        first_step.append(progress)
        return True

    stopped, after_one = run(training.with_changes(callbacks=[stop_at_once]))
    assert stopped.check_step.tolist() == [0]
    assert len(stopped.train_loss) == 1
    assert history.val_loss[0] == stopped.val_loss[0] == val_score(after_one)[0]
    assert history.val_loss[0] != pytest.approx(math.log(3), abs=1e-6)
    assert history.val_accuracy[0] == val_score(after_one)[1]


def test_the_last_check_is_of_the_last_weights() -> None:
    """34 steps, a check each."""
    training = make_training(validation=VALIDATION, checks_per_epoch=100)
    history, parameters = run(training)
    assert (history.val_loss[-1], history.val_accuracy[-1]) == val_score(parameters)
    samples = training.problem.samples
    n_correct = get_backend("numpy").score(samples, *parameters.to_return(), 1)[1]
    assert history.train_accuracy[-1] == n_correct / len(samples.rows)


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_validation_set_is_only_recorded(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    options = {"momentum": 0.9, "nesterov": True, "average": True}
    problem = make_problem(103, 30, 10)
    validation = make_problem(57, 30, 10, seed=1).samples
    plain = of_samples(
        problem.samples,
        10,
        Batches(103, 10, checks_per_epoch=4),
        backend=get_backend(name),
        learning_rate=0.05,
        max_epochs=3,
        patience=1,
        **options,
    )
    results = [run(plain), run(plain.with_changes(validation=validation))]
    (without, first), (recorded, second) = results
    assert len(recorded.check_step) == 17
    assert recorded.stop_reason == "max_epochs"
    np.testing.assert_array_equal(without.train_loss, recorded.train_loss)
    np.testing.assert_array_equal(first.weights_average, second.weights_average)


# ------------------------------------------------------------------ early stopping


@pytest.mark.parametrize("average", [False, True])
def test_early_stopping_returns_the_weights_of_the_best_check(average: bool) -> None:
    training = make_training(
        checks_per_epoch=11,
        early_stopping=True,
        patience=5,
        learning_rate=0.1,
        average=average,
        momentum=0.5,
        max_epochs=50,
    )
    some = training.problem.samples  # of which the loss falls, and now and then rises
    validation = some.part(slice(40))
    training = training.with_changes(validation=validation)
    history, parameters = run(training)
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
        training.with_changes(callbacks=[lambda progress: progress.step == history.best_step])
    )
    assert to_best.stopped_step == history.best_step
    for name, value in vars(expected).items():
        if value is not None:
            np.testing.assert_array_equal(getattr(parameters, name), value)


def test_early_stopping_returns_the_best_also_where_patience_lasts() -> None:
    training = make_training(
        validation=VALIDATION, early_stopping=True, patience=1000, learning_rate=0.5
    )
    history, parameters = run(training)
    assert history.stop_reason == "max_epochs"
    assert history.best_step == history.check_step[history.val_loss.argmin()]
    assert history.best_step < history.stopped_step == 32
    assert val_score(parameters)[0] == history.val_loss.min()


def test_the_epoch_and_step_at_which_training_stopped() -> None:
    """The first check is the best, and three more are one too many."""
    training = make_training(
        validation=replace(VALIDATION, labels=(VALIDATION.labels + 1) % 3),
        drop_last=True,
        checks_per_epoch=2,
        early_stopping=True,
        patience=3,
        max_epochs=30,
        learning_rate=5.0,
    )
    history, _ = run(training)
    assert history.check_step.tolist() == [0, 5, 10, 15]
    assert (history.best_step, history.stopped_step, history.stopped_epoch) == (0, 15, 1)


# ------------------------------------------------------------------ other ends


def test_tol_stops_where_an_epoch_brings_less() -> None:
    history, _ = run(make_training(batch_size=103, max_epochs=500, tol=1e-3, patience=4))
    gains = -np.diff(history.train_loss)
    first_poor = int(np.argmax(gains < 1e-3))
    assert history.stop_reason == "tol"
    assert history.stopped_epoch == first_poor + 4
    assert 4 < history.stopped_epoch < 499


@pytest.mark.parametrize("tol", [0.0, None])
def test_no_tol_never_stops(tol: float | None) -> None:
    options = {"tol": tol, "patience": 1, "learning_rate": 1e-30}
    training = make_training(batch_size=103, max_epochs=60, **options)
    history, _ = run(training)
    assert history.stop_reason == "max_epochs"
    assert history.stopped_epoch == 59


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_loss_that_is_not_finite_names_the_step_and_the_remedy(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    training = make_training(backend=get_backend(name), k=10, learning_rate=1e200, max_epochs=9)
    with pytest.raises(DivergenceError) as caught:
        run(training)
    message = str(caught.value)
    assert "the training loss became " in message
    assert "at step 2 (epoch 0) with learning_rate=1e+200; lower learning_rate" in message
    assert "input_scale='standard'" in message


def test_it_names_the_step_in_a_later_epoch() -> None:
    training = make_training(batch_size=50, learning_rate=1e-3, momentum=0.0)
    huge = training.with_changes(l2=-1e80 / 2e-3)  # grows by 1e80 a step
    with pytest.raises(DivergenceError, match=r"at step 5 \(epoch 1\)"):
        run(huge)


# ------------------------------------------------------------------ callbacks


def test_callbacks_are_told_after_every_check_and_epoch() -> None:
    told: list[Progress] = []
    training = make_training(
        validation=VALIDATION,
        checks_per_epoch=3,
        callbacks=[lambda progress: told.append(progress)],
    )
    history, _ = run(training)
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
    run(make_training(callbacks=[told.append]))
    assert [progress.step for progress in told] == [10, 21, 32]
    assert {progress.val_loss for progress in told} == {None}


def test_a_callback_stops_the_training() -> None:
    others: list[int] = []
    training = make_training(
        callbacks=[
            lambda progress: progress.epoch == 1,
            lambda progress: others.append(progress.step),
        ]
    )
    history, _ = run(training)
    assert history.stop_reason == "callback"
    assert (history.stopped_epoch, history.stopped_step) == (1, 21)
    assert others == [10, 21]


def test_callbacks_are_told_of_the_check_that_stops_early() -> None:
    told: list[int] = []
    training = make_training(
        validation=VALIDATION,
        checks_per_epoch=11,
        early_stopping=True,
        patience=2,
        learning_rate=5.0,
        max_epochs=50,
        callbacks=[lambda progress: told.append(progress.step)],
    )
    history, _ = run(training)
    assert history.stop_reason == "early_stopping"
    assert told == history.check_step.tolist()
