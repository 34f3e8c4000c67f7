"""What is wrong with the fit of a random problem, compared with an independent optimum.

The problem is one of ``random_problems``, the optimum that of ``optimum``.

=================  =================================================================================
kind               what is wrong
=================  =================================================================================
exception          another error than a FastlinError, or a message of more than one line or 300
                   characters
refused            an InputError, but for early stopping, which may lack rows to validate with
diverged           a DivergenceError: every step is an automatic one
not finite         a weight, an intercept, a probability or a recorded loss
stray warning      a warning that is not fastlin's own
tol                L-BFGS says ``"tol"`` and is above the optimum by more than :data:`FACTOR` times
                   that share of it, or :data:`ESTIMATED` times with very many weights
unsaid             L-BFGS ends for another reason, as far from the optimum, and gives no warning;
                   the objective is more than the rounding of its losses
gap                the certificate is less than the distance from the optimum
objective          the history's last objective is not that of the model
worse than start   gradient descent's objective is above that of the model of zeros
constant           it is above that of the best constant model, by more than :data:`JITTER` of it,
                   though ``tol`` was to end the training, and no warning says that it is not over
prediction         logits, probabilities or labels are not those of the model
validation         the best check's loss is not that of the model, or not the least
unproved           the oracle failed: it cannot tell its optimum from others to the digits needed
=================  =================================================================================

All distances are computed in long doubles and forgiven what rounding the model to the type of its
weights explains: half an epsilon of each product of weight and feature, see :func:`rounding`.
"""

from __future__ import annotations

import time
import traceback
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optimum import Long, Objective, Optimum, all_logits, log_probabilities, optimum_of
from random_problems import Data, Problem, data_of, dense
from threadpoolctl import threadpool_limits
from tolerances import EPSILON, of_sum

FACTOR = 10
"""Times ``tol`` that an objective may be above the optimum if L-BFGS says ``"tol"``."""

CERTIFIED, ESTIMATED = 512, 1000
"""Up to so many weights, and beyond them the factor: there ``"tol"`` may rest on an estimate."""

ROUNDING = 32
"""Epsilons of a mean loss: each row's is a difference of larger numbers."""

JITTER = 0.01
"""Fraction of a constant model's objective by which noisy steps may end above it."""


class Judge:
    """One problem, its fit, and what is wrong with it."""

    def __init__(self, problem: Problem) -> None:
        self.problem, self.data = problem, data_of(problem)
        self.faults: list[tuple[str, str]] = []
        self.facts: dict[str, Any] = {}

    def fault(self, kind: str, detail: str) -> None:
        self.faults.append((kind, detail))

    def judge(self) -> None:
        """Fit and look at everything."""
        model = self._fit()
        if model is None:
            return
        self.facts["type"] = model.coef_.dtype.name
        self.facts["stop"] = model.history_.stop_reason
        history = model.history_
        learned = [model.coef_, model.intercept_, history.train_loss, history.objective]
        learned += [history.gap, history.val_loss]
        if not all(np.isfinite(array).all() for array in learned):
            self.fault("not finite", "weights, intercepts or history")
            return
        self._look_at_predictions(model)
        if self.problem.early != "no":
            self._look_at_validation(model)
        if self.problem.early != "split":  # which rows were left is the library's own affair
            self._look_at_objective(model)

    def _fit(self) -> Any:
        from fastlin import LogisticRegression
        from fastlin.advice import FastlinWarning, NotConvergedWarning, SeparableWarning
        from fastlin.errors import DivergenceError, FastlinError, InputError

        p, data = self.problem, self.data
        options = {"batch_size": p.batch, "momentum": p.momentum, "nesterov": p.nesterov}
        options |= {"average": p.average, "drop_last": p.drop_last, "schedule": p.schedule}
        model = LogisticRegression(
            solver=p.solver, backend=p.backend, l2=p.l2, tol=p.tol, max_epochs=p.epochs,
            early_stopping=p.early != "no", fit_intercept=p.intercept != "none",
            regularize_intercept=p.intercept == "penalised", input_scale=data.input_scale,
            class_weight=data.class_weight, random_state=p.seed, n_threads=p.threads,
            dtype=p.dtype, **options,
        )  # fmt: skip
        validation = (data.val_rows, data.val_labels) if p.early == "given" else (None, None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                model.fit(data.rows, data.labels, data.weight, *validation)
            except Exception as error:
                message = f"{type(error).__name__}: {error}"
                where = traceback.extract_tb(error.__traceback__)[-1]
                if not isinstance(error, FastlinError):
                    self.fault("exception", f"{message} ({where.filename}:{where.lineno})")
                elif "\n" in message or len(str(error)) > 300:
                    self.fault("exception", f"{len(str(error))} characters: {message}")
                elif isinstance(error, DivergenceError):
                    self.fault("diverged", message)
                elif not isinstance(error, InputError) or p.early == "no":
                    self.fault("refused", message)
                self.facts["stop"] = "refused"
                return None
        for warning in caught:
            of_sklearn = str(warning.message).startswith("The number of unique classes is greater")
            if not (of_sklearn or issubclass(warning.category, FastlinWarning)):
                name = warning.category.__name__
                self.fault("stray warning", f"{name}: {warning.message} ({warning.filename})")
        self.facts["warned"] = [
            warning.category.__name__
            for warning in caught
            if issubclass(warning.category, NotConvergedWarning | SeparableWarning)
        ]
        return model

    # ------------------------------------------------------------------ predictions

    def _look_at_predictions(self, model: Any) -> None:
        shift: Any = 0
        if model.intercept_.dtype != model.coef_.dtype:
            # Rows are shifted before they are multiplied, because the intercept would lose digits.
            shift = np.abs(np.asarray(objective_of(self.problem, self.data).shift, float))
        for rows in (self.data.rows, self.data.val_rows):
            values = dense(rows)
            coef, intercept = model.coef_.astype(Long), model.intercept_.astype(Long)
            right = values.astype(Long) @ coef.T + intercept
            size = (np.abs(values) + shift) @ np.abs(coef.T) + np.abs(intercept)
            allowed = 2 * of_sum(model.coef_.dtype.name, values.shape[1] + 1, size)
            decisions = model.decision_function(rows)
            got = decisions[:, np.newaxis] if decisions.ndim == 1 else decisions
            self._within("prediction", "logits", np.abs(got - right), allowed)
            right, allowed = all_logits(right), all_logits(allowed).max(axis=1, keepdims=True)
            likely = np.exp(log_probabilities(right))
            rounding = 8 * EPSILON[model.coef_.dtype.name] * (1 + np.abs(right).max())
            found = model.predict_proba(rows)
            self._within(
                "prediction", "probabilities", np.abs(found - likely), 2 * allowed + rounding
            )
            best = np.sort(right, axis=1)
            decided = best[:, -1] - best[:, -2] > 2 * allowed[:, 0]
            expected = model.classes_[right.argmax(axis=1)]
            n_wrong = int((model.predict(rows) != expected)[decided].sum())
            if n_wrong:
                self.fault("prediction", f"{n_wrong} of {len(expected)} labels")

    def _within(self, kind: str, what: str, distance: Any, allowed: Any) -> None:
        # Negated, so that nan counts as a fault.
        if not np.all(distance <= allowed):
            worst = float(np.max(distance / np.maximum(allowed, 1e-300)))
            self.fault(kind, f"{what} are off by {worst:.2g} times what is allowed")

    def _look_at_validation(self, model: Any) -> None:
        """The model that early stopping returns is that of the best check."""
        history = model.history_
        if not len(history.val_loss):
            return
        at_best = history.val_loss[history.check_step == history.best_step]
        if not len(at_best) or at_best[0] > history.val_loss.min():
            self.fault("validation", "the model is not that of the least loss")
            return
        if self.problem.early == "given":
            labels = self.data.val_labels
            weight = class_factors(self.problem, self.data)[labels]
            rows = dense(self.data.val_rows)
            objective = Objective(rows, labels, self.problem.k, 0.0, weight=weight)
            losses = objective.losses(model.coef_, model.intercept_)
            shares = objective.shares()
            allowed = rounding(objective, model, shares, losses)
            allowed += ROUNDING * EPSILON[model.coef_.dtype.name]
            distance = abs(float(shares @ losses) - at_best[0])
            if not distance <= allowed:
                self.fault(
                    "validation", f"the loss is off by {distance:.2g}, {allowed:.2g} allowed"
                )

    # ------------------------------------------------------------------ the objective

    def _look_at_objective(self, model: Any) -> None:
        p = self.problem
        objective = objective_of(p, self.data)
        with threadpool_limits(1, user_api="blas"):  # small matrices, beside other processes
            best = optimum_of(objective)
        reached = objective.of_model(model.coef_, model.intercept_)
        losses = objective.losses(model.coef_, model.intercept_)
        blur = rounding(objective, model, objective.shares(), losses)
        excess = max(0.0, reached - best.value)
        share = excess / reached if reached > 0 else 0.0
        self.facts |= {"excess": excess, "share": share, "reached": reached, "blur": blur}
        self.facts |= {"least": best.value, "constant": objective.of_constant()}
        if not best.lower <= reached * (1 + 1e-12) + blur:
            self.fault("unproved", f"the model's {reached!r} is below the bound {best.lower!r}")
        claimed = FACTOR * p.tol if p.solver == "lbfgs" else 1e-3
        if p.l2 > 0 and best.value - best.lower > claimed / 2 * reached + blur:
            self.fault("unproved", f"the optimum {best.value!r} may be as low as {best.lower!r}")
        if p.early != "no":
            return
        if p.solver == "lbfgs":
            self._look_at_claims(model, reached, best, blur)
        else:
            self._look_at_descent(reached, blur)

    def _look_at_claims(self, model: Any, reached: float, best: Optimum, blur: float) -> None:
        p, history = self.problem, model.history_
        excess = self.facts["excess"]
        factor = FACTOR if p.n_weights <= CERTIFIED else ESTIMATED
        allowed = factor * p.tol * reached + blur
        said = f"{excess:.2g} above {best.value:.6g} ({excess / max(reached, 1e-300):.2g} of it)"
        losses = ROUNDING * EPSILON[self.facts["type"]]
        # An optimum of 0 is never attained; losses of that size are rounding.
        if excess > allowed and not (best.value < 1e-29 and reached < losses):
            if history.stop_reason == "tol":
                self.fault("tol", f"{said}, {(excess - blur) / reached / p.tol:.3g} times tol")
            elif not self.facts["warned"] and reached > losses + blur:
                self.fault("unsaid", f"{history.stop_reason}: {said}, tol {p.tol:g}")
        if not len(history.objective):
            return
        blur += losses * max(1.0, reached)
        if excess > history.gap[-1] + blur:
            self.fault("gap", f"{said}, gap {history.gap[-1]:.2g}, rounding {blur:.2g}")
        distance = abs(history.objective[-1] - reached)
        if not distance <= blur:
            self.fault("objective", f"off by {distance:.2g} of {reached:.6g}, rounding {blur:.2g}")

    def _look_at_descent(self, reached: float, blur: float) -> None:
        start, constant = float(np.log(self.problem.k)), self.facts["constant"]
        least = self.facts["least"]
        said = f"objective {reached:.4g}, optimum {least:.4g}, constant {constant:.4g}"
        # Too few epochs have an excuse if nobody asked when to stop, or if a warning says so; an
        # intercept that ought to be infinite always has one.
        content = self.problem.tol > 0 and not self.facts["warned"] and least > 1e-29
        if reached > start * (1 + JITTER) + blur:
            self.fault("worse than start", f"{said}, start {start:.4g}")
        elif reached > constant * (1 + JITTER) + blur and content:
            self.fault("constant", f"{said}, {self.facts['stop']}")


def class_factors(problem: Problem, data: Data) -> NDArray[np.float64]:
    """Return the weight that the option ``class_weight`` gives to rows of each class."""
    factors = np.ones(problem.k)
    if problem.class_weight == "dict":
        for label, factor in data.class_weight.items():
            factors[label] = factor
    elif problem.class_weight == "balanced":
        of_class = np.bincount(data.labels, data.weight, problem.k)
        factors = np.divide(1, of_class, out=np.zeros(problem.k), where=of_class > 0)
    return factors


def objective_of(problem: Problem, data: Data) -> Objective:
    """Return the objective, as the documentation defines it."""
    weight = np.ones(problem.n) if data.weight is None else data.weight
    weight = weight * class_factors(problem, data)[data.labels]
    rows = data.dense
    shift, scale = np.zeros(problem.d, Long), np.ones(problem.d, Long)
    if isinstance(data.input_scale, tuple):
        shift, scale = (np.broadcast_to(part, problem.d).astype(Long) for part in data.input_scale)
    elif data.input_scale:
        counted, share = rows[weight > 0].astype(Long), weight[weight > 0].astype(Long)
        low, high = counted.min(axis=0), counted.max(axis=0)
        shift, spread = low, high - low
        if data.input_scale == "standard":
            share /= share.sum()
            shift = share @ counted
            spread = np.sqrt(share @ (counted - shift) ** 2)
        # Features that differ by rounding only are constant, and small.
        epsilon = np.finfo(data.rows.dtype).eps if data.rows.dtype in ("f4", "f8") else 0.0
        constant = high - low <= 4 * epsilon * np.maximum(np.abs(low), np.abs(high))
        size = np.abs(shift)
        size = np.where(epsilon * size**3 > 1, size, 1)
        scale = 1 / np.where(constant, size, spread)
    intercept: Any = problem.intercept
    return Objective(rows, data.labels, problem.k, problem.l2, intercept, weight, shift, scale)


def rounding(objective: Objective, model: Any, shares: NDArray[Any], losses: NDArray[Any]) -> float:
    """Return what rounding to the type of the weights may change in a model's objective.

    Each weight is off by half an epsilon of itself, each logit by a few epsilons of the sum of its
    terms, once where it is trained and once where it is recorded; a row's loss by twice that times
    its residual, and by a half of its square; the sums of the losses by an epsilon of themselves,
    and by a random walk of half an epsilon of float64 for each row.
    """
    epsilon = EPSILON[model.coef_.dtype.name]
    size = np.abs(objective.rows) @ np.abs(model.coef_.astype(float).T)
    size = (size + np.abs(model.intercept_.astype(float))).max(axis=1)
    if np.any(objective.shift):
        size = (
            size + (np.abs(model.coef_.astype(float)) @ np.abs(objective.shift).astype(float)).max()
        )
    off = 2 * epsilon * size
    wrong = -np.expm1(-losses.astype(float))
    of_sum = 4 * epsilon + np.sqrt(len(losses)) * EPSILON["float64"]
    return float(shares.astype(float) @ (2 * wrong * off + off**2)) + of_sum * float(
        shares @ losses
    )


def judged(word: str) -> dict[str, Any]:
    """Return what is wrong with the fit of a problem, and the facts for the table."""
    problem = Problem.read(word)
    started = time.perf_counter()
    judge = Judge(problem)
    judge.judge()
    return {
        "word": word,
        "faults": judge.faults,
        "facts": judge.facts,
        "seconds": time.perf_counter() - started,
    }
