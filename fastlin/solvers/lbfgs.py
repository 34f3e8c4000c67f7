"""Full-batch training to the optimum: L-BFGS over the fused ``loss_gradient`` kernel.

Nocedal and Wright, "Numerical Optimization" (2006), algorithms 7.4 and 7.5, with the inverse of a
sampled Hessian (:mod:`fastlin.solvers.curvature`) in place of the multiple of the identity.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastlin.advice import NotConvergedWarning, warn
from fastlin.blas import one_blas_thread
from fastlin.errors import DivergenceError
from fastlin.solvers.certificate import Certificate, Certified
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.objective import Objective, Value
from fastlin.solvers.watching import Watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels import Parameters
    from fastlin.results.history import History
    from fastlin.solvers.problem import Problem

PAIRS = 10
"""Steps that are remembered, with the changes of the gradient that they brought."""

UPDATED_AFTER, UPDATED_EVERY = 6, 60
"""Iterations after which the curvature is taken anew: most of the way is done, or it is long."""

DECREASE, SLOPE = 1e-4, 0.9
"""Constants of Wolfe's conditions; Nocedal and Wright, section 3.1."""

TRIALS = 30

LATEST = 6
"""Values of the objective whose decrease estimates what is left."""

STALLED = 10
"""Iterations in which the objective must fall by more than rounding can tell."""

LOOSE = 3
"""By what factor a bound may be above ``tol`` and certify it."""

MOST_UNCERTIFIED = 16
"""Iterations at most until a certificate is asked for again that was neither good nor of help."""


def minimize(problem: Problem, parameters: Parameters) -> History:
    """Minimise mean cross-entropy plus penalty; ``parameters`` then hold the weights to return.

    Stops with ``"tol"`` where the objective's distance from its optimum, estimated by half the
    squared Newton decrement (Boyd and Vandenberghe, "Convex Optimization", 2004, section 9.5.1)
    with L-BFGS's Hessian and by the latest decrease, is at most ``problem.tol`` times the
    objective, and a bound of ``fastlin.solvers.certificate`` says that it is at most 3 times that.
    The estimate alone decides where there is no bound so tight: with so many weights that the
    Hessian would cost more than the solver (``Certificate.takes_hessian`` there), and a penalty so
    small that weak duality tells little. Stops with ``"precision"`` where the weights' type can
    tell no further decrease, or none of the objective from 0; with ``"line_search"`` where no step
    lowers the objective.

    Raises
    ------
    DivergenceError
        The objective is not finite where training starts, or its curvature is not before any
        iteration was made.
    """
    objective = Objective(problem)
    solution = solve(objective, Curvature(objective), parameters)
    if solution.shortfall:
        warn(solution.shortfall, NotConvergedWarning)
    return solution.history


@dataclass(frozen=True)
class Solution:
    """What a run arrived at.

    Attributes
    ----------
    history : History
    objective : float
        Of the weights that are returned.
    gap : float
        No weights have an objective that is lower by more.
    shortfall : str
        What to tell the user where the run ended short of ``tol``; empty where it did not.
    """

    history: History
    objective: float
    gap: float
    shortfall: str


def solve(objective: Objective, curvature: Curvature, parameters: Parameters) -> Solution:
    """Do what :func:`minimize` says, for an objective and a sample that serve more than one run."""
    with one_blas_thread():
        return _Run(objective, curvature, parameters).run()


@dataclass(frozen=True)
class _Pair:
    """A step, the change of the gradient along it, and their product."""

    step: NDArray[np.float64]
    change: NDArray[np.float64]
    product: float


class _Run:
    """One run of the solver."""

    def __init__(self, objective: Objective, curvature: Curvature, parameters: Parameters) -> None:
        self.objective, self.curvature, self.parameters = objective, curvature, parameters
        self.problem = objective.problem
        self.epsilon = float(np.finfo(parameters.weights.dtype).eps)
        self.pairs: deque[_Pair] = deque(maxlen=PAIRS)
        # Of each iteration; without the gradients, which may be large.
        self.objectives: list[float] = []
        self.norms: list[float] = []
        self.watch = Watch(objective.problem)
        self.passes_before = objective.n_passes
        self.certificate = Certificate(objective)
        self.latest: tuple[NDArray[np.float64], Certified] | None = None
        # Iterations after which to ask for a certificate, and until the next time if it fails.
        self.next_certificate, self.uncertified = 0, 1
        # Whether a certificate showed that the estimate is too good.
        self.misled = False

    def run(self) -> Solution:
        problem, watch = self.problem, self.watch
        start = np.column_stack([self.parameters.weights, self.parameters.intercept])
        point = start.astype(np.float64) / self.objective.scale
        value = self.objective.at(point)
        if not np.isfinite(value.objective):
            raise DivergenceError(
                f"the objective is {value.objective} where training starts; {problem.how_to_scale}"
            )
        self.curvature.update(point, self.objective.decay)
        best, best_value, best_iteration = point, value, -1
        while True:
            direction = self._direction(value.gradient)
            if not np.isfinite(direction).all():
                self.pairs.clear()  # they may have shrunk until their products underflow
                direction = self._direction(value.gradient)
            if not np.isfinite(direction).all():
                if not self.objectives and not start.any():
                    raise DivergenceError(
                        "the objective's curvature is not finite where training starts; "
                        f"{problem.how_to_scale}"
                    )
                stop_reason = "precision"
                break
            stop_reason = self._finished(point, value, direction)
            if stop_reason:
                break
            watch.begin_epoch()
            found = self._newton_search(point, value)
            if found is None:
                found = self._search(point, value, direction)
            if found is None and self.pairs:  # they may be what misleads
                self.pairs.clear()
                direction = self._direction(value.gradient)
                found = self._search(point, value, direction)
            if found is None:
                stop_reason = "line_search"
                break
            before, (point, value) = (point, value), found
            self._remember(point - before[0], value.gradient - before[1].gradient)
            self.objectives.append(value.objective)
            self.norms.append(float(np.linalg.norm(value.gradient)))
            watch.losses.append(np.array([value.loss]))
            if len(self.objectives) % UPDATED_EVERY == UPDATED_AFTER:
                self.curvature.update(point, self.objective.decay)
            improved, stop_reason = self._watched(point, value)
            if improved:
                best, best_value, best_iteration = point, value, len(self.objectives) - 1
            if stop_reason:
                break
        self._hand_out(best)
        certified = self._certified(best)
        if stop_reason in _REMEDIES and self._is_within_tol(certified, 1):
            stop_reason = "tol"
        shortfall = self._shortfall(stop_reason, value, direction, certified)
        objectives = np.array(self.objectives)
        bound = min([certified.objective - certified.gap, best_value.objective, *self.objectives])
        # Never below the truth: the kernels' objective, in the weights' type, may be too small.
        rounding = max(0.0, certified.objective - best_value.objective)
        history = watch.history(
            objective=objectives,
            gradient_norm=np.array(self.norms),
            gap=objectives - bound + rounding,
            steps_per_epoch=1,
            stopped_epoch=len(objectives) - 1,
            stopped_step=len(objectives) - 1,
            best_step=best_iteration,
            stop_reason=stop_reason,
        )
        gap = best_value.objective - bound + rounding
        return Solution(history, best_value.objective, gap, shortfall)

    def _direction(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return minus the approximate inverse Hessian times the gradient (algorithm 7.4)."""
        q = gradient.copy()
        shares = []
        for pair in reversed(self.pairs):
            share = np.vdot(pair.step, q) / pair.product
            q -= share * pair.change
            shares.append(share)
        if not self.pairs:
            return -self.curvature.solve(q)
        latest = self.pairs[-1]
        z, of_change = np.split(self.curvature.solve(np.vstack([q, latest.change])), 2)
        # The latest step tells by how much the sampled curvature is wrong (equation 7.20).
        z *= latest.product / np.vdot(latest.change, of_change)
        for pair, share in zip(self.pairs, reversed(shares), strict=True):
            z += (share - np.vdot(pair.change, z) / pair.product) * pair.step
        return -z

    def _remember(self, step: NDArray[np.float64], change: NDArray[np.float64]) -> None:
        product = float(np.vdot(step, change))
        if product > 0:  # convexity, unless rounding hides it
            self.pairs.append(_Pair(step, change, product))

    def _search(
        self, point: NDArray[np.float64], value: Value, direction: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Value] | None:
        """Return a point along the direction, and what is there; None where none is better.

        Wolfe's conditions by bisection (Lewis and Overton, "Nonsmooth optimization via quasi-Newton
        methods", 2013, algorithm 2.6); where rounding hides the decrease, the slope must tell of it
        (Hager and Zhang, "A new conjugate gradient method with guaranteed descent and an efficient
        line search", 2005, equation 4.1).
        """
        slope = float(np.vdot(value.gradient, direction))
        rounding = self.epsilon * max(value.objective, 1.0)  # each row's loss is a difference
        low, high, length = 0.0, np.inf, 1.0
        for _ in range(TRIALS):
            candidate = point + length * direction
            there = self.objective.at(candidate)
            slope_there = float(np.vdot(there.gradient, direction))
            rise = there.objective - value.objective
            lower = rise <= DECREASE * length * slope or (
                rise <= rounding and slope_there <= (2 * DECREASE - 1) * slope
            )
            if not lower:
                high = length
            elif slope_there < SLOPE * slope:
                low = length
            else:
                return candidate, there
            length = (low + high) / 2 if high < np.inf else 2 * length
        return None

    def _estimate(
        self, value: Value, direction: NDArray[np.float64], falling: bool = True
    ) -> float:
        """Return how far the objective may be above the optimum, relative to it.

        The larger of half the squared Newton decrement and the latest iterations' decrease: the
        former is too small where steps are not Newton's, the latter where the next ones are better.
        Where the objective is not ``falling`` any more, the former alone. The first steps may be
        short because they went astray, and scale the decrement too; until there are enough of them
        the sampled curvature must agree. Nothing below what the weights' type can tell.
        """
        size = max(value.objective, self.epsilon)
        decrement = -float(np.vdot(value.gradient, direction)) / 2
        latest = self.objectives[-LATEST:] if falling else []
        decrease = latest[0] - value.objective if latest else 0.0
        estimate = max(decrement, decrease)
        if len(self.objectives) < LATEST and estimate <= (self.problem.tol or 0.0) * size:
            sampled = np.vdot(value.gradient, self.curvature.solve(value.gradient))
            estimate = max(estimate, float(sampled) / 2)
        return max(estimate / size, self.epsilon)

    def _finished(
        self, point: NDArray[np.float64], value: Value, direction: NDArray[np.float64]
    ) -> str:
        """Return why to stop before the next iteration, or nothing."""
        tol, made = self.problem.tol or 0.0, len(self.objectives)
        near = self.misled or self._estimate(value, direction) <= tol
        if near and self._tol_is_true(point):
            return "tol"
        if made == self.problem.max_epochs:
            return "max_epochs"
        if value.objective <= self.epsilon and made:
            return "precision"
        if made > STALLED:
            fall = self.objectives[-STALLED - 1] - value.objective
            if fall <= self.epsilon * value.objective:
                return "precision"
        return ""

    def _tol_is_true(self, point: NDArray[np.float64]) -> bool:
        """Whether a certificate says that ``tol`` is reached, or there is none that could."""
        if len(self.objectives) < self.next_certificate:
            return False
        certified = self._certified(point)
        if self._is_within_tol(certified) or not self.certificate.takes_hessian:
            return True
        self.misled = True
        self.next_certificate = len(self.objectives) + self.uncertified
        return False

    def _newton_search(
        self, point: NDArray[np.float64], value: Value
    ) -> tuple[NDArray[np.float64], Value] | None:
        """Return what a search along Newton's step finds, if a certificate left one for here.

        Where it helps, each iteration makes one; else they become rare.
        """
        if self.latest is None or self.latest[0] is not point or self.latest[1].step is None:
            return None
        step = self.latest[1].step
        found = None
        if np.isfinite(step).all() and np.vdot(value.gradient, step) < 0:
            found = self._search(point, value, step)
        if found is None:
            self.uncertified = min(2 * self.uncertified, MOST_UNCERTIFIED)
            self.next_certificate = len(self.objectives) + self.uncertified
        return found

    def _certified(self, point: NDArray[np.float64]) -> Certified:
        """Return the certificate of a point, made once for the latest."""
        if self.latest is None or self.latest[0] is not point:
            enough = LOOSE * (self.problem.tol or 0.0)
            self.latest = point, self.certificate.at(point, enough)
        return self.latest[1]

    def _is_within_tol(self, certified: Certified, factor: float = LOOSE) -> bool:
        return certified.gap <= factor * (self.problem.tol or 0.0) * certified.objective

    def _watched(self, point: NDArray[np.float64], value: Value) -> tuple[bool, str]:
        """Check, and tell the callbacks.

        Returns
        -------
        bool
            Whether this is the model to return so far.
        str
            Why to stop, or nothing.
        """
        problem, watch, iteration = self.problem, self.watch, len(self.objectives) - 1
        improved, stop_reason = True, ""
        if problem.validation is not None:
            kept = watch.check(self.objective.fold(point), iteration)
            improved = kept or not problem.early_stopping
            stop_reason = "early_stopping" if watch.early.exhausted else ""
        if problem.callbacks:
            self._hand_out(point)
            n_passes = self.objective.n_passes - self.passes_before
            asked = watch.tell(
                epoch=iteration,
                step=iteration,
                end_of_epoch=True,
                train_loss=value.loss,
                rows_per_second=n_passes * self.objective.n_rows / watch.seconds,
            )
            stop_reason = stop_reason or ("callback" if asked else "")
        return improved, stop_reason

    def _hand_out(self, point: NDArray[np.float64]) -> None:
        """Let the parameters hold the model of a point."""
        weights, intercept = self.objective.fold(point)
        self.parameters.weights[...] = weights
        self.parameters.intercept[...] = intercept

    def _shortfall(
        self,
        stop_reason: str,
        value: Value,
        direction: NDArray[np.float64],
        certified: Certified,
    ) -> str:
        """Say what was seen and what to try where the solver ended short of ``tol``.

        Nothing where the objective is zero as far as the weights' type can tell.
        """
        tol = self.problem.tol
        if stop_reason not in _REMEDIES or not tol or value.objective <= self.epsilon:
            return ""
        estimate = self._estimate(value, direction, falling=stop_reason == "max_epochs")
        if estimate <= tol and not self.certificate.takes_hessian:
            return ""
        remedy = _REMEDIES[stop_reason].format(self.problem.how_to_scale)
        if stop_reason != "max_epochs" and self.parameters.weights.dtype == np.float32:
            remedy += ", or compute more exactly with dtype='float64'"
        said = f"by an estimated {estimate:.1e} of it"
        if estimate <= tol:
            said = f"by {certified.gap / certified.objective:.1e} of it at most"
        return (
            f"L-BFGS stopped after {len(self.objectives)} iterations ({stop_reason}): its "
            f"objective, {value.objective:.6g}, is above the optimum {said}, and tol={tol:g} was "
            f"asked for; {remedy}"
        )


_REMEDIES = {
    "max_epochs": "raise max_epochs, {}, or raise l2",
    "precision": "raise tol, or {}",
    "line_search": "raise tol, or {}",
}
