"""Histories: whole in memory and in copies, short in files and pickles."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastlin import LogisticRegression
from fastlin.results.history import MOST_STORED, History
from fastlin.results.plotting import epoch_means, learning_curve


def long_history(n_steps: int, steps_per_epoch: int, n_checks: int = 0) -> History:
    rng = np.random.default_rng(0)
    checks = np.linspace(0, n_steps - 1, n_checks).astype(np.int64)
    return History(
        step=np.arange(n_steps),
        train_loss=rng.random(n_steps),
        check_step=checks,
        val_loss=rng.random(n_checks),
        val_accuracy=rng.random(n_checks),
        train_accuracy=rng.random(n_checks),
        steps_per_epoch=steps_per_epoch,
        stopped_step=n_steps - 1,
        best_step=int(checks[n_checks // 3]) if n_checks else n_steps - 1,
        seconds={"total": 1.0},
    )


def assert_same(one: History, other: History) -> None:
    for name, value in vars(one).items():
        np.testing.assert_array_equal(getattr(other, name), value, err_msg=name)


def test_a_history_that_is_not_long_is_stored_as_it_is() -> None:
    for n_steps in (0, 1, 100):
        history = long_history(n_steps, 10, n_checks=n_steps)
        assert_same(history, history.stored(100))
        assert_same(history, pickle.loads(pickle.dumps(history)))


@pytest.mark.parametrize(
    ("n_steps", "steps_per_epoch"),
    [(1000, 100), (1003, 100), (1000, 7), (1000, 1), (1001, 3), (101, 1000), (1000, 999)],
)
def test_a_long_history_is_stored_as_means(n_steps: int, steps_per_epoch: int) -> None:
    history = long_history(n_steps, steps_per_epoch)
    short = history.stored(100)
    ends = [*(short.step + 1).tolist()]
    starts = [0, *ends[:-1]]
    assert ends[-1] == n_steps
    assert 1 < len(ends) <= 100
    for first, stop, mean in zip(starts, ends, short.train_loss, strict=True):
        assert mean == pytest.approx(history.train_loss[first:stop].mean(), rel=1e-12)
        assert 0 < stop - first <= short.steps_per_loss
        within = first // steps_per_epoch == (stop - 1) // steps_per_epoch
        assert within or first % steps_per_epoch == 0
    for found, expected in zip(epoch_means(short), epoch_means(history), strict=True):
        if short.steps_per_loss <= steps_per_epoch:  # else each value is of several epochs
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert np.sum(short.train_loss * np.diff(short.step, prepend=-1)) == pytest.approx(
        history.train_loss.sum()
    )
    for name in ("steps_per_epoch", "stopped_step", "best_step", "seconds"):
        assert getattr(short, name) == getattr(history, name)
    assert len(learning_curve(short).axes) == 1


def test_values_of_lbfgs_and_checks_are_stored_exactly() -> None:
    history = long_history(1000, 1, n_checks=900)
    history.objective = history.train_loss + 1
    history.gradient_norm, history.gap = history.objective + 1, history.objective + 2
    short = history.stored(100)
    assert short.step[-1] == 999
    for name in ("train_loss", "objective", "gradient_norm", "gap"):
        np.testing.assert_array_equal(getattr(short, name), getattr(history, name)[short.step])
    assert len(short.check_step) <= 101
    assert {history.best_step, history.check_step[-1]} <= set(short.check_step.tolist())
    place = np.searchsorted(history.check_step, short.check_step)
    for name in ("val_loss", "val_accuracy", "train_accuracy"):
        np.testing.assert_array_equal(getattr(short, name), getattr(history, name)[place])


def test_a_copy_in_memory_is_whole() -> None:
    history = long_history(MOST_STORED + 1, 10)
    for again in (copy.copy(history), copy.deepcopy(history), copy.deepcopy([history])[0]):
        assert_same(history, again)
    deep = copy.deepcopy(history)
    deep.train_loss[0] = deep.seconds["total"] = 7.0
    history.stored().seconds["total"] = 7.0
    assert history.train_loss[0] != 7.0
    assert history.seconds["total"] == 1.0


def many_steps(**options: Any) -> tuple[LogisticRegression, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 4))
    y = (X[:, 0] > 0).astype(int)
    model = LogisticRegression(backend="numpy", batch_size=1, tol=None, random_state=0, **options)
    return model.fit(X, y), X


def test_a_small_model_makes_a_small_file_and_pickle_however_long_it_trained(
    tmp_path: Path,
) -> None:
    model, X = many_steps(max_epochs=20)
    n_steps = len(model.history_.step)
    assert n_steps == 60_000 > MOST_STORED
    model.save(tmp_path / "model.npz")
    pickled = pickle.dumps(model)
    assert (tmp_path / "model.npz").stat().st_size < 2**20
    assert len(pickled) < 2**20
    assert len(model.history_.step) == n_steps
    loaded, again = LogisticRegression.load(tmp_path / "model.npz"), pickle.loads(pickled)
    assert_same(loaded.history_, again.history_)
    assert_same(loaded.history_, model.history_.stored())
    assert loaded.history_.steps_per_loss > 1
    for one in (loaded, again):
        np.testing.assert_array_equal(one.predict_proba(X), model.predict_proba(X))
        assert_same(one.history_, pickle.loads(pickle.dumps(one)).history_)
    found, expected = (m.partial_fit(X, X[:, 0] > 0).coef_ for m in (loaded, model))
    np.testing.assert_array_equal(found, expected)


def test_a_pickle_of_an_earlier_version_is_read() -> None:
    history = long_history(10, 5)
    old = {name: value for name, value in vars(history).items() if name != "steps_per_loss"}
    again = History.__new__(History)
    vars(again).update(old)
    assert again.steps_per_loss == 1
    assert_same(history, again.stored())
