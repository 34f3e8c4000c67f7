"""How all of the Numba backend is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba.extending
from numba.extending import register_jitable

from fastlin.kernels.jit.numba_compiler import PartCompiler

# Of fastmath only what lets a product and a sum be rounded once, as the other backends do: nan and
# infinity keep their meaning (a diverging loss must be seen), and sums keep their order (the same
# bits on every run).
FASTMATH = {"contract"}
OPTIONS: dict[str, Any] = {
    "fastmath": FASTMATH,
    "error_model": "numpy",
    # Kernels make no arrays, and those that they look at own nothing (:mod:`.memory`). So there is
    # nothing to count, and code that would count costs time to compile and to run.
    "_nrt": False,
}

intrinsic: Callable[[Callable[..., Any]], Any] = numba.extending.intrinsic
"""Numba's decorator, with the type that it has not itself."""

Function = TypeVar("Function", bound=Callable[..., Any])


# No C function is made of a function that only compiled code calls.
INNER: dict[str, Any] = {**OPTIONS, "no_cfunc_wrapper": True, "pipeline_class": PartCompiler}


def inner(function: Function) -> Function:
    """Let other compiled functions call this one."""
    decorated: Function = register_jitable(**INNER)(function)
    return decorated


def inlined(function: Function) -> Function:
    """Let other compiled functions call this one, and have it compiled into each of them."""
    decorated: Function = register_jitable(forceinline=True, **INNER)(function)
    return decorated
