"""The Numba backend: kernels for dense and for sparse rows, or why there are none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

import numba

from fastlin.kernels.arguments import CsrRows, DenseRows
from fastlin.kernels.interrupts import interruptible
from fastlin.kernels.jit import compiled, dense_rows, team
from fastlin.kernels.jit.launch import instruction_set, threading_layer
from fastlin.kernels.jit.sparse import kernels as sparse
from fastlin.kernels.record import Backend, by_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastlin.kernels.arguments import Samples

P = ParamSpec("P")
R = TypeVar("R")


def load() -> Backend:
    """Return the Numba backend, or why there is none."""
    if numba.config.DISABLE_JIT:
        return Backend(
            name="numba",
            reason="NUMBA_DISABLE_JIT is set, so Numba compiles nothing",
            remedy="unset NUMBA_DISABLE_JIT",
        )
    try:
        layer = threading_layer()
    except Exception as error:  # whatever Numba raises for a layer that is missing or unknown
        return Backend(
            name="numba",
            reason=f"Numba starts no threads ({_first_line(error)})",
            remedy="unset NUMBA_THREADING_LAYER and NUMBA_THREADING_LAYER_PRIORITY, or set the "
            "first to omp",
        )
    try:
        compiled.address_of(team.launch)
    except Exception as error:  # Numba and LLVM raise errors of many types
        return Backend(
            name="numba",
            reason=f"Numba cannot compile kernels here ({_first_line(error)})",
            remedy="unset the variables NUMBA_* or install the versions of numba and llvmlite that "
            "fastlin declares, with: pip install --force-reinstall fastlin",
        )
    return Backend(
        name="numba",
        version=numba.__version__,
        n_threads=numba.config.NUMBA_NUM_THREADS,
        threading_layer=layer,
        instruction_set=instruction_set(),
        sgd_steps=_for_all_rows(dense_rows.sgd_steps, sparse.sgd_steps),
        loss_gradient=_for_all_rows(dense_rows.loss_gradient, sparse.loss_gradient),
        score=_for_all_rows(dense_rows.score, sparse.score),
        logits=_for_all_rows(dense_rows.logits, sparse.logits),
    )


def _for_all_rows(
    of_dense: Callable[Concatenate[Samples, P], R], of_sparse: Callable[Concatenate[Samples, P], R]
) -> Callable[Concatenate[Samples, P], R]:
    """Return one kernel for rows of either form, which hears Ctrl-C."""
    return interruptible(by_rows({DenseRows: of_dense, CsrRows: of_sparse}))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip(" .:") if lines else type(error).__name__
