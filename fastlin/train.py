"""What callbacks are told, under the name that it had first."""

from fastlin.solvers.progress import Progress

__all__ = ["Progress"]
