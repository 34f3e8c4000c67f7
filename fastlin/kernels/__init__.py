"""Backends: three sets of the same kernels.

=========  =======================================  ==========================
name       module                                   what it is
=========  =======================================  ==========================
``numba``  :mod:`fastlin.kernels.jit.backend`       ``@njit(parallel=True)``
``c``      :mod:`fastlin.kernels.native`            C through cffi
``numpy``  :mod:`fastlin.kernels.reference`         the specification
=========  =======================================  ==========================

There is no current backend: a caller looks one up (:mod:`fastlin.kernels.table`) and passes it on.
"""

from __future__ import annotations

from fastlin.kernels.arguments import CsrRows, DenseRows, Parameters, Rows, Samples, StepOptions
from fastlin.kernels.record import KERNEL_NAMES, Backend
from fastlin.kernels.table import BACKEND_NAMES, backends, find_backend, get_backend, load_backend
from fastlin.kernels.thread_limits import default_n_threads

__all__ = [
    "BACKEND_NAMES",
    "KERNEL_NAMES",
    "Backend",
    "CsrRows",
    "DenseRows",
    "Parameters",
    "Rows",
    "Samples",
    "StepOptions",
    "backends",
    "default_n_threads",
    "find_backend",
    "get_backend",
    "load_backend",
]
