"""How an epoch is cut into batches, under the name that it had first."""

from fastlin.solvers.batches import Batches

__all__ = ["Batches"]
