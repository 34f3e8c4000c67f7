"""Everything that a report needs, gathered before a word of it is written."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from fastlin.report.derivation import GradientCheck
from fastlin.report.problem import Problem, Settings
from fastlin.report.spikes import Spikes, find_spikes
from fastlin.report.tasks import Runs, Training


@dataclass(frozen=True)
class Results:
    """Data, settings, checks and runs of one report.

    Attributes
    ----------
    n_threads : int
        Number of threads of the runs.
    proved : dict of str to bool
        Whether SymPy could prove each equation of the derivations.
    gradient_checks : list of GradientCheck
        Checks of every available backend, the training backend first.
    """

    problem: Problem
    settings: Settings
    training: Training
    n_threads: int
    proved: dict[str, bool]
    gradient_checks: list[GradientCheck]
    runs: Runs

    @cached_property
    def spikes_ordered(self) -> Spikes:
        """Spikes of the run that takes the mini-batches in the same order every epoch."""
        return find_spikes(self.runs.ordered.history, len(self.problem.pair.X_val))

    @cached_property
    def spikes_shuffled(self) -> Spikes:
        """Spikes of the run that shuffles the training rows every epoch."""
        return find_spikes(self.runs.shuffled.history, len(self.problem.pair.X_val))

    def gradient_error(self, model: str) -> float:
        """Largest difference of a model's gradient on the training backend, all start points."""
        return max(
            check.largest_difference
            for check in self.gradient_checks
            if check.backend == self.training.backend and check.model == model
        )
