"""How a kernel of the Numba backend is started: on which vectors and how many threads."""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numba

from fastlin.kernels.jit import compiled, processor, team
from fastlin.kernels.jit.call_memory import address_of_array
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.matrix_unit import detection
from fastlin.kernels.threads import note_started_threads

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

SPIN_COUNT = "2000"
"""Times that a waiting thread looks again before it sleeps, some 50 microseconds."""

# A kernel's signature. Other Python threads go on while the machine code runs.
_CODE = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)

_workqueue = threading.Lock()


@functools.cache
def instruction_set() -> str:
    """Return which vectors LLVM may use here: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Or ``"amx"``, a matrix unit beside the vectors of AVX-512.
    """
    found = processor.features()
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= found:
        has_unit = found >= detection.FEATURES and detection.wanted()
        return "amx" if has_unit and detection.permitted() else "avx512"
    return "avx2" if {"avx2", "fma"} <= found else "baseline"


def threading_layer() -> str:
    """Return the layer that starts Numba's threads: ``"omp"``, ``"tbb"`` or ``"workqueue"``."""
    # GNU OpenMP reads this when it is loaded, which is now. Its threads wait by spinning for
    # milliseconds; on a busy machine the one they wait for then finds no free core.
    ours = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ["GOMP_SPINCOUNT"] = SPIN_COUNT
    try:
        numba.get_num_threads()  # at the latest now Numba chooses the layer, and starts it
        note_started_threads()
        return str(numba.threading_layer())
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]


def start(body: Any, kind: Kind, arguments: NDArray[np.int64], n_threads: int) -> None:
    """Run a kernel on that many threads; ``arguments``: the words that it reads."""
    kernel = compiled.address_of(body, kind)
    if n_threads == 1:  # nothing is launched: right also in a forked child
        _CODE(kernel)(address_of_array(arguments), 0, 1)
        return
    launch = compiled.address_of(team.launch)
    with _threads(n_threads):
        _CODE(launch)(kernel, arguments.ctypes.data, n_threads)


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let Numba use that many threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(n_threads)
    try:
        if numba.threading_layer() == "workqueue":
            # Numba ends the process if two threads are in this layer at once.
            with _workqueue:
                yield
        else:
            yield
    finally:
        numba.set_num_threads(before)
