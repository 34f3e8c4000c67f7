"""What callbacks are told, under the name that it had first."""

from fastlin.solvers.sgd import Progress

__all__ = ["Progress"]
