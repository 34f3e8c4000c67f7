"""Mini-batch gradient descent: the loop over epochs, batches and checks."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fastlin.advice import NotConvergedWarning, warn
from fastlin.errors import DivergenceError
from fastlin.kernels import Parameters, StepOptions
from fastlin.results.history import History
from fastlin.solvers.batches import Batches
from fastlin.solvers.constant_model import draw_to_constant
from fastlin.solvers.cooling import at_rest, cooling_epochs, cooling_factors
from fastlin.solvers.problem import Problem
from fastlin.solvers.schedules import rates
from fastlin.solvers.state import copy_parameters
from fastlin.solvers.stopping import Patience
from fastlin.solvers.watching import Watch


@dataclass(frozen=True)
class Descent:
    """The options of gradient descent, which L-BFGS does not have.

    Attributes
    ----------
    batches : Batches
        The rows of each batch.
    learning_rate, intercept_gain : float
        Learning rate of a whole step, and the factor by which the intercept's differs from it.
    schedule : str
        How the rate changes, see :func:`fastlin.solvers.schedules.rates`.
    momentum : float
    nesterov, average : bool
        As in the estimator.
    epochs_done, steps_done : int
        Those of earlier runs that this one continues.
    horizon : int or None
        Epochs over which the schedule runs; None is ``max_epochs``.
    rate_is_measured : bool
        Whether the rate is automatic. Then the run may lower it in the last epochs, see
        :func:`fastlin.solvers.cooling.at_rest`, and ends no worse than a constant model, see
        :mod:`fastlin.solvers.constant_model`.
    """

    batches: Batches
    learning_rate: float
    intercept_gain: float = 1.0
    schedule: str = "constant"
    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False
    epochs_done: int = 0
    steps_done: int = 0
    horizon: int | None = None
    rate_is_measured: bool = False

    @property
    def cools(self) -> bool:
        """Whether the rate may fall at the end: it is automatic, and the steps are noisy."""
        return self.rate_is_measured and self.batches.steps_per_epoch > 1


def train(
    problem: Problem, descent: Descent, parameters: Parameters, generator: np.random.Generator
) -> History:
    """Run gradient descent until it stops; ``parameters`` then hold the weights to return.

    Raises
    ------
    DivergenceError
        A step's loss was not finite, and early stopping has no model better than a constant one.
    """
    return _Run(problem, descent, parameters, generator).run()


class _Run:
    """One run of gradient descent."""

    def __init__(
        self,
        problem: Problem,
        descent: Descent,
        parameters: Parameters,
        generator: np.random.Generator,
    ) -> None:
        self.problem, self.descent, self.batches = problem, descent, descent.batches
        self.parameters, self.generator = parameters, generator
        self.watch = Watch(problem)
        self.step = -1
        self.seconds_of_steps = 0.0
        # Mean loss of each epoch.
        self.means: list[float] = []
        # Parameters of the best check, if early stopping keeps them.
        self.best: Parameters | None = None
        self.best_step = -1
        # First epoch in which the rate falls, and the epoch at whose start it reaches 0.
        self.cooling: tuple[int, int] | None = None

    def run(self) -> History:
        problem = self.problem
        plateau = Patience(problem.patience, problem.tol or 0.0)
        stop_reason, epoch = "max_epochs", -1
        for epoch in range(problem.max_epochs):
            # 1. Decide whether the rate falls in the last epochs.
            n_cooling = cooling_epochs(problem.max_epochs)
            if self.cooling is None and self.descent.cools:
                is_late = epoch == problem.max_epochs - n_cooling
                if is_late and at_rest(self.means, n_cooling):
                    self.cooling = epoch, problem.max_epochs
            # 2. Run all steps and checks of an epoch.
            finished = self._run_epoch(epoch)
            if finished:
                stop_reason = finished
                break
            # 3. If the loss no longer falls, stop, or run a few epochs with a falling rate.
            if self.cooling is None and problem.tol:
                plateau.improved(self.means[-1])
                if plateau.exhausted:
                    stop_reason = "tol"
                    if not self._begins_to_cool_after(epoch):
                        break
            if self.cooling is not None and epoch + 1 == self.cooling[1]:
                break
        # 4. Choose the weights to return.
        if self.best is not None:
            copy_parameters(self.best, self.parameters)
        if not all(np.isfinite(values).all() for values in self.parameters.to_return()):
            raise DivergenceError(
                f"the weights became nan or infinite at step {self.step} (epoch {epoch}), the last "
                f"one, with learning_rate={self.descent.learning_rate:g}; {self._remedy()}"
            )
        # 5. If the step size was automatic, the result must not be worse than a constant model.
        was_told_to_stop = stop_reason in ("callback", "divergence")
        if self.descent.rate_is_measured and self.best is None and not was_told_to_stop:
            draw_to_constant(problem, self.parameters, self._latest_loss())
        return self.watch.history(
            seconds_of_steps=self.seconds_of_steps,
            steps_per_epoch=self.batches.steps_per_epoch,
            stopped_epoch=epoch,
            stopped_step=self.step,
            best_step=self.step if self.best is None else self.best_step,
            stop_reason=stop_reason,
        )

    def _run_epoch(self, epoch: int) -> str:
        """Run the steps and checks of an epoch; return the reason to stop, or an empty string."""
        watch = self.watch
        first_part, seconds_before = len(watch.losses), self.seconds_of_steps
        watch.begin_epoch()
        order = self.batches.order(self.generator)
        n_rows = 0
        for first, stop, check in self.batches.runs(epoch, self.problem.validation is not None):
            finished = ""
            # 1. Run the steps up to the next check in one call of the backend.
            rows = order[first * self.batches.batch_size : stop * self.batches.batch_size]
            try:
                self._run_steps(rows, epoch, first, stop)
            except DivergenceError as error:
                self._return_best(error)
                return "divergence"
            n_rows += len(rows)
            # 2. Check the model on the validation and training rows.
            if check:
                if watch.check(self.parameters.to_return(), self.step):
                    self.best, self.best_step = copy.deepcopy(self.parameters), self.step
                elif watch.early.exhausted:
                    finished = "early_stopping"
            # 3. Tell the callbacks, which may stop the run.
            end_of_epoch = stop == self.batches.steps_per_epoch
            if self.problem.callbacks and (check or end_of_epoch):
                seconds = max(self.seconds_of_steps - seconds_before, 1e-9)
                asked = watch.tell(
                    epoch=epoch,
                    step=self.step,
                    end_of_epoch=end_of_epoch,
                    train_loss=self._mean_loss(first_part),
                    rows_per_second=n_rows / seconds,
                )
                finished = finished or ("callback" if asked else "")
            if finished:
                return finished
        self.means.append(self._mean_loss(first_part))
        return ""

    # An overflow shows in the losses, so NumPy's kernels warn no more than the other backends'.
    @np.errstate(over="ignore", invalid="ignore")
    def _run_steps(self, rows: NDArray[np.int64], epoch: int, first: int, stop: int) -> None:
        """Run the steps ``first`` to ``stop - 1`` of an epoch on their ``rows``."""
        batches = self.batches
        first_step = epoch * batches.steps_per_epoch + first
        options = self._step_options(np.arange(first_step, first_step + stop - first))
        losses = np.empty(stop - first)
        started = time.perf_counter()
        for start, end, shared in _by_share(options, batches.shares(first, stop)):
            self.problem.backend.sgd_steps(
                self.problem.samples,
                rows[start * batches.batch_size : end * batches.batch_size],
                self.parameters,
                shared,
                losses[start:end],
                self.problem.n_threads,
            )
        self.seconds_of_steps += time.perf_counter() - started
        finite = np.isfinite(losses)
        n_finite = len(losses) if finite.all() else int(np.argmin(finite))
        self.watch.losses.append(losses[:n_finite])
        self.step += n_finite
        if n_finite < len(losses):
            raise DivergenceError(
                f"the training loss became {losses[n_finite]} at step {first_step + n_finite} "
                f"(epoch {epoch}) with learning_rate={self.descent.learning_rate:g}; "
                f"{self._remedy()}"
            )

    def _step_options(self, steps: NDArray[np.int64]) -> StepOptions:
        """Return the options of ``steps``, counted over all epochs of the run."""
        problem, descent = self.problem, self.descent
        epochs = steps / self.batches.steps_per_epoch
        learning_rates = rates(
            descent.schedule,
            descent.learning_rate,
            descent.epochs_done + epochs,
            descent.horizon or problem.max_epochs,
        )
        if self.cooling is not None:
            learning_rates = learning_rates * cooling_factors(epochs, *self.cooling)
        return StepOptions(
            batch_size=self.batches.batch_size,
            learning_rates=learning_rates,
            decay=problem.decay,
            gain=problem.gain,
            intercept_decay=problem.intercept_decay,
            intercept_gain=descent.intercept_gain if problem.fit_intercept else 0.0,
            momentum=descent.momentum,
            nesterov=descent.nesterov,
            # Later iterates weigh more: Lacoste-Julien et al., arXiv:1212.2002, equation 8.
            average_rates=2.0 / (descent.steps_done + steps + np.float64(2))
            if descent.average
            else None,
        )

    def _begins_to_cool_after(self, epoch: int) -> bool:
        """Let the rate fall in the next epochs, and return True; return False if it may not."""
        made, most = epoch + 1, self.problem.max_epochs
        if made == most or not (self.descent.cools and at_rest(self.means, self.problem.patience)):
            return False
        self.cooling = made, min(made + cooling_epochs(made), most)
        return True

    def _return_best(self, error: DivergenceError) -> None:
        """Warn that the best check's weights are returned; raise unless they are of some use."""
        loss = self.watch.early.best
        knows_nothing = np.log(max(len(self.parameters.weights), 2))
        if self.best is None or not loss < knows_nothing:
            raise error
        warn(
            f"{error}; the weights of step {self.best_step}, with validation loss {loss:.4g}, are "
            "returned",
            NotConvergedWarning,
        )

    def _mean_loss(self, first_part: int) -> float:
        """Return the mean loss over the rows of an epoch's steps so far."""
        losses = np.concatenate(self.watch.losses[first_part:])
        rows = self.batches.rows_of_steps(0, len(losses))
        return float(losses.mean() if rows[0] == rows[-1] else np.average(losses, weights=rows))

    def _latest_loss(self) -> float:
        """Return the mean loss of the latest epoch, or of the last quarter of the first epoch."""
        if len(self.means) > 1:
            return self.means[-1]
        quarter = np.concatenate(self.watch.losses)[-self.batches.steps_per_epoch // 4 :]
        return float(quarter.mean())

    def _remedy(self) -> str:
        """Return advice against divergence, without what the run does already."""
        rate = "lower learning_rate"
        if not self.descent.rate_is_measured:
            rate += " (or set it to 'auto')"
        return f"{rate}, or {self.problem.how_to_scale}"


def _by_share(
    options: StepOptions, shares: NDArray[np.float64]
) -> Iterator[tuple[int, int, StepOptions]]:
    """Yield runs of steps, with options that make each step its fraction of a whole one.

    Without momentum, the fraction multiplies the rate. With momentum ``m``, a fraction ``s`` of a
    step multiplies the velocity by ``m**s`` and moves the weights by ``s`` times it. The gradient
    is multiplied by ``(1 - m**s) / (1 - m)``, so that in the end it moves the weights by ``s``
    times the ``1 / (1 - m)`` of a whole step. If ``s > 1``, only the gradient is multiplied, by
    ``s``.
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
