"""How an epoch is cut into batches, under the name that it had first."""

from __future__ import annotations

from typing import Any

__all__ = ["Batches"]  # noqa: F822 (made when it is asked for)


def __getattr__(name: str) -> Any:
    if name != "Batches":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from fastlin.advice import deprecated
    from fastlin.solvers.batches import Batches

    deprecated("fastlin.batches", "import Batches from fastlin.solvers.batches", "0.4")
    return Batches
