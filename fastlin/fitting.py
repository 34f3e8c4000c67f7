"""Turns options and arrays into a problem, solves it, and returns what was learned as a state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.callbacks import FitTasks
from fastlin.kernels import Backend, Parameters, Samples
from fastlin.kernels.reference import predicted
from fastlin.parameter_checks import require_penalty
from fastlin.results.history import History
from fastlin.rows.binding import encode_labels, make_samples, weight_type
from fastlin.rows.interface import Rows
from fastlin.rows.passes import passes
from fastlin.rows.row_weights import counted_rows
from fastlin.rows.scaling import InputScale
from fastlin.rows.validation import require_representable
from fastlin.solvers.batches import Batches
from fastlin.solvers.continuing import (
    RATE_DEPENDS_ON,
    begin_from,
    go_on_from,
    present_model,
    remembered,
    unchanged,
)
from fastlin.solvers.diagnosis import look_at_descent, look_at_order, tell_of_separation
from fastlin.solvers.full_pass import Kernels
from fastlin.solvers.lbfgs import minimize
from fastlin.solvers.prediction import logits
from fastlin.solvers.problem import Problem
from fastlin.solvers.progress import Callback
from fastlin.solvers.schedules import StepSize, safe_step_size
from fastlin.solvers.sgd import Descent, train
from fastlin.solvers.state import State, new_parameters
from fastlin.solvers.stream import BATCHES_OF_A_WHOLE
from fastlin.solvers.windows import Plan
from fastlin.training_set import Options, TrainingSet

if TYPE_CHECKING:
    from fastlin.results.checkpoint import Checkpoint

LEAST_ROWS_LOOKED_AT, MOST_ROWS_LOOKED_AT = 256, 65536
"""Rows of the first and of the largest block in which a wrong row is looked for."""


PRODUCTS_AT_ONCE = 2**37
"""Multiply-adds of the steps between two times that a run can be kept."""


@dataclass(frozen=True)
class Learned:
    """The result of a run.

    ``saw_all`` says whether every row has had a finite loss, so that none holds nan or infinity,
    except maybe the few rows ``unseen``.
    """

    state: State
    history: History
    backend: str
    learning_rate: float
    saw_all: bool = False
    unseen: NDArray[np.int64] | None = None

    def are_finite(self, rows: Rows) -> bool:
        """Whether it is known that no row holds nan or infinity."""
        if rows.dtype.kind != "f":
            return True
        if not self.saw_all or self.unseen is None:
            return self.saw_all
        return bool(np.isfinite(rows.part(self.unseen).largest()).all())


@dataclass(frozen=True)
class Start:
    """A problem, and the parameters at which a solver starts.

    ``is_resumed`` says whether they are those at which an earlier run stopped; ``keeps_scale``,
    whether the inputs are scaled as they were then.
    """

    problem: Problem
    parameters: Parameters
    is_resumed: bool = False
    keeps_scale: bool = False


def prepare(
    options: Options, backend: Backend, data: TrainingSet, before: State | None = None
) -> Start:
    """Turn options and arrays into a problem that starts at zero or at an earlier state."""
    rows, n_features = data.rows, data.rows.shape[1]
    dtype = weight_type(rows, options.dtype)
    if before is not None and before.trained_with.get("weights") == "float64":
        # A float64 model must not be rounded by one block of float32 rows.
        dtype = np.dtype(np.float64) if options.dtype == "auto" else dtype
    require_penalty(options.l2, dtype)
    scale = _scale(options, data, dtype, before)
    samples = make_samples(
        rows,
        encode_labels(data.labels, data.classes),
        scale,
        dtype,
        data.weights,
        of_counted=options.descends,
    )
    n_models = 1 if len(data.classes) == 2 else len(data.classes)
    # L-BFGS has neither velocities nor averages.
    extras = (options.momentum, options.average) if options.descends else (0.0, False)
    parameters = new_parameters(n_models, n_features, dtype, *extras)
    keeps_scale = before is not None and scale is before.scale
    is_resumed = False
    if before is not None:
        model = present_model(before, n_models, n_features)
        same = keeps_scale and unchanged(options, before.trained_with, "average", "fit_intercept")
        is_resumed = same and go_on_from(parameters, before)
        if not is_resumed:
            begin_from(parameters, model, scale, options.fit_intercept)
    validation, is_shifted = _validation_samples(data, scale, dtype)
    problem = Problem(
        backend=backend,
        samples=samples,
        scale=scale,
        dtype=dtype,
        n_models=n_models,
        l2=options.l2,
        fit_intercept=options.fit_intercept,
        regularize_intercept=options.regularize_intercept,
        validation=validation,
        validation_is_shifted=is_shifted,
        max_epochs=options.max_epochs,
        tol=options.tol,
        patience=options.patience,
        early_stopping=options.early_stopping,
        n_threads=options.threads(backend),
        callbacks=options.all_callbacks,
    )
    return Start(problem, parameters, is_resumed, keeps_scale)


def learn(
    options: Options,
    backend: Backend,
    data: TrainingSet,
    before: State | None,
    generator: np.random.Generator,
    *,
    is_part: bool = False,
    tasks_of: Callable[[Callable[[], State]], FitTasks] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Learned:
    """Train on data, from zero or from an earlier state.

    Parameters
    ----------
    options : Options
    backend : Backend
    data : TrainingSet
    before : State or None
        Where training starts; its arrays are not written to.
    generator : numpy.random.Generator
        Draws the orders of the rows.
    is_part : bool
        Whether the rows are one block of a stream, which gets one epoch.
    tasks_of : callable or None
        Returns the tasks that scikit-learn's callbacks are told about; its argument is a function
        that returns the state if the run stopped now.
    checkpoint : Checkpoint or None
        Where the run is kept, and goes on from.
    """
    start = prepare(options, backend, data, before)
    problem, parameters, tasks = start.problem, start.parameters, None
    if checkpoint is not None:
        checkpoint.scale = problem.scale
        problem = replace(problem, recorder=checkpoint)

    def now() -> State:
        weights, intercept = parameters.to_return()
        raw = problem.scale.learned_intercept(weights, intercept)
        return State(weights, raw, problem.scale)

    if tasks_of is not None:
        tasks = tasks_of(now)
        callbacks: list[Callback] = [*problem.callbacks, tasks]
        problem = replace(problem, callbacks=callbacks, before_epoch=[tasks.begin_epoch])
    if options.descends:
        start = replace(start, problem=problem)
        learned = _descend(options, data, start, before or State(), generator, is_part)
    else:
        history = minimize(problem, parameters)
        learned = solved(options, problem, parameters, history)
        learned = replace(learned, saw_all=counted_rows(data.weights) is None)
    if tasks is not None:
        tasks.end()
    return learned


def solved(options: Options, problem: Problem, parameters: Parameters, history: History) -> Learned:
    """Return the result of L-BFGS, which has changed ``parameters``."""
    weights, intercept = parameters.weights, parameters.intercept
    state = State(
        weights,
        problem.scale.learned_intercept(weights, intercept),
        problem.scale,
        trained_with=_trained_with(options, problem),
    )
    rate = np.nan if options.learning_rate == "auto" else options.learning_rate
    return Learned(state, history, problem.backend.name, rate)


def _descend(
    options: Options,
    data: TrainingSet,
    start: Start,
    before: State,
    generator: np.random.Generator,
    is_part: bool,
) -> Learned:
    """Train by gradient descent."""
    problem = start.problem
    counted = counted_rows(data.weights)
    n_counted = len(data.rows) if counted is None else len(counted)
    measures = options.learning_rate == "auto"
    may_keep = start.keeps_scale and unchanged(options, before.trained_with, *RATE_DEPENDS_ON)
    seen = before.seen.with_block(n_counted, data.weights)
    full_batch = seen.full_batch(options.batch_size)
    step_size = StepSize(options.learning_rate, 1.0)
    if measures:
        step_size, seen = seen.measured(
            before.step_size if may_keep else None,
            full_batch,
            n_counted,
            lambda: safe_step_size(
                problem.samples,
                problem.scale,
                problem.n_models,
                options.batch_size,
                problem.l2,
                problem.fit_intercept,
                problem.dtype,
                options.momentum,
                problem.intercept_decay,
                in_stream=is_part and n_counted < BATCHES_OF_A_WHOLE * full_batch,
            ),
        )
    # If it is not resumed, an average starts anew, but the schedule continues.
    steps_done = before.steps_done if start.is_resumed else 0
    descent = Descent(
        batches=Batches(
            n_counted,
            options.batch_size,
            options.drop_last,
            options.shuffle,
            options.checks_per_epoch,
            full_batch,
            seen.row_weight(before.seen),
            counted,
            Plan.of(data.rows),
            _most_steps(problem, options.batch_size),
        ),
        learning_rate=step_size.learning_rate,
        intercept_gain=step_size.intercept_gain,
        schedule=options.schedule,
        momentum=options.momentum,
        nesterov=options.nesterov,
        average=options.average,
        epochs_done=before.epochs_done,
        steps_done=steps_done,
        horizon=options.max_epochs,
        rate_is_measured=measures and not is_part,
    )
    if descent.batches.plan is not None and options.shuffle:
        look_at_order(descent.batches.plan, problem.samples.labels, problem.n_models)
    unseen = None
    looks_at_rest = options.drop_last and data.rows.dtype.kind == "f"
    if looks_at_rest and descent.batches.plan is None and not is_part:
        every_row = replace(descent.batches, drop_last=False).order(copy.deepcopy(generator))
        unseen = every_row[descent.batches.steps_per_epoch * options.batch_size :]
    if is_part:
        problem = replace(problem, max_epochs=1)
    history = train(problem, descent, start.parameters, generator)
    epochs = history.stopped_epoch + 1
    state = State.reached(
        start.parameters,
        problem.scale,
        epochs_done=before.epochs_done + epochs,
        steps_done=steps_done + history.stopped_step + 1,
        seen=replace(seen, epochs=seen.epochs + epochs),
        step_size=step_size if measures else None,
        trained_with=_trained_with(options, problem),
    )
    saw_all = (
        counted is None
        and (not options.drop_last or unseen is not None)
        and history.stopped_step + 1 >= history.steps_per_epoch
        and history.stop_reason != "divergence"
    )
    rate = step_size.learning_rate
    return Learned(state, history, problem.backend.name, rate, saw_all, unseen)


def _most_steps(problem: Problem, batch_size: int) -> int:
    """Return after how many steps, some seconds at most, a run looks up."""
    products = problem.samples.rows.products_of_a_row * problem.n_models
    return max(1, int(PRODUCTS_AT_ONCE / max(products * batch_size, 1)))


def tell_what_was_seen(
    options: Options, backend: Backend, data: TrainingSet, learned: Learned
) -> None:
    """Warn if a hyperplane separates the rows, or if gradient descent has not converged."""
    if options.l2 == 0 and _separates(options, backend, data, learned.state):
        tell_of_separation(len(data.labels))
    elif options.descends:
        scales = data.rows.can_be_shifted and options.input_scale is None
        how = options.tol, options.patience, options.momentum, scales
        look_at_descent(learned.history, *how)


def _scale(
    options: Options, data: TrainingSet, dtype: np.dtype[Any], before: State | None
) -> InputScale:
    """Return the inputs' scale: the earlier one if the options that determine it are the same."""
    # Sparse rows cannot be shifted, and unless the intercept is free, shifting the features changes
    # the model.
    rows = data.rows
    may_centre = options.may_centre and rows.can_be_shifted
    before = before or State()
    if before.scale is not None and unchanged(options, before.trained_with, "input_scale"):
        return before.scale if may_centre else before.scale.uncentred()
    scale = InputScale.from_option(options.input_scale, rows, data.weights)
    if may_centre:
        centred = scale.centred(rows, data.weights)
        # L-BFGS needs centred features only if they would otherwise lose digits.
        if options.descends or centred.loses_digits(rows, dtype, data.weights):
            return centred
    return scale


def _validation_samples(
    data: TrainingSet, scale: InputScale, dtype: np.dtype[Any]
) -> tuple[Samples | None, bool]:
    """Return the validation rows, if any, and whether they are shifted like the training rows."""
    if data.validation is None:
        return None, True
    rows, labels, weights = data.validation
    index = encode_labels(labels, data.classes, "y_val")
    require_representable(rows, dtype)
    if not rows.can_be_shifted:
        return Samples(rows.for_weights(dtype), index, weights), not scale.has_shift
    return make_samples(rows, index, scale, dtype, weights), True


def _trained_with(options: Options, problem: Problem) -> dict[str, Any]:
    return {**remembered(options), "weights": problem.dtype.name}


def _separates(options: Options, backend: Backend, data: TrainingSet, state: State) -> bool:
    """Whether a model classifies every row of positive weight correctly.

    Most models are wrong about one of the first rows, so reading begins with a small block, and
    ends with the first block that holds a wrong row.
    """
    assert state.scale is not None, "it was trained"
    samples = Samples(data.rows, encode_labels(data.labels, data.classes), data.weights)
    kernels = Kernels(backend, options.threads(backend))
    found = passes(samples, state.coef.dtype, as_stored=True).map(
        all_right_of, kernels, state.coef, state.intercept, state.scale
    )
    return all(found)


def all_right_of(
    block: Samples,
    kernels: Kernels,
    weights: NDArray[Any],
    intercept: NDArray[Any],
    scale: InputScale,
) -> bool:
    """Whether a model is right about one block's rows of positive weight: a step."""
    backend, n_threads, cancels = kernels.backend, kernels.n_threads, scale.cancels(weights)
    first, size = 0, LEAST_ROWS_LOOKED_AT
    while first < len(block.rows):
        some = block.part(slice(first, first + size))
        if cancels:
            z = logits(backend, some.rows, weights, intercept, scale, n_threads)
        else:
            rows = Samples(some.rows.for_weights(weights.dtype))
            z = backend.logits(rows, weights, intercept, n_threads)
        wrong = predicted(z) != some.labels
        if some.sample_weight is not None:
            wrong &= some.sample_weight > 0
        if wrong.any():
            return False
        first, size = first + size, min(2 * size, MOST_ROWS_LOOKED_AT)
    return True
