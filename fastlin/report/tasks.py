"""Train every model of the report, each once.

Six runs serve all tasks: the logistic model with and without shuffling (2b to
2e), and the softmax model without a penalty (3b to 3d, 4b) and with each of
four (4b to 4e).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.report.problem import Problem, Settings, Split
from fastlin.report.progress import TaskBar
from fastlin.results.history import History
from fastlin.results.scores import measure

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


@dataclass(frozen=True)
class Training:
    """How all runs of one report are computed."""

    backend: str
    seed: int
    n_threads: int | None


@dataclass(frozen=True)
class Run:
    """One training run, and the scores of the weights that it returned on whole data sets.

    Attributes
    ----------
    history : History
    penalty : float
        lambda of the run.
    weights : (k, d + 1) float64
        Weights for inputs in [-1, 1], the bias in the last column; k = 1 for
        the logistic model.
    train_loss, val_loss : float
        Mean cross-entropies in nats, without the penalty.
    train_accuracy, val_accuracy : float
        Fractions in [0, 1].
    """

    history: History
    penalty: float
    weights: NDArray[np.float64]
    train_loss: float
    val_loss: float
    train_accuracy: float
    val_accuracy: float

    @property
    def weight_norm(self) -> float:
        """Square root of the sum of all squared weights, bias included."""
        return float(np.linalg.norm(self.weights))


@dataclass(frozen=True)
class Runs:
    """Every run of the report; `softmax` is keyed by lambda, largest first, 0 last."""

    ordered: Run
    shuffled: Run
    softmax: dict[float, Run]

    @property
    def plain(self) -> Run:
        """The softmax run without a penalty."""
        return self.softmax[0.0]

    @property
    def penalised(self) -> list[Run]:
        """The softmax runs with a penalty, largest lambda first."""
        return [run for penalty, run in self.softmax.items() if penalty > 0.0]

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent in training."""
        everything = [self.ordered, self.shuffled, *self.softmax.values()]
        return float(sum(run.history.seconds.get("total", 0.0) for run in everything))


def train_all(problem: Problem, settings: Settings, training: Training, bars: Bars) -> Runs:
    """Train all models of the report, with a progress bar each."""
    ordered = train_logistic(problem, settings, training, bars, shuffle=False)
    shuffled = train_logistic(problem, settings, training, bars, shuffle=True)
    softmax = {
        penalty: train_softmax(problem, settings, training, bars, penalty)
        for penalty in (*settings.penalties, 0.0)
    }
    return Runs(ordered, shuffled, softmax)


def train_logistic(
    problem: Problem, settings: Settings, training: Training, bars: Bars, *, shuffle: bool
) -> Run:
    """Train the logistic model on the pair of classes, with early stopping (tasks 2b to 2e)."""
    bar = TaskBar(
        bars, "2e logistic, shuffled" if shuffle else "2b-2d logistic", settings.binary_epochs
    )
    run = _run(
        problem,
        problem.pair,
        training,
        learning_rate=settings.binary_learning_rate,
        max_epochs=settings.binary_epochs,
        shuffle=shuffle,
        early_stopping=True,
        l2=0.0,
        patience=settings.patience,
        checks_per_epoch=settings.checks_per_epoch,
        callbacks=[bar.training],
    )
    bar.finish(f"ended in epoch {run.history.stopped_epoch}")
    return run


def train_softmax(
    problem: Problem, settings: Settings, training: Training, bars: Bars, penalty: float
) -> Run:
    """Train the softmax model on all classes with the given lambda (tasks 3b to 4e)."""
    tasks = "4b-4e" if penalty else "3b-4b"
    bar = TaskBar(bars, f"{tasks} softmax, l2 {penalty:g}", settings.softmax_epochs)
    run = _run(
        problem,
        problem.everything,
        training,
        learning_rate=settings.softmax_learning_rate,
        max_epochs=settings.softmax_epochs,
        l2=penalty,
        checks_per_epoch=settings.checks_per_epoch,
        callbacks=[bar.training],
    )
    bar.finish(f"validation accuracy {run.val_accuracy:.2%}")
    return run


def _run(problem: Problem, split: Split, training: Training, **options: Any) -> Run:
    """Fit a model on `split` and score the weights it returns."""
    from fastlin.estimator import LogisticRegression

    model = LogisticRegression(
        backend=training.backend,
        batch_size=split.batch_size,
        drop_last=True,
        tol=None,
        regularize_intercept=True,
        input_scale=problem.input_scale,
        random_state=training.seed,
        n_threads=training.n_threads,
        dtype="float64",
        **options,
    )
    model.fit(split.X_train, split.y_train, X_val=split.X_val, y_val=split.y_val)
    train = measure(model, split.X_train, split.y_train)
    val = measure(model, split.X_val, split.y_val)
    return Run(
        history=model.history_,
        penalty=float(model.l2),
        weights=scaled_weights(model.coef_, model.intercept_, problem.input_scale),
        train_loss=train.loss,
        val_loss=val.loss,
        train_accuracy=train.accuracy,
        val_accuracy=val.accuracy,
    )


def scaled_weights(
    coefficients: NDArray[Any],
    intercept: NDArray[Any],
    input_scale: tuple[float, float],
) -> NDArray[np.float64]:
    """Turn weights for raw inputs into weights (k, d + 1) for inputs in [-1, 1], bias last.

    With x = (u - shift) * scale, the logit w.x + b is (scale w).u + (b - shift scale sum(w)).
    """
    shift, scale = input_scale
    weights = np.asarray(coefficients, np.float64) / scale
    bias = np.asarray(intercept, np.float64) + shift * np.asarray(coefficients).sum(axis=1)
    return np.column_stack([weights, bias])
