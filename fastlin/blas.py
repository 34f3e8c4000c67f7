"""The threads of the BLAS libraries that NumPy and SciPy call."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from threadpoolctl import ThreadpoolController


@cache
def threadpools() -> ThreadpoolController:
    """Return the controller of the BLAS libraries' threads.

    It comes from one scan of all loaded libraries: NumPy's and SciPy's BLAS do not change after
    import.
    """
    import scipy.linalg  # noqa: F401  # loads the BLAS that SciPy and scikit-learn use
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _OneThread:
    """The shared limit: BLAS has one number of threads for the whole process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._within: list[int] = []  # Python threads, once for each time that they entered
        self._before: list[tuple[Any, int]] = []  # libraries, and their threads without the limit

    def enter(self) -> None:
        libraries = threadpools().select(user_api="blas").lib_controllers
        with self._lock:
            # The first thread records the numbers; later ones make sure that they are still 1.
            if not self._within:
                self._before = [(library, library.num_threads) for library in libraries]
            for library in libraries:
                _set_n_threads(library, 1)
            self._within.append(threading.get_ident())

    def leave(self) -> None:
        with self._lock:
            self._within.remove(threading.get_ident())
            if not self._within:
                self._restore()

    def _restore(self) -> None:
        for library, n_threads in self._before:
            _set_n_threads(library, n_threads)
        self._before = []

    def after_fork_in_child(self) -> None:
        """Forget the threads that the child lacks, including one that may have held the lock."""
        self._lock = threading.Lock()
        self._within = [thread for thread in self._within if thread == threading.get_ident()]
        if not self._within:
            self._restore()


def _set_n_threads(library: Any, n_threads: int | None) -> None:
    """Set the number of threads of a BLAS library, from any Python thread.

    In the latest threadpoolctl only the thread that first set OpenBLAS's number can set it again;
    for other threads this calls the library's own function.
    """
    if n_threads is None or library.num_threads == n_threads:
        return
    library.set_num_threads(n_threads)
    if library.num_threads != n_threads:
        getattr(library, "_real_set_num_threads", library.set_num_threads)(n_threads)


_one_thread = _OneThread()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_thread.after_fork_in_child)


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Return a context in which BLAS runs on the calling thread alone.

    The number of BLAS threads changes the order of sums, and so their last bits, and idle BLAS
    threads spin on cores that the kernels need. The number applies to the whole process: if fits
    run in several Python threads, the first one sets it, and the last one restores it.
    """
    _one_thread.enter()
    try:
        yield
    finally:
        _one_thread.leave()
