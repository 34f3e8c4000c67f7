"""The training loop of mini-batch gradient descent. The one module that knows all the others."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.advice import how_to_scale
from fastlin.errors import DivergenceError
from fastlin.history import History
from fastlin.kernels import Backend, Parameters, Samples, StepOptions
from fastlin.schedules import rates
from fastlin.stopping import Patience

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.batches import Batches
    from fastlin.scaling import InputScale


@dataclass(frozen=True)
class Progress:
    """What a callback is told after every check and at the end of every epoch.

    Attributes
    ----------
    epoch, max_epochs : int
        Epoch that runs, from 0 on, and the most there can be.
    step : int
        Latest step, counted over all epochs from 0.
    end_of_epoch : bool
        Whether the epoch ends here.
    train_loss : float
        Mean over the epoch's steps so far, in nats.
    val_loss, val_accuracy, train_accuracy : float or None
        Of the latest check; None before the first one.
    rows_per_second : float
        Of the epoch's steps so far.
    """

    epoch: int
    max_epochs: int
    step: int
    end_of_epoch: bool
    train_loss: float
    val_loss: float | None
    val_accuracy: float | None
    train_accuracy: float | None
    rows_per_second: float


Callback = Callable[[Progress], "bool | None"]


@dataclass(frozen=True)
class Descent:
    """Everything that stays fixed while training.

    ``decay`` and ``gain`` are ``(d,)``; see :mod:`fastlin.kernels.arguments`. A ``tol`` of 0 or
    None never stops. ``epochs_done`` and ``steps_done`` count those of earlier runs that this one
    continues; the schedule runs over ``horizon`` epochs, or ``max_epochs`` where that is None.
    ``before_epoch`` are called at the beginning of every epoch. ``unshifted`` is the scale of the
    training rows where these are shifted and the validation rows, in sparse form, are not.
    """

    backend: Backend
    samples: Samples
    validation: Samples | None
    batches: Batches
    learning_rate: float
    decay: NDArray[Any]
    gain: NDArray[Any]
    schedule: str = "constant"
    intercept_decay: float = 0.0
    fit_intercept: bool = True
    intercept_gain: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False
    max_epochs: int = 100
    tol: float | None = None
    patience: int = 10
    early_stopping: bool = False
    n_threads: int = 1
    callbacks: Sequence[Callback] = ()
    before_epoch: Sequence[Callable[[], None]] = ()
    epochs_done: int = 0
    steps_done: int = 0
    horizon: int | None = None
    unshifted: InputScale | None = None


@dataclass(frozen=True)
class Position:
    """Where a run stopped, and what another needs to go on from there.

    ``intercept (k,)`` is the one that was handed out, for unshifted rows.
    """

    parameters: Parameters
    epochs_done: int
    steps_done: int
    intercept: NDArray[Any] | None = None


@dataclass
class Log:
    """A :class:`History` in the making: parts that are joined at the end."""

    losses: list[NDArray[np.float64]] = field(default_factory=list)
    checks: list[tuple[int, float, float, float]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=lambda: {"steps": 0.0, "checks": 0.0})
    rows_of_epoch: int = 0
    seconds_of_epoch: float = 0.0


def new_parameters(
    n_models: int, n_features: int, dtype: Any, momentum: float, average: bool
) -> Parameters:
    """Return parameters at zero, ``(n_models, n_features)``, with what the options need."""

    def zeros() -> tuple[NDArray[Any], NDArray[Any]]:
        return np.zeros((n_models, n_features), dtype), np.zeros(n_models, dtype)

    parameters = Parameters(*zeros())
    if momentum > 0:
        parameters.weights_velocity, parameters.intercept_velocity = zeros()
    if average:
        parameters.weights_average, parameters.intercept_average = zeros()
    return parameters


def copy_parameters(source: Parameters, target: Parameters) -> None:
    """Copy what both have."""
    for name, values in vars(source).items():
        place = getattr(target, name)
        if values is not None and place is not None:
            place[...] = values


def train(descent: Descent, parameters: Parameters, generator: np.random.Generator) -> History:
    """Descend until something says stop; ``parameters`` then hold the weights to return.

    Raises
    ------
    DivergenceError
        A step's loss was not finite.
    """
    started = time.perf_counter()
    log = Log()
    best_parameters, best_step = parameters, -1
    early = Patience(descent.patience)
    plateau = Patience(descent.patience, descent.tol or 0.0)
    stop_reason = "max_epochs"
    step, epoch = -1, -1

    for epoch in range(descent.max_epochs):
        for announce in descent.before_epoch:
            announce()
        # 1. The epoch's order of rows.
        order = descent.batches.order(generator)
        epoch_losses: list[NDArray[np.float64]] = []
        log.rows_of_epoch, log.seconds_of_epoch = 0, 0.0
        finished = ""
        for first, stop, check in descent.batches.runs(epoch, descent.validation is not None):
            # 2. Many steps in one call of the backend.
            losses = _run_steps(descent, parameters, order, epoch, first, stop, log)
            epoch_losses.append(losses)
            step += len(losses)
            # 3. A check on the validation and training rows.
            if check:
                val_loss = make_check(descent, parameters.to_return(), step, log)
                if descent.early_stopping:
                    if early.improved(val_loss):
                        best_parameters, best_step = copy.deepcopy(parameters), step
                    elif early.exhausted:
                        finished = "early_stopping"
            # 4. Whoever watches may stop the run.
            end_of_epoch = stop == descent.batches.steps_per_epoch
            if (check or end_of_epoch) and descent.callbacks:
                progress = _progress(descent, epoch, step, end_of_epoch, epoch_losses, log)
                # Every callback is told, also after one of them asked to stop.
                answers = [callback(progress) for callback in descent.callbacks]
                if any(map(asks_to_stop, answers)):
                    finished = finished or "callback"
            if finished:
                break
        # 5. The training loss has stopped falling.
        if not finished and descent.tol:
            plateau.improved(float(np.concatenate(epoch_losses).mean()))
            if plateau.exhausted:
                finished = "tol"
        if finished:
            stop_reason = finished
            break

    # 6. Early stopping returns the best check's parameters.
    if best_step >= 0:
        copy_parameters(best_parameters, parameters)
    if not all(np.isfinite(values).all() for values in parameters.to_return()):
        raise DivergenceError(
            f"the weights became nan or infinite at step {step} (epoch {epoch}), the last one, "
            f"with learning_rate={descent.learning_rate:g}; {_remedy(descent)}"
        )
    log.seconds["total"] = time.perf_counter() - started
    return history_of(log, descent, epoch, step, best_step if best_step >= 0 else step, stop_reason)


def asks_to_stop(answer: Any) -> bool:
    """Whether a callback's answer is True, Python's or NumPy's.

    Nothing else is: many functions return something that their caller does not think of.
    """
    if isinstance(answer, np.ndarray) and answer.ndim == 0:
        answer = answer[()]
    return isinstance(answer, bool | np.bool_) and bool(answer)


# What overflows shows in the losses; NumPy's kernels need not warn of it where the others do not.
_quiet = np.errstate(over="ignore", invalid="ignore")


@_quiet
def _run_steps(
    descent: Descent,
    parameters: Parameters,
    order: NDArray[np.int64],
    epoch: int,
    first: int,
    stop: int,
    log: Log,
) -> NDArray[np.float64]:
    batches = descent.batches
    first_step = epoch * batches.steps_per_epoch + first
    steps = np.arange(first_step, first_step + stop - first)
    options = StepOptions(
        batch_size=batches.batch_size,
        learning_rates=rates(
            descent.schedule,
            descent.learning_rate,
            descent.epochs_done + steps / batches.steps_per_epoch,
            descent.horizon or descent.max_epochs,
        ),
        decay=descent.decay,
        gain=descent.gain,
        intercept_decay=descent.intercept_decay,
        intercept_gain=descent.intercept_gain if descent.fit_intercept else 0.0,
        momentum=descent.momentum,
        nesterov=descent.nesterov,
        # Later iterates weigh more: Lacoste-Julien et al., arXiv:1212.2002, equation 8.
        average_rates=2.0 / (descent.steps_done + steps + np.float64(2))
        if descent.average
        else None,
    )
    rows = order[first * batches.batch_size : stop * batches.batch_size]
    losses = np.empty(stop - first)
    started = time.perf_counter()
    descent.backend.sgd_steps(descent.samples, rows, parameters, options, losses, descent.n_threads)
    seconds = time.perf_counter() - started
    log.seconds["steps"] += seconds
    log.seconds_of_epoch += seconds
    log.losses.append(losses)
    log.rows_of_epoch += len(rows)
    if not np.isfinite(losses).all():
        diverged = first_step + int(np.argmin(np.isfinite(losses)))
        raise DivergenceError(
            f"the training loss became {losses[diverged - first_step]} at step {diverged} "
            f"(epoch {epoch}) with learning_rate={descent.learning_rate:g}; {_remedy(descent)}"
        )
    return losses


def _remedy(descent: Descent) -> str:
    """Return what may help a descent that diverged, leaving out what it already does."""
    measured = descent.intercept_gain != 1.0  # which "auto" chooses, and else is 1
    rate = "lower learning_rate" if measured else "lower learning_rate (or set it to 'auto')"
    scale = how_to_scale(descent.samples.rows, bool((descent.gain != 1).any()))
    return f"{rate}, or {scale}"


@_quiet
def make_check(
    descent: Descent, model: tuple[NDArray[Any], NDArray[Any]], step: int, log: Log
) -> float:
    """Score weights and intercept on the validation and training rows; return the former's loss."""
    assert descent.validation is not None
    started = time.perf_counter()
    n_val, n_train = len(descent.validation.rows), len(descent.samples.rows)
    loss_sum, val_correct = score_validation(descent, model)
    _, train_correct = descent.backend.score(descent.samples, *model, descent.n_threads)
    log.checks.append((step, loss_sum / n_val, val_correct / n_val, train_correct / n_train))
    log.seconds["checks"] += time.perf_counter() - started
    return loss_sum / n_val


def score_validation(
    descent: Descent, model: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[float, int]:
    """Return the sum of losses and the number of rows predicted right, of the validation rows."""
    assert descent.validation is not None
    weights, intercept = model
    if descent.unshifted is not None:
        intercept = descent.unshifted.raw_intercept(weights, intercept)
    return descent.backend.score(descent.validation, weights, intercept, descent.n_threads)


def _progress(
    descent: Descent,
    epoch: int,
    step: int,
    end_of_epoch: bool,
    epoch_losses: list[NDArray[np.float64]],
    log: Log,
) -> Progress:
    _, val_loss, val_accuracy, train_accuracy = log.checks[-1] if log.checks else (None,) * 4
    return Progress(
        epoch=epoch,
        max_epochs=descent.max_epochs,
        step=step,
        end_of_epoch=end_of_epoch,
        train_loss=float(np.concatenate(epoch_losses).mean()),
        val_loss=val_loss,
        val_accuracy=val_accuracy,
        train_accuracy=train_accuracy,
        rows_per_second=log.rows_of_epoch / max(log.seconds_of_epoch, 1e-9),
    )


def history_of(
    log: Log, descent: Descent, epoch: int, step: int, best_step: int, stop_reason: str
) -> History:
    """Return the record of a run that ended with the step given."""
    checks = np.array(log.checks, np.float64).reshape(-1, 4)
    losses = np.concatenate(log.losses) if log.losses else np.empty(0)
    return History(
        step=np.arange(len(losses)),
        train_loss=losses,
        check_step=checks[:, 0].astype(np.int64),
        val_loss=checks[:, 1].copy(),
        val_accuracy=checks[:, 2].copy(),
        train_accuracy=checks[:, 3].copy(),
        steps_per_epoch=descent.batches.steps_per_epoch,
        stopped_epoch=epoch,
        stopped_step=step,
        best_step=best_step,
        stop_reason=stop_reason,
        seconds=log.seconds,
    )
