"""How close a run of L-BFGS is to the optimum: estimates, certificates, and the warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.solvers.certificate import Certificate, Certified
from fastlin.solvers.curvature import Curvature
from fastlin.solvers.objective import Objective, Value

LATEST = 6
"""The decrease of the objective over so many iterations estimates the decrease that is left."""

STALLED = 10
"""A run ends if the objective fell by no more than rounding in so many iterations."""

LOOSE = 3
"""A bound of at most this many times ``tol`` counts as a certificate."""

MOST_UNCERTIFIED = 16
"""Maximum number of iterations between two certificates if the earlier ones did not help."""

REMEDIES = {
    "max_epochs": "raise max_epochs, {}, or raise l2",
    "precision": "raise tol, or {}",
    "line_search": "raise tol, or {}",
}
"""What to try, by the reason for which a run ended before ``tol``."""


class Convergence:
    """Decides when a run has converged, from its objectives so far and from certificates.

    Attributes
    ----------
    objectives : list of float
        The objective after each iteration.
    epsilon : float
        The epsilon of the weights' type, below which relative differences are rounding.
    """

    def __init__(self, objective: Objective, curvature: Curvature) -> None:
        self.objective, self.curvature, self.problem = objective, curvature, objective.problem
        self.tol = objective.problem.tol or 0.0
        self.epsilon = float(np.finfo(objective.problem.dtype).eps)
        self.objectives: list[float] = []
        self._certificate = Certificate(objective)
        self._latest: tuple[NDArray[np.float64], Certified] | None = None
        # Iteration of the next certificate, and how many iterations to wait if it fails.
        self._next_certificate, self._wait = 0, 1
        self._gap: float | None = None
        # Whether a certificate has shown that the estimate is too optimistic.
        self._misled = False
        self._at_start: float | None = None  # the objective

    def to_plain(self) -> dict[str, Any]:
        """Return what decides about the next certificates."""
        names = "next_certificate", "wait", "misled", "at_start"
        return {name: getattr(self, f"_{name}") for name in names}

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Continue from what :meth:`to_plain` returned."""
        for name, value in plain.items():
            setattr(self, f"_{name}", value)

    def finished(
        self, point: NDArray[np.float64], value: Value, direction: NDArray[np.float64]
    ) -> str:
        """Return the reason to stop before the next iteration, or an empty string."""
        made = len(self.objectives)
        if not made:
            self._at_start = value.objective
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
        """Return the Newton step of the point's certificate if it is a descent direction."""
        if self._latest is None or self._latest[0] is not point or self._latest[1].step is None:
            return None
        step = self._latest[1].step
        if np.isfinite(step).all() and np.vdot(value.gradient, step) < 0:
            return step
        self.newton_failed()
        return None

    def newton_failed(self) -> None:
        """Compute certificates less often, because the Newton step did not help."""
        self._wait = min(2 * self._wait, MOST_UNCERTIFIED)
        self._next_certificate = len(self.objectives) + self._wait

    def certified(self, point: NDArray[np.float64]) -> Certified:
        """Return the certificate of a point; the latest one is kept."""
        if self._latest is None or self._latest[0] is not point:
            self._latest = point, self._certificate.at(point, LOOSE * self.tol)
            self._gap = min(self._latest[1].gap, np.inf if self._gap is None else self._gap)
        return self._latest[1]

    @property
    def gap(self) -> float | None:
        """The latest estimate, or if it is smaller bound, of the distance from the optimum."""
        return self._gap

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
        """Return the warning if the solver ended before ``tol``, else an empty string.

        There is none if the objective is zero within the weights' precision.
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
        """Whether a certificate confirms that ``tol`` is reached, or none can at this cost."""
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
        """Return an estimate of the relative distance of the objective from the optimum.

        It is the larger of half the squared Newton decrement and the decrease over the latest
        iterations: the decrement is too small if L-BFGS's Hessian is wrong, the decrease if later
        steps are better. If the objective is no longer ``falling``, it is the decrement alone.
        Short early steps in poor directions make the decrement too small, so in the first
        iterations the decrement of the sampled curvature counts too. It is at least epsilon. If all
        rows are of one class, it is 1, since the curvature vanishes with the objective.
        """
        if self._certificate.has_one_class:
            return 1.0
        size = max(value.objective, self.epsilon)
        decrement = -float(np.vdot(value.gradient, direction)) / 2
        latest = self.objectives[-LATEST:] if falling else []
        if len(latest) == 1 and self._at_start is not None:
            latest = [self._at_start]
        decrease = latest[0] - value.objective if latest else 0.0
        estimate = max(decrement, decrease)
        if len(self.objectives) < LATEST and estimate <= self.tol * size:
            sampled = np.vdot(value.gradient, self.curvature.solve(value.gradient))
            estimate = max(estimate, float(sampled) / 2)
        self._gap = estimate
        return max(estimate / size, self.epsilon)
