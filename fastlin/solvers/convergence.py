"""How near a run of L-BFGS is to the optimum: estimates, certificates, and what to say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastlin.solvers.certificate import Certificate, Certified

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.solvers.curvature import Curvature
    from fastlin.solvers.objective import Objective, Value

LATEST = 6
"""Iterations whose decrease of the objective estimates what is left."""

STALLED = 10
"""A run ends if the objective did not fall by more than rounding in so many iterations."""

LOOSE = 3
"""A bound certifies ``tol`` if it is at most so many times that."""

MOST_UNCERTIFIED = 16
"""Most iterations between two certificates if the earlier one neither was good nor helped."""

REMEDIES = {
    "max_epochs": "raise max_epochs, {}, or raise l2",
    "precision": "raise tol, or {}",
    "line_search": "raise tol, or {}",
}
"""What to try if a run ended for such a reason, short of ``tol``."""


class Convergence:
    """Tells whether a run has arrived, from its objectives so far and from certificates.

    Attributes
    ----------
    objectives : list of float
        The objective after each iteration.
    epsilon : float
        The epsilon of the weights' type: nothing smaller can be told apart.
    """

    def __init__(self, objective: Objective, curvature: Curvature) -> None:
        self.objective, self.curvature, self.problem = objective, curvature, objective.problem
        self.tol = objective.problem.tol or 0.0
        self.epsilon = float(np.finfo(objective.problem.dtype).eps)
        self.objectives: list[float] = []
        self._certificate = Certificate(objective)
        self._latest: tuple[NDArray[np.float64], Certified] | None = None
        # Iteration from which on to ask for a certificate, and how many to wait if it fails.
        self._next_certificate, self._wait = 0, 1
        # Whether a certificate showed that the estimate is too good.
        self._misled = False

    def finished(
        self, point: NDArray[np.float64], value: Value, direction: NDArray[np.float64]
    ) -> str:
        """Return why to stop before the next iteration, or nothing."""
        made = len(self.objectives)
        near = self._misled or self._estimate(value, direction) <= self.tol
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

    def newton_step(self, point: NDArray[np.float64], value: Value) -> NDArray[np.float64] | None:
        """Return Newton's step if a certificate left one for here and it leads downwards."""
        if self._latest is None or self._latest[0] is not point or self._latest[1].step is None:
            return None
        step = self._latest[1].step
        if np.isfinite(step).all() and np.vdot(value.gradient, step) < 0:
            return step
        self.newton_failed()
        return None

    def newton_failed(self) -> None:
        """Ask for certificates less often: Newton's step did not help."""
        self._wait = min(2 * self._wait, MOST_UNCERTIFIED)
        self._next_certificate = len(self.objectives) + self._wait

    def certified(self, point: NDArray[np.float64]) -> Certified:
        """Return the certificate of a point, made once for the latest."""
        if self._latest is None or self._latest[0] is not point:
            self._latest = point, self._certificate.at(point, LOOSE * self.tol)
        return self._latest[1]

    def is_within_tol(self, certified: Certified, factor: float = LOOSE) -> bool:
        """Whether a bound is at most ``factor`` times ``tol``."""
        return certified.gap <= factor * self.tol * certified.objective

    def shortfall(
        self,
        stop_reason: str,
        value: Value,
        direction: NDArray[np.float64],
        certified: Certified,
    ) -> str:
        """Say what was seen and what to try if the solver ended short of ``tol``.

        Nothing if the objective is zero as far as the weights' type can tell.
        """
        tol, problem = self.tol, self.problem
        if stop_reason not in REMEDIES or not tol or value.objective <= self.epsilon:
            return ""
        estimate = self._estimate(value, direction, falling=stop_reason == "max_epochs")
        if estimate <= tol and not self._certificate.takes_hessian:
            return ""
        remedy = REMEDIES[stop_reason].format(problem.how_to_scale)
        if stop_reason != "max_epochs" and problem.dtype == np.float32:
            remedy += ", or compute more exactly with dtype='float64'"
        said = f"by an estimated {estimate:.1e} of it"
        if estimate <= tol:
            said = f"by {certified.gap / certified.objective:.1e} of it at most"
        return (
            f"L-BFGS stopped after {len(self.objectives)} iterations ({stop_reason}): its "
            f"objective, {value.objective:.6g}, is above the optimum {said}, and tol={tol:g} was "
            f"asked for; {remedy}"
        )

    def _tol_is_true(self, point: NDArray[np.float64]) -> bool:
        """Whether a certificate says that ``tol`` is reached, or there is none that could."""
        if len(self.objectives) < self._next_certificate:
            return False
        certified = self.certified(point)
        if self.is_within_tol(certified) or not self._certificate.takes_hessian:
            return True
        self._misled = True
        self._next_certificate = len(self.objectives) + self._wait
        return False

    def _estimate(
        self, value: Value, direction: NDArray[np.float64], falling: bool = True
    ) -> float:
        """Return how far the objective may be above the optimum, relative to it.

        It is the larger of half the squared Newton decrement and the latest iterations' decrease:
        the former is too small if steps are not Newton's, the latter if the next ones are better.
        If the objective is not ``falling`` any more, it is the former alone. The first steps may be
        short because they went astray, and scale the decrement too; until there are enough of them
        the sampled curvature must agree. It is never below what the weights' type can tell.
        """
        size = max(value.objective, self.epsilon)
        decrement = -float(np.vdot(value.gradient, direction)) / 2
        latest = self.objectives[-LATEST:] if falling else []
        decrease = latest[0] - value.objective if latest else 0.0
        estimate = max(decrement, decrease)
        if len(self.objectives) < LATEST and estimate <= self.tol * size:
            sampled = np.vdot(value.gradient, self.curvature.solve(value.gradient))
            estimate = max(estimate, float(sampled) / 2)
        return max(estimate / size, self.epsilon)
