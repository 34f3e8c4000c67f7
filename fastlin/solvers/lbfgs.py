"""Full-batch training to the optimum: L-BFGS over the fused ``loss_gradient`` kernel.

Nocedal and Wright, "Numerical Optimization" (2006), algorithms 7.4 and 7.5, with the inverse of a
sampled Hessian (:mod:`fastlin.solvers.curvature`) in place of the multiple of the identity, and
with the recursion as products of matrices (:mod:`fastlin.solvers.memory`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.advice import NotConvergedWarning, warn
from fastlin.blas import one_blas_thread
from fastlin.errors import DivergenceError
from fastlin.kernels import Parameters
from fastlin.results.history import History
from fastlin.results.snapshot import Snapshot, prefixed, without_prefix, written_at_the_end
from fastlin.solvers.convergence import REMEDIES, Convergence
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.memory import Memory
from fastlin.solvers.objective import Objective, Value
from fastlin.solvers.problem import Problem
from fastlin.solvers.watching import Watch

PAIRS = 10
"""Number of latest steps, and the gradient's changes over them, that L-BFGS remembers."""

DECREASE, SLOPE = 1e-4, 0.9
"""Constants of the Wolfe conditions; Nocedal and Wright, section 3.1."""

LONGEST = 8
"""A step that is too short becomes at most so many times as long at once, and at least twice."""

TRIALS = 30
"""Maximum number of step lengths that a line search tries."""


def minimize(problem: Problem, parameters: Parameters) -> History:
    """Minimise mean cross-entropy plus penalty; ``parameters`` then hold the weights to return.

    It stops with ``"tol"`` if the objective's distance from its optimum, estimated by half the
    squared Newton decrement (Boyd and Vandenberghe, "Convex Optimization", 2004, section 9.5.1)
    with L-BFGS's Hessian and by the latest decrease, is at most ``problem.tol`` times the
    objective, and a bound of ``fastlin.solvers.certificate`` is at most 3 times that. The estimate
    alone decides if no bound is tight enough: if the Hessian would cost more than the solver
    (``Certificate.takes_hessian`` there), and the penalty is so small that weak duality gives a
    loose bound. It stops with ``"precision"`` if a further decrease, or the objective itself, is
    below the precision of the weights' type; with ``"line_search"`` if no step lowers the
    objective.

    Raises
    ------
    DivergenceError
        The objective or its curvature is not finite at the start.
    """
    objective = Objective(problem)
    solution = solve(objective, Curvature(objective), parameters)
    if solution.shortfall:
        warn(solution.shortfall, NotConvergedWarning)
    return solution.history


@dataclass(frozen=True)
class Solution:
    """The result of a run.

    Attributes
    ----------
    history : History
    objective : float
        Its value at the weights that are returned.
    gap : float
        Upper bound on the distance of ``objective`` from the optimum.
    shortfall : str
        The warning if the run ended before ``tol``; empty if it did not.
    """

    history: History
    objective: float
    gap: float
    shortfall: str


def solve(objective: Objective, curvature: Curvature, parameters: Parameters) -> Solution:
    """Run :func:`minimize` with an objective and a preconditioner that several runs share."""
    with one_blas_thread():
        return _Run(objective, curvature, parameters).run()


class _Run:
    """One run of the solver."""

    def __init__(self, objective: Objective, curvature: Curvature, parameters: Parameters) -> None:
        self.objective, self.curvature, self.parameters = objective, curvature, parameters
        self.problem = objective.problem
        shape = objective.n_models, len(objective.scale)
        self.memory = Memory(shape, self.problem.dtype, PAIRS)
        self.convergence = Convergence(objective, curvature)
        # Values of each iteration; the gradients, which may be large, are not kept.
        self.objectives = self.convergence.objectives
        self.norms: list[float] = []
        self.watch = Watch(objective.problem)
        self.stop_reason = ""
        self.passes_before = objective.n_passes

    def run(self) -> Solution:
        watch, recorder = self.watch, self.problem.recorder
        with written_at_the_end(recorder):
            if recorder is not None and recorder.found is not None:
                self._restore(*recorder.found)
            else:
                self._begin()
            while True:
                point, value = self.point, self.value
                direction = self._direction(value.gradient, self.solved)
                if not np.isfinite(direction).all():
                    self.memory.clear()  # its products may have underflowed
                    direction = -self.solved
                if not np.isfinite(direction).all():
                    if not self.objectives and not point.any():
                        raise DivergenceError(
                            "the objective's curvature is not finite at the start of training; "
                            f"{self.problem.how_to_scale}"
                        )
                    self.stop_reason = self.stop_reason or "precision"
                self.stop_reason = self.stop_reason or self.convergence.finished(
                    point, value, direction
                )
                if self.stop_reason:
                    break
                watch.begin_epoch()
                found = self._newton_search(point, value)
                if found is None:
                    found = self._search(point, value, direction)
                if found is None and len(self.memory):  # it may be the cause
                    self.memory.clear()
                    direction = -self.solved
                    found = self._search(point, value, direction)
                if found is None:
                    self.stop_reason = "line_search"
                    break
                self._take(*found)
                self._take_snapshot()
        return self._solution(direction)

    def _begin(self) -> None:
        """Evaluate the model at which the run starts."""
        start = np.column_stack([self.parameters.weights, self.parameters.intercept])
        self.point = start.astype(np.float64) / self.objective.scale
        self.value = self.objective.at(self.point)
        if not np.isfinite(self.value.objective):
            raise DivergenceError(
                f"the objective is {self.value.objective} at the start of training; "
                f"{self.problem.how_to_scale}"
            )
        self._update_curvature()
        self.best, self.best_value, self.best_iteration = self.point, self.value, -1
        self.solved = self.curvature.solve(self.value.gradient)

    def _take(self, point: NDArray[np.float64], value: Value) -> None:
        """Go to the next point, and look whether training should stop there."""
        step, before = point - self.point, self.value.gradient
        self.solved = self._remember(step, before, value.gradient, self.solved)
        self.point, self.value = point, value
        self.objectives.append(value.objective)
        self.norms.append(float(np.linalg.norm(value.gradient)))
        self.watch.losses.add(np.array([value.loss]))
        if self.curvature.is_due(len(self.objectives)):
            self._update_curvature()
            self.memory.renew(self.curvature.solve)
            self.solved = self.curvature.solve(value.gradient)
        improved, self.stop_reason = self._watched(point, value)
        if improved:
            self.best, self.best_value = point, value
            self.best_iteration = len(self.objectives) - 1

    def _update_curvature(self) -> None:
        self.curvature.update(self.point, self.objective.decay, len(self.objectives))
        self.curvature_at = self.point, len(self.objectives)

    def _solution(self, direction: NDArray[np.float64]) -> Solution:
        """Return the result, after the latest ``direction``."""
        watch, best, best_value = self.watch, self.best, self.best_value
        stop_reason, value = self.stop_reason, self.value
        self._hand_out(best)
        certified = self.convergence.certified(best)
        if stop_reason in REMEDIES and self.convergence.is_within_tol(certified, 1):
            stop_reason = "tol"
        shortfall = self.convergence.shortfall(stop_reason, value, direction, certified)
        objectives = np.array(self.objectives)
        bound = min([certified.objective - certified.gap, best_value.objective, *self.objectives])
        # The kernels' objective, in the weights' type, may be too small; the gap must not be.
        rounding = max(0.0, certified.objective - best_value.objective)
        history = watch.history(
            objective=objectives,
            gradient_norm=np.array(self.norms),
            gap=objectives - bound + rounding,
            stopped_epoch=len(objectives) - 1,
            stopped_step=len(objectives) - 1,
            best_step=self.best_iteration,
            stop_reason=stop_reason,
        )
        gap = best_value.objective - bound + rounding
        return Solution(history, best_value.objective, gap, shortfall)

    def _direction(
        self, gradient: NDArray[np.float64], solved: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return minus L-BFGS's inverse Hessian times the gradient."""
        return self.memory.direction(gradient, solved, self.problem.n_threads)

    def _remember(
        self,
        step: NDArray[np.float64],
        before: NDArray[np.float64],
        gradient: NDArray[np.float64],
        solved_before: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Keep a step between two gradients; return the preconditioned gradient at its end."""
        change = gradient - before
        if self.curvature.diagonal_only:  # in float64, so that the difference has enough digits
            solved = self.curvature.solve(gradient)
            solved_change = solved - solved_before
        else:
            both = self.curvature.solve(np.vstack([gradient, change]))
            solved, solved_change = np.split(both, 2)
        self.memory.remember(step, change, solved_change)
        return solved

    def _search(
        self, point: NDArray[np.float64], value: Value, direction: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], Value] | None:
        """Return a point along the direction, and its value; None if no point is better.

        Bisection finds a point that meets the Wolfe conditions (Lewis and Overton, "Nonsmooth
        optimization via quasi-Newton methods", 2013, algorithm 2.6). If rounding hides the
        decrease, the slope decides (Hager and Zhang, "A new conjugate gradient method with
        guaranteed descent and an efficient line search", 2005, equation 4.1).
        """
        slope = float(np.vdot(value.gradient, direction))
        # Each row's loss is a difference, rounded by about epsilon even if it is small.
        rounding = self.convergence.epsilon * max(value.objective, 1.0)
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
            if high < np.inf:
                length = (low + high) / 2
            else:  # the secant's step, if the slope falls evenly
                further = length * slope / min(slope - slope_there, slope / LONGEST)
                length = max(2 * length, further)
        return None

    def _newton_search(
        self, point: NDArray[np.float64], value: Value
    ) -> tuple[NDArray[np.float64], Value] | None:
        """Return the result of a search along the Newton step, if the certificate has one here.

        While such steps help, each iteration computes one; otherwise they become rare.
        """
        step = self.convergence.newton_step(point, value)
        if step is None:
            return None
        found = self._search(point, value, step)
        if found is None:
            self.convergence.newton_failed()
        return found

    def _watched(self, point: NDArray[np.float64], value: Value) -> tuple[bool, str]:
        """Check the model, and tell the callbacks.

        Returns
        -------
        bool
            Whether this is the best model so far.
        str
            The reason to stop, or an empty string.
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
                objective=value.objective,
                gap=self.convergence.gap,
            )
            stop_reason = stop_reason or ("callback" if asked else "")
        return improved, stop_reason

    def _hand_out(self, point: NDArray[np.float64]) -> None:
        """Set the parameters to the model of a point."""
        weights, intercept = self.objective.fold(point)
        self.parameters.weights[...] = weights
        self.parameters.intercept[...] = intercept

    def _take_snapshot(self) -> None:
        """Hand out the state of the run, if somebody keeps it."""
        recorder = self.problem.recorder
        if recorder is None:
            return
        arrays, numbers = self.watch.to_plain()
        of_memory, memory = self.memory.to_plain()
        of_objective, n_passes = self.objective.to_plain()
        of_value, value = self.value.to_plain()
        of_best, best = self.best_value.to_plain()
        recorder.take(
            Snapshot(
                {
                    **arrays,
                    **prefixed("memory_", of_memory),
                    **prefixed("objective_", of_objective),
                    "point": self.point,
                    "gradient": of_value,
                    "solved": self.solved,
                    "best": self.best,
                    "best_gradient": of_best,
                    "curvature_point": self.curvature_at[0],
                    "objectives": np.array(self.objectives),
                    "norms": np.array(self.norms),
                },
                {
                    **numbers,
                    "memory": memory,
                    "n_passes": n_passes,
                    "convergence": self.convergence.to_plain(),
                    "value": value,
                    "best_value": best,
                    "best_iteration": self.best_iteration,
                    "curvature_iteration": self.curvature_at[1],
                    "stop_reason": self.stop_reason,
                },
                self.objective.fold(self.best),
            )
        )

    def _restore(self, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any]) -> None:
        """Continue from a snapshot that the same run took in another process."""
        self.watch.restore(arrays, numbers)
        self.curvature_at = arrays["curvature_point"], numbers["curvature_iteration"]
        self.curvature.update(self.curvature_at[0], self.objective.decay, self.curvature_at[1])
        self.memory.restore(without_prefix("memory_", arrays), numbers["memory"])
        self.objective.restore(without_prefix("objective_", arrays), numbers["n_passes"])
        self.convergence.restore(numbers["convergence"])
        self.point, self.solved = arrays["point"], arrays["solved"]
        self.value = Value.from_plain(arrays["gradient"], numbers["value"])
        self.best, self.best_iteration = arrays["best"], numbers["best_iteration"]
        self.best_value = Value.from_plain(arrays["best_gradient"], numbers["best_value"])
        self.objectives += arrays["objectives"].tolist()
        self.norms += arrays["norms"].tolist()
        self.stop_reason = numbers["stop_reason"]
