"""When to stop before the last epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Patience:
    """Counts observations in a row that did not improve the best one by more than ``tol``."""

    patience: int
    tol: float = 0.0
    best: float = math.inf
    without_improvement: int = 0

    def improved(self, loss: float) -> bool:
        """Record an observation; return whether it improves the best one by more than ``tol``."""
        if loss < self.best - self.tol:
            self.best = loss
            self.without_improvement = 0
            return True
        self.best = min(self.best, loss)
        self.without_improvement += 1
        return False

    @property
    def exhausted(self) -> bool:
        """Whether ``patience`` observations in a row brought no improvement."""
        return self.without_improvement >= self.patience
