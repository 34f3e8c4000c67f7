"""Watches a run: checks, early stopping, callbacks, and its history."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.results.history import History
from fastlin.results.loss_log import LossLog
from fastlin.results.snapshot import Arrays
from fastlin.solvers.problem import Problem
from fastlin.solvers.progress import Progress, asks_to_stop
from fastlin.solvers.stopping import Patience


class Watch:
    """Watches one run of a solver, which begins now, and records its :class:`History`.

    Attributes
    ----------
    losses : LossLog
        Loss of each step.
    early : Patience
        Decides early stopping by the validation losses.
    """

    def __init__(self, problem: Problem, steps_per_epoch: int = 1) -> None:
        self.problem = problem
        self.losses = LossLog(steps_per_epoch)
        self.early = Patience(problem.patience)
        self._checks: list[tuple[int, float, float, float]] = []
        self._started = time.perf_counter()
        self._seconds_of_checks = 0.0

    @property
    def seconds(self) -> float:
        """Wall-clock time since the run began."""
        return time.perf_counter() - self._started

    def begin_epoch(self) -> None:
        """Announce an epoch, or an iteration."""
        self.losses.begin_epoch()
        self.announce_epoch()

    def announce_epoch(self) -> None:
        """Tell those who want to know that an epoch begins, or goes on."""
        for announce in self.problem.before_epoch:
            announce()

    @np.errstate(over="ignore", invalid="ignore")  # an overflow shows in the losses
    def check(self, model: tuple[NDArray[Any], NDArray[Any]], step: int) -> bool:
        """Score weights and intercept after a step; return whether early stopping keeps them."""
        started = time.perf_counter()
        val_loss, val_accuracy = self.problem.score_validation(*model)
        _, train_accuracy = self.problem.score(*model)
        self._checks.append((step, val_loss, val_accuracy, train_accuracy))
        self._seconds_of_checks += time.perf_counter() - started
        return self.problem.early_stopping and self.early.improved(val_loss)

    def tell(self, *, is_between: bool = False, **so_far: Any) -> bool:
        """Tell every callback the progress; return whether one of them asks to stop.

        Between checks and ends of epochs (``is_between``), only those are told that have a true
        attribute ``between_checks``. ``so_far`` are the fields of :class:`Progress` that only the
        solver knows.
        """
        callbacks = self.problem.callbacks
        if is_between:
            callbacks = [each for each in callbacks if getattr(each, "between_checks", False)]
            if not callbacks:
                return False
        latest = self._checks[-1] if self._checks else (None,) * 4
        names = ("val_loss", "val_accuracy", "train_accuracy")
        checked: dict[str, Any] = dict(zip(names, latest[1:], strict=True))
        seconds, most = self.seconds, self.problem.max_epochs
        done = (so_far["epoch"] + so_far.get("share_of_epoch", 1.0)) / most
        progress = Progress(
            max_epochs=most,
            seconds=seconds,
            most_seconds_left=seconds * (1 / done - 1) if done > 0 else np.inf,
            **checked,
            **so_far,
        )
        answers = [callback(progress) for callback in callbacks]
        return any(map(asks_to_stop, answers))

    def history(self, *, seconds_of_steps: float | None = None, **ending: Any) -> History:
        """Return the record of the run, which ends now.

        ``ending`` are the fields of :class:`History` that only the solver knows. The default of
        ``seconds_of_steps`` is the time that the checks did not take.
        """
        checks = self._all_checks()
        steps, losses, steps_per_loss = self.losses.all()
        total = self.seconds
        if seconds_of_steps is None:
            seconds_of_steps = total - self._seconds_of_checks
        return History(
            step=steps,
            train_loss=losses,
            steps_per_loss=steps_per_loss,
            steps_per_epoch=self.losses.steps_per_epoch,
            check_step=checks[:, 0].astype(np.int64),
            val_loss=checks[:, 1].copy(),
            val_accuracy=checks[:, 2].copy(),
            train_accuracy=checks[:, 3].copy(),
            seconds={"steps": seconds_of_steps, "checks": self._seconds_of_checks, "total": total},
            **ending,
        )

    def to_plain(self) -> tuple[Arrays, dict[str, Any]]:
        """Return arrays and numbers from which :meth:`restore` continues."""
        arrays: dict[str, Any] = {**self.losses.to_plain(), "checks": self._all_checks()}
        return arrays, {
            "early": [self.early.best, self.early.without_improvement],
            "seconds": [self.seconds, self._seconds_of_checks],
            "steps_per_epoch": self.losses.steps_per_epoch,
        }

    def restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Continue from what an earlier watch of the same run returned."""
        self.losses.restore(arrays)
        self._checks = [
            (int(step), *values) for step, *values in arrays["checks"].reshape(-1, 4).tolist()
        ]
        self.early.best, self.early.without_improvement = numbers["early"]
        total, self._seconds_of_checks = numbers["seconds"]
        self._started -= total

    def _all_checks(self) -> NDArray[np.float64]:
        return np.array(self._checks, np.float64).reshape(-1, 4)
