"""The training loop of mini-batch gradient descent. The one module that knows all the others."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.advice import NotConvergedWarning, warn
from fastlin.errors import DivergenceError
from fastlin.kernels import Backend, Parameters, Samples, StepOptions
from fastlin.results.history import History
from fastlin.solvers.constant_model import draw_to_constant
from fastlin.solvers.cooling import at_rest, cooling_epochs, cooling_factors
from fastlin.solvers.diagnosis import how_to_scale
from fastlin.solvers.evaluation import mean_score
from fastlin.solvers.schedules import rates
from fastlin.solvers.stopping import Patience
from fastlin.solvers.stream import Seen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.rows.scaling import InputScale
    from fastlin.solvers.batches import Batches


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
        Mean over the rows of the epoch's steps so far, in nats.
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

    ``gain`` is ``(d,)``; see :mod:`fastlin.kernels.arguments`. A ``tol`` of 0 or
    None never stops. ``epochs_done`` and ``steps_done`` count those of earlier runs that this one
    continues; the schedule runs over ``horizon`` epochs, or ``max_epochs`` where that is None.
    ``before_epoch`` are called at the beginning of every epoch. ``unshifted`` is the scale of the
    training rows where these are shifted and the validation rows, in sparse form, are not. Where
    ``rate_is_measured``, the run may let it fall in the last epochs, see
    :func:`fastlin.solvers.cooling.at_rest`, and ends no worse than a constant model, see
    :mod:`fastlin.solvers.constant_model`.
    """

    backend: Backend
    samples: Samples
    validation: Samples | None
    batches: Batches
    learning_rate: float
    decay: float
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
    rate_is_measured: bool = False

    @property
    def how_to_scale(self) -> str:
        """What a message may say of scaling these rows, if they are not scaled already."""
        return how_to_scale(self.samples.rows, bool((self.gain != 1).any()))

    @property
    def cools(self) -> bool:
        """Whether the rate may fall at the end: it is fastlin's, and steps are noisy."""
        return self.rate_is_measured and self.batches.steps_per_epoch > 1

    def cools_at(self, epoch: int) -> bool:
        """Whether the rate may fall from this epoch to the last one."""
        return self.cools and epoch == self.max_epochs - self.n_cooling

    @property
    def n_cooling(self) -> int:
        """Number of epochs in which the rate may fall at the end."""
        return cooling_epochs(self.max_epochs)


@dataclass(frozen=True)
class Position:
    """Where a run stopped, and what another needs to go on from there.

    ``intercept (k,)`` is the one that was handed out, for unshifted rows.
    """

    parameters: Parameters
    epochs_done: int
    steps_done: int
    intercept: NDArray[Any] | None = None
    seen: Seen = field(default_factory=Seen)


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
        A step's loss was not finite, and early stopping has seen no model better than a constant.
    """
    started = time.perf_counter()
    log = Log()
    best_parameters, best_step = parameters, -1
    early = Patience(descent.patience)
    plateau = Patience(descent.patience, descent.tol or 0.0)
    stop_reason = "max_epochs"
    step, epoch = -1, -1
    means: list[float] = []
    cooling: tuple[int, int] | None = None

    for epoch in range(descent.max_epochs):
        if cooling is None and descent.cools_at(epoch) and at_rest(means, descent.n_cooling):
            cooling = epoch, descent.max_epochs
        for announce in descent.before_epoch:
            announce()
        # 1. The epoch's order of rows.
        order = descent.batches.order(generator)
        epoch_losses: list[NDArray[np.float64]] = []
        log.rows_of_epoch, log.seconds_of_epoch = 0, 0.0
        finished = ""
        for first, stop, check in descent.batches.runs(epoch, descent.validation is not None):
            # 2. Many steps in one call of the backend.
            try:
                losses = _run_steps(descent, parameters, order, epoch, first, stop, log, cooling)
            except DivergenceError as error:
                constant = np.log(max(len(parameters.weights), 2))  # a model that knows nothing
                if best_step < 0 or not early.best < constant:
                    raise
                step += len(log.losses[-1])
                finished = "divergence"
                warn(
                    f"{error}; returned are the weights of step {best_step}, whose validation loss "
                    f"was {early.best:.4g}",
                    NotConvergedWarning,
                )
                break
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
        if finished:
            stop_reason = finished
            break
        means.append(_mean_loss(descent.batches, epoch_losses))
        # 5. The training loss has stopped falling, at a height that a few quieter epochs lower.
        if cooling is None and descent.tol:
            plateau.improved(means[-1])
            if plateau.exhausted:
                stop_reason = "tol"
                if epoch + 1 == descent.max_epochs or not (
                    descent.cools and at_rest(means, descent.patience)
                ):
                    break
                cooling = epoch + 1, min(epoch + 1 + cooling_epochs(epoch + 1), descent.max_epochs)
        if cooling is not None and epoch + 1 == cooling[1]:
            break

    # 6. Early stopping returns the best check's parameters.
    if best_step >= 0:
        copy_parameters(best_parameters, parameters)
    if not all(np.isfinite(values).all() for values in parameters.to_return()):
        raise DivergenceError(
            f"the weights became nan or infinite at step {step} (epoch {epoch}), the last one, "
            f"with learning_rate={descent.learning_rate:g}; {_remedy(descent)}"
        )
    # 7. A step size that was not the user's choice answers for the end, unless that was chosen.
    was_told_to_stop = stop_reason in ("callback", "divergence")
    if descent.rate_is_measured and best_step < 0 and not was_told_to_stop:
        latest = means[-1] if len(means) > 1 else _last_quarter(descent.batches, log)
        draw_to_constant(descent, parameters, latest)
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
    cooling: tuple[int, int] | None = None,
) -> NDArray[np.float64]:
    batches = descent.batches
    first_step = epoch * batches.steps_per_epoch + first
    steps = np.arange(first_step, first_step + stop - first)
    epochs = steps / batches.steps_per_epoch
    learning_rates = rates(
        descent.schedule,
        descent.learning_rate,
        descent.epochs_done + epochs,
        descent.horizon or descent.max_epochs,
    )
    if cooling is not None:
        learning_rates = learning_rates * cooling_factors(epochs, *cooling)
    options = StepOptions(
        batch_size=batches.batch_size,
        learning_rates=learning_rates,
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
    for start, end, shared in _by_share(options, batches.shares(first, stop)):
        descent.backend.sgd_steps(
            descent.samples,
            rows[start * batches.batch_size : end * batches.batch_size],
            parameters,
            shared,
            losses[start:end],
            descent.n_threads,
        )
    seconds = time.perf_counter() - started
    log.seconds["steps"] += seconds
    log.seconds_of_epoch += seconds
    log.losses.append(losses)
    log.rows_of_epoch += len(rows)
    if not np.isfinite(losses).all():
        diverged = first_step + int(np.argmin(np.isfinite(losses)))
        log.losses[-1] = losses[: diverged - first_step]
        raise DivergenceError(
            f"the training loss became {losses[diverged - first_step]} at step {diverged} "
            f"(epoch {epoch}) with learning_rate={descent.learning_rate:g}; {_remedy(descent)}"
        )
    return losses


def _remedy(descent: Descent) -> str:
    """Return what may help a descent that diverged, leaving out what it already does."""
    rate = "lower learning_rate"
    if not descent.rate_is_measured:
        rate += " (or set it to 'auto')"
    return f"{rate}, or {descent.how_to_scale}"


def _by_share(
    options: StepOptions, shares: NDArray[np.float64]
) -> Iterator[tuple[int, int, StepOptions]]:
    """Yield runs of steps, with options that let each step make its share of a whole one.

    Without momentum that is a share of the rate. With momentum ``m`` a share ``s`` of a step lets
    the velocity fade by ``m**s`` and moves by ``s`` times it; so that in the end a gradient moves
    the weights by ``s`` times what it does in a whole step, ``1 / (1 - m)``, it is taken
    ``(1 - m**s) / (1 - m)`` times. More than a whole step is one with so much more of the gradient.
    """
    momentum = options.momentum
    if momentum == 0:
        yield 0, len(shares), replace(options, learning_rates=options.learning_rates * shares)
        return
    edges = [0, *(np.flatnonzero(np.diff(shares)) + 1).tolist(), len(shares)]
    for start, stop in itertools.pairwise(edges):
        share, averages = float(shares[start]), options.average_rates
        part = replace(
            options,
            learning_rates=options.learning_rates[start:stop] * min(share, 1.0),
            average_rates=None if averages is None else averages[start:stop],
        )
        if share != 1:
            taken = (1 - momentum**share) / (1 - momentum) if share < 1 else share
            part = replace(
                part,
                gain=options.gain * taken,
                decay=options.decay * taken,
                intercept_gain=options.intercept_gain * taken,
                momentum=momentum ** min(share, 1.0),
            )
        yield start, stop, part


@_quiet
def make_check(
    descent: Descent, model: tuple[NDArray[Any], NDArray[Any]], step: int, log: Log
) -> float:
    """Score weights and intercept on the validation and training rows; return the former's loss."""
    assert descent.validation is not None
    started = time.perf_counter()
    val_loss, val_accuracy = score_validation(descent, model)
    _, train_accuracy = mean_score(descent.backend, descent.samples, *model, descent.n_threads)
    log.checks.append((step, val_loss, val_accuracy, train_accuracy))
    log.seconds["checks"] += time.perf_counter() - started
    return val_loss


def _mean_loss(batches: Batches, epoch_losses: list[NDArray[np.float64]]) -> float:
    """Return the mean over the rows of an epoch's steps so far."""
    losses = np.concatenate(epoch_losses)
    rows = batches.rows_of_steps(0, len(losses))
    return float(losses.mean() if rows[0] == rows[-1] else np.average(losses, weights=rows))


def _last_quarter(batches: Batches, log: Log) -> float:
    """Return the mean loss of an epoch's latest steps: the first epoch's begin far away."""
    return float(np.concatenate(log.losses)[-batches.steps_per_epoch // 4 :].mean())


def score_validation(
    descent: Descent, model: tuple[NDArray[Any], NDArray[Any]]
) -> tuple[float, float]:
    """Return the mean loss and the accuracy on the validation rows."""
    assert descent.validation is not None
    weights, intercept = model
    if descent.unshifted is not None:
        intercept = descent.unshifted.raw_intercept(weights, intercept)
    return mean_score(descent.backend, descent.validation, weights, intercept, descent.n_threads)


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
        train_loss=_mean_loss(descent.batches, epoch_losses),
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
