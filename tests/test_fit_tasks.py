"""scikit-learn's callbacks: what they are told, what they see, and that they can stop a fit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimators import X, Y, model
from sklearn.base import clone
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fastlin import LogisticRegression
from fastlin.errors import DivergenceError

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn before 1.9")


class Recorder:
    """Notes what it is told; asks to stop after an epoch."""

    def __init__(self, stop_after: int = -1) -> None:
        self.stop_after = stop_after
        self.events: list[tuple[str, str, int]] = []
        self.models: list[Any] = []
        self.data: list[Any] = []

    def setup(self, estimator: Any, context: Any) -> None:
        self.events.append(("setup", context.task_name, context.max_subtasks))

    def teardown(self, estimator: Any, context: Any) -> None:
        self.events.append(("teardown", context.task_name, context.max_subtasks))

    def on_fit_task_begin(
        self, estimator: Any, context: Any, *, X: Any = None, fitted_estimator: Any = None
    ) -> None:
        self.events.append(("begin", context.task_name, context.task_id))

    def on_fit_task_end(
        self,
        estimator: Any,
        context: Any,
        *,
        X: Any = None,
        y: Any = None,
        metadata: Any = None,
        fitted_estimator: Any = None,
    ) -> bool:
        self.events.append(("end", context.task_name, context.task_id))
        self.models.append(fitted_estimator)
        self.data.append((X, y, metadata))
        return context.task_name == "epoch" and context.task_id == self.stop_after


def test_the_fit_and_each_epoch_are_tasks() -> None:
    recorder = Recorder()
    weight = np.linspace(0.5, 2, len(Y))
    trained = model(max_epochs=2).set_callbacks(recorder).fit(X, Y, sample_weight=weight)
    epochs = [(edge, "epoch", i) for i in range(2) for edge in ("begin", "end")]
    assert recorder.events == [
        ("setup", "fit", 2),
        ("begin", "fit", 0),
        *epochs,
        ("end", "fit", 0),
        ("teardown", "fit", 2),
    ]
    for seen_X, seen_y, metadata in recorder.data:
        assert seen_X is X
        assert seen_y is Y
        assert metadata["sample_weight"] is weight
    plain = model(max_epochs=2).fit(X, Y, sample_weight=weight)
    np.testing.assert_array_equal(trained.coef_, plain.coef_)


@pytest.mark.parametrize("average", [False, True])
def test_a_model_that_stopped_here_can_be_had_at_every_epoch(average: bool) -> None:
    recorder = Recorder()
    options = {"input_scale": "standard", "average": average}
    model(max_epochs=3, **options).set_callbacks(recorder).fit(X, Y)
    for epochs, seen in enumerate([*recorder.models[:3]], start=1):
        alone = model(max_epochs=epochs, **options).fit(X, Y)
        np.testing.assert_array_equal(seen.predict_proba(X), alone.predict_proba(X))
    np.testing.assert_array_equal(recorder.models[3].coef_, recorder.models[2].coef_)


def test_a_callback_stops_the_fit() -> None:
    recorder, other = Recorder(stop_after=1), Recorder()
    trained = model(max_epochs=9).set_callbacks(recorder, other).fit(X, Y)
    assert trained.n_iter_ == 2
    assert trained.history_.stop_reason == "callback"
    assert recorder.events[1:-1] == other.events[1:-1]
    assert recorder.events[-2:] == [("end", "fit", 0), ("teardown", "fit", 9)]


def test_an_epoch_cut_short_is_ended() -> None:
    recorder = Recorder()
    options = {"early_stopping": True, "patience": 1, "checks_per_epoch": 5, "max_epochs": 100}
    trained = model(learning_rate=3.0, **options).set_callbacks(recorder).fit(X, Y)
    assert trained.history_.stop_reason == "early_stopping"
    assert (trained.history_.stopped_step + 1) % trained.history_.steps_per_epoch
    begun = [task for edge, *task in recorder.events if edge == "begin"]
    assert begun == [["fit", 0], *(["epoch", i] for i in range(trained.n_iter_))]
    ended = [task for edge, *task in recorder.events if edge == "end"]
    assert sorted(ended) == sorted(begun)
    # Callbacks see the rows that are trained on, without those split off.
    assert [len(part) for part in recorder.data[0][:2]] == [81, 81]


def test_callbacks_are_torn_down_after_an_error() -> None:
    recorder = Recorder()
    with pytest.raises(DivergenceError):
        model(learning_rate=1e300, tol=None).set_callbacks(recorder).fit(X * 1e100, Y)
    assert recorder.events[-1] == ("teardown", "fit", 5)
    trained = model(max_epochs=1).set_callbacks(recorder).fit(X, Y)
    assert trained.n_iter_ == 1


def test_partial_fit_and_an_estimator_without_callbacks_tell_nobody() -> None:
    recorder = Recorder()
    estimator = model().set_callbacks(recorder).partial_fit(X, Y, classes=[0, 1, 2])
    estimator.set_callbacks().fit(X, Y)
    assert recorder.events == []
    with pytest.raises(TypeError, match="FitCallback protocol"):
        estimator.set_callbacks(print)


def test_iterations_of_lbfgs_are_tasks() -> None:
    recorder = Recorder()
    trained = model(solver="lbfgs", max_epochs=100).set_callbacks(recorder).fit(X, Y)
    done = [(edge, "iteration", i) for i in range(trained.n_iter_) for edge in ("begin", "end")]
    assert recorder.events[1:-1] == [("begin", "fit", 0), *done, ("end", "fit", 0)]
    losses = [log_loss(Y, seen.predict_proba(X)) for seen in recorder.models[:-1]]
    np.testing.assert_allclose(losses, trained.history_.train_loss, rtol=1e-9)
    np.testing.assert_array_equal(recorder.models[-1].coef_, trained.coef_)


def test_the_progress_bar(capsys: pytest.CaptureFixture[str]) -> None:
    trained = model(max_epochs=3).set_callbacks(callback.ProgressBar()).fit(X, Y)
    assert trained.n_iter_ == 3
    shown = capsys.readouterr().out
    assert "LogisticRegression - fit" in shown
    assert "100%" in shown


@pytest.mark.parametrize("frame", [False, True])
@pytest.mark.parametrize("split", [False, True])
def test_the_scoring_monitor(frame: bool, split: bool) -> None:
    rows: Any = X
    if frame:
        rows = pytest.importorskip("pandas").DataFrame(X, columns=list("abcd"))
    monitor = callback.ScoringMonitor(scoring="neg_log_loss")
    estimator = model(max_epochs=4, early_stopping=split, patience=9)
    trained = estimator.set_callbacks(monitor).fit(rows, Y)
    log = [row for row in monitor.get_logs().data if row["task_name"] == "epoch"]
    assert [row["task_id"] for row in log] == [0, 1, 2, 3]
    scores = [row["neg_log_loss"] for row in log]
    assert scores[0] < scores[-1]
    if not split:
        assert scores[-1] == pytest.approx(-log_loss(Y, trained.predict_proba(rows)))


def test_a_pipeline_hands_its_callbacks_on(capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = make_pipeline(StandardScaler(), model(max_epochs=2))
    pipeline.set_callbacks(callback.ProgressBar(max_propagation_depth=None)).fit(X, Y)
    assert "LogisticRegression - fit" in capsys.readouterr().out
    recorder = Recorder(stop_after=0)
    inner = make_pipeline(StandardScaler(), model().set_callbacks(recorder)).fit(X, Y)
    assert inner[-1].n_iter_ == 1
    assert isinstance(clone(inner[-1]), LogisticRegression)
