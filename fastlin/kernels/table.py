"""The table of backends, which finds them by name."""

from __future__ import annotations

import functools
import logging
import os
from dataclasses import replace
from typing import Any

from fastlin.errors import BackendUnavailableError, InputError
from fastlin.kernels.jit import numba_environment
from fastlin.kernels.record import Backend
from fastlin.kernels.thread_limits import default_n_threads

BACKEND_NAMES = ("numba", "c", "numpy")
"""All backends, in the order in which ``"auto"`` tries them."""


@functools.cache
def load_backend(name: str) -> Backend:
    """Return the record of one backend, with as many threads as it can use; made on first use."""
    if name == "numba":
        fault = numba_environment.fault()
        if fault:
            variable = fault.partition(" ")[0].partition("=")[0]
            return Backend(name="numba", reason=fault, remedy=f"unset {variable}")
        try:
            from fastlin.kernels.jit.backend import load
        except Exception as error:  # its import fails in many ways, for example with a wrong NumPy
            remedy = "install a numba that fits this NumPy with: pip install --upgrade numba"
            if any(variable.startswith("NUMBA_") for variable in os.environ):
                remedy = f"unset the variables NUMBA_*, or {remedy}"
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return Backend(
                name="numba", reason=f"numba cannot be imported ({lines[0]})", remedy=remedy
            )
    elif name == "c":
        from fastlin.kernels.native import load
    else:
        from fastlin.kernels.numpy_backend import load
    return load()


@functools.cache
def _tell_fallback(taken: str) -> None:
    """Log, once, why ``"auto"`` does not take the first backend."""
    first = load_backend(BACKEND_NAMES[0])
    if taken != first.name:
        logging.getLogger("fastlin").warning(
            "backend 'auto' takes %r, since %r is not available: %s; %s",
            taken,
            first.name,
            first.reason,
            first.remedy,
        )


def backends() -> dict[str, Backend]:
    """Return the record of every backend, available or not, by name.

    Returns
    -------
    dict of str to Backend
        In the order in which ``"auto"`` tries them.

    Examples
    --------
    >>> import fastlin
    >>> list(fastlin.backends())
    ['numba', 'c', 'numpy']
    >>> fastlin.backends()["numpy"].available
    True
    """
    return {name: _limited(load_backend(name)) for name in BACKEND_NAMES}


def _limited(backend: Backend) -> Backend:
    """Return a record with the current default number of threads."""
    return replace(backend, n_threads=min(backend.n_threads, default_n_threads()))


def get_backend(name: Any = "auto") -> Backend:
    """Return the backend called ``name``; ``"auto"`` is the first that is available.

    Raises
    ------
    InputError
        ``name`` is not a backend.
    BackendUnavailableError
        The backend cannot run here. Only ``"auto"`` falls back to another.
    """
    return _limited(find_backend(name))


def find_backend(name: Any) -> Backend:
    """Return what :func:`get_backend` does, without asking for limits on the number of threads.

    To ask takes longer than a prediction of one row.
    """
    if name == "auto":
        for candidate in BACKEND_NAMES:
            if load_backend(candidate).available:
                _tell_fallback(candidate)
                return load_backend(candidate)
    if name not in BACKEND_NAMES:
        expected = ", ".join(repr(known) for known in ("auto", *BACKEND_NAMES))
        raise InputError(f"backend {name!r} is unknown; choose one of {expected}")
    backend = load_backend(name)
    if not backend.available:
        raise BackendUnavailableError(
            f"backend {name!r} is not available: {backend.reason}; {backend.remedy}, "
            "or choose backend 'auto'"
        )
    return backend
