"""Mini-batch gradient descent: the loop over epochs, batches and checks."""

from __future__ import annotations

import copy
import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.advice import NotConvergedWarning, warn
from fastlin.errors import DivergenceError
from fastlin.kernels import Parameters, Samples, StepOptions
from fastlin.results.history import History
from fastlin.results.snapshot import Snapshot, prefixed, without_prefix, written_at_the_end
from fastlin.solvers.batches import Batches
from fastlin.solvers.constant_model import draw_to_constant
from fastlin.solvers.cooling import at_rest, cooling_epochs, cooling_factors
from fastlin.solvers.problem import Problem
from fastlin.solvers.schedules import rates
from fastlin.solvers.state import copy_parameters
from fastlin.solvers.stopping import Patience
from fastlin.solvers.watching import Watch

NUMBERS = (
    *("epoch", "position", "step", "best_step", "cooling", "seconds_of_steps"),
    *("ended", "stop_reason"),
)
"""What a snapshot of a run holds under the names of its attributes."""


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


@dataclass(frozen=True)
class _Window:
    """Steps ``first`` to ``stop - 1`` of an epoch, and their rows in ``samples``."""

    samples: Samples
    order: NDArray[np.int64]
    first: int
    stop: int


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
        self.watch = Watch(problem, self.batches.steps_per_epoch)
        self.plateau = Patience(problem.patience, problem.tol or 0.0)
        # The present epoch, and its next step; the generator's state before it drew the order.
        self.epoch, self.position = 0, 0
        self.before_order = generator.bit_generator.state
        self.started_at = 0  # the step at which this process began the epoch
        self.ended, self.stop_reason = False, "max_epochs"
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
        problem, recorder = self.problem, self.problem.recorder
        if recorder is not None and recorder.found is not None:
            self._restore(*recorder.found)
        with written_at_the_end(recorder):
            while not self.ended:
                # 1. Decide whether the rate falls in the last epochs.
                self._cool_if_late()
                # 2. Run all steps and checks of an epoch.
                finished = self._run_epoch()
                # 3. Decide whether it was the last one.
                self._end_epoch(finished)
                self._take_snapshot()
        # 4. Choose the weights to return.
        if self.best is not None:
            copy_parameters(self.best, self.parameters)
        if not all(np.isfinite(values).all() for values in self.parameters.to_return()):
            raise DivergenceError(
                f"the weights became nan or infinite at step {self.step} (epoch {self.epoch}), the "
                f"last one, with learning_rate={self.descent.learning_rate:g}; {self._remedy()}"
            )
        # 5. If the step size was automatic, the result must not be worse than a constant model.
        was_told_to_stop = self.stop_reason in ("callback", "divergence")
        if self.descent.rate_is_measured and self.best is None and not was_told_to_stop:
            draw_to_constant(problem, self.parameters, self._latest_loss())
        return self.watch.history(
            seconds_of_steps=self.seconds_of_steps,
            stopped_epoch=self.epoch,
            stopped_step=self.step,
            best_step=self.step if self.best is None else self.best_step,
            stop_reason=self.stop_reason,
        )

    def _cool_if_late(self) -> None:
        """Let the rate fall if this is the first of the last epochs, and the loss is at rest."""
        most = self.problem.max_epochs
        n_cooling = cooling_epochs(most)
        is_late = self.position == 0 and self.epoch == most - n_cooling
        may_cool = self.cooling is None and self.descent.cools
        if may_cool and is_late and at_rest(self.means, n_cooling):
            self.cooling = self.epoch, most

    def _end_epoch(self, finished: str) -> None:
        """Stop if there is a reason to, or go on to the next epoch."""
        if finished:
            self.stop_reason, self.ended = finished, True
            return
        # If the loss no longer falls, stop, or run a few epochs with a falling rate.
        if self.cooling is None and self.problem.tol:
            self.plateau.improved(self.means[-1])
            if self.plateau.exhausted:
                self.stop_reason = "tol"
                self.ended = not self._begins_to_cool_after(self.epoch)
        has_cooled = self.cooling is not None and self.epoch + 1 == self.cooling[1]
        if self.ended or has_cooled or self.epoch + 1 == self.problem.max_epochs:
            self.ended = True
            return
        self.epoch, self.position = self.epoch + 1, 0
        self.before_order = self.generator.bit_generator.state

    def _run_epoch(self) -> str:
        """Run the steps and checks of an epoch; return the reason to stop, or an empty string."""
        watch = self.watch
        seconds_before, self.started_at = self.seconds_of_steps, self.position
        if self.position == 0:
            watch.begin_epoch()
        else:
            watch.announce_epoch()
        position = 0
        for order, after in self.batches.windows(self.generator):
            start, position = position, position + -(-len(order) // self.batches.batch_size)
            if position <= self.position:  # its steps were made before an interruption
                continue
            samples, order = self.problem.samples.near(order)
            for block in after:
                self.problem.samples.rows.prefetch(*block)
            finished = self._run_window(_Window(samples, order, start, position), seconds_before)
            if finished:
                return finished
        self.means.append(self._mean_loss())
        return ""

    def _run_window(self, window: _Window, seconds_before: float) -> str:
        """Run some steps of an epoch, and the checks among them; return a reason to stop."""
        watch, epoch, batches = self.watch, self.epoch, self.batches
        with_checks = self.problem.validation is not None
        for first, stop, check in batches.runs(epoch, with_checks, window.first, window.stop):
            if first < self.position:
                continue
            finished = ""
            # 1. Run the steps up to the next check in one call of the backend.
            try:
                self._run_steps(window, epoch, first, stop)
            except DivergenceError as error:
                self._return_best(error)
                return "divergence"
            # 2. Check the model on the validation and training rows.
            if check:
                if watch.check(self.parameters.to_return(), self.step):
                    self.best, self.best_step = copy.deepcopy(self.parameters), self.step
                elif watch.early.exhausted:
                    finished = "early_stopping"
            # 3. Tell the callbacks, which may stop the run.
            end_of_epoch = stop == batches.steps_per_epoch
            if self.problem.callbacks:
                seconds = max(self.seconds_of_steps - seconds_before, 1e-9)
                n_rows = int(batches.rows_of_steps(self.started_at, stop).sum())
                asked = watch.tell(
                    is_between=not (check or end_of_epoch),
                    share_of_epoch=stop / batches.steps_per_epoch,
                    epoch=epoch,
                    step=self.step,
                    end_of_epoch=end_of_epoch,
                    train_loss=self._mean_loss(),
                    rows_per_second=n_rows / seconds,
                )
                finished = finished or ("callback" if asked else "")
            if finished:
                return finished
            # 4. Between two runs, an interrupted process may go on from here.
            if not end_of_epoch:
                self.position = stop
                self._take_snapshot()
        return ""

    # An overflow shows in the losses, so NumPy's kernels warn no more than the other backends'.
    @np.errstate(over="ignore", invalid="ignore")
    def _run_steps(self, window: _Window, epoch: int, first: int, stop: int) -> None:
        """Run the steps ``first`` to ``stop - 1`` of an epoch, which are in a window."""
        batches = self.batches
        start, end = (step - window.first for step in (first, stop))
        rows = window.order[start * batches.batch_size : end * batches.batch_size]
        first_step = epoch * batches.steps_per_epoch + first
        options = self._step_options(np.arange(first_step, first_step + stop - first))
        losses = np.empty(stop - first)
        started = time.perf_counter()
        for start, end, shared in _by_share(options, batches.shares(first, stop)):
            self.problem.backend.sgd_steps(
                window.samples,
                rows[start * batches.batch_size : end * batches.batch_size],
                self.parameters,
                shared,
                losses[start:end],
                self.problem.n_threads,
            )
        self.seconds_of_steps += time.perf_counter() - started
        finite = np.isfinite(losses)
        n_finite = len(losses) if finite.all() else int(np.argmin(finite))
        self.watch.losses.add(losses[:n_finite])
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

    def _mean_loss(self) -> float:
        """Return the mean loss over the rows of an epoch's steps so far."""
        losses = self.watch.losses.of_epoch()
        rows = self.batches.rows_of_steps(0, len(losses))
        return float(losses.mean() if rows[0] == rows[-1] else np.average(losses, weights=rows))

    def _latest_loss(self) -> float:
        """Return the mean loss of the latest epoch, or of the last quarter of the first epoch."""
        if len(self.means) > 1:
            return self.means[-1]
        quarter = self.watch.losses.of_epoch()[-self.batches.steps_per_epoch // 4 :]
        return float(quarter.mean())

    def _remedy(self) -> str:
        """Return advice against divergence, without what the run does already."""
        rate = "lower learning_rate"
        if not self.descent.rate_is_measured:
            rate += " (or set it to 'auto')"
        return f"{rate}, or {self.problem.how_to_scale}"

    def _take_snapshot(self) -> None:
        """Hand out the state of the run, if somebody keeps it."""
        recorder = self.problem.recorder
        if recorder is None:
            return
        arrays, numbers = self.watch.to_plain()
        now = copy.deepcopy(self.parameters)
        best = {} if self.best is None else vars(self.best)
        recorder.take(
            Snapshot(
                {
                    **arrays,
                    **prefixed("now_", vars(now)),
                    **prefixed("best_", best),
                    "means": np.array(self.means),
                },
                {
                    **numbers,
                    "before_order": self.before_order,
                    "plateau": [self.plateau.best, self.plateau.without_improvement],
                    **{name: getattr(self, name) for name in NUMBERS},
                },
                (self.best or now).to_return(),
            )
        )

    def _restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Continue from a snapshot that the same run took in another process."""
        self.watch.restore(arrays, numbers)
        copy_parameters(Parameters(**without_prefix("now_", arrays)), self.parameters)
        if best := without_prefix("best_", arrays):
            self.best = Parameters(**best)
        self.means = arrays["means"].tolist()
        self.before_order = numbers["before_order"]
        self.generator.bit_generator.state = self.before_order
        self.plateau.best, self.plateau.without_improvement = numbers["plateau"]
        for name in NUMBERS:
            setattr(self, name, numbers[name])
        if self.cooling is not None:
            self.cooling = self.cooling[0], self.cooling[1]


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
