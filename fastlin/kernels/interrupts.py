"""Lets Ctrl-C take effect at once, even while compiled code runs.

Python handles signals on its main thread, between two of its own instructions, so never while that
thread is inside a kernel, which may work on gigabytes. Therefore a long call from the main thread
runs on another thread. The main thread waits; a signal interrupts it, and it tells the kernel to
stop. Kernels check a word in memory, :func:`stop_word`, every so many rows. Their unfinished
results are discarded.

The duration of a call is estimated from that of the latest similar call, so calls of a few
milliseconds stay on their thread.
"""

from __future__ import annotations

import contextvars
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

LONG = 0.2
"""Calls of at least so many seconds run on another thread, whose start takes about 0.0001 s."""

PATIENCE = 0.5
"""Seconds to wait for a kernel to stop; code that cannot, such as a compiler, runs to its end."""

QUICK_PRODUCTS = 10_000_000
"""A call of fewer products is always short."""

UNKNOWN_PACE = 2e-9
"""Assumed seconds for each product of a first call: many, so that it can be interrupted too."""

THREAD_NAME = "fastlin kernel"

_NEVER = np.zeros(1, np.int32)
_of_thread = threading.local()
_pace: dict[Any, float] = {}


def stop_word() -> NDArray[np.int32]:
    """Return the word, ``(1,)``, which is not 0 if kernels of this thread must stop."""
    word: NDArray[np.int32] = getattr(_of_thread, "stop", _NEVER)
    return word


def interruptible(kernel: Callable[P, R]) -> Callable[P, R]:
    """Return a kernel that stops if a signal handler raises an exception, as at Ctrl-C."""

    @functools.wraps(kernel)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        products, kind = _work(arguments)
        if products < QUICK_PRODUCTS:
            return kernel(*arguments, **options)
        key = kernel, kind
        run = functools.partial(kernel, *arguments, **options)
        started = time.perf_counter()
        is_long = products * _pace.get(key, UNKNOWN_PACE) > LONG
        if is_long and threading.current_thread() is threading.main_thread():
            result = call_beside(run)
        else:
            result = run()
        _pace[key] = (time.perf_counter() - started) / products
        return result

    return call


def _work(arguments: tuple[Any, ...]) -> tuple[float, Any]:
    """Return the number of products of a call, and a key of what their speed depends on."""
    samples, second, third = arguments[:3]
    steps = hasattr(third, "weights")  # order and parameters; else weights and intercept
    n_rows, weights = (len(second), third.weights) if steps else (len(samples.rows), second)
    k, d = weights.shape
    rows = samples.rows
    kind: tuple[Any, ...] = (steps, k, d, weights.dtype.str, rows.dtype.str, type(rows))
    if steps:
        kind = (*kind, arguments[3].batch_size)
    return n_rows * rows.products_of_a_row * k, kind


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block all signals but those of faults in a thread that is started in this context.

    A thread inherits the blocked signals. Without this, the system might deliver a signal to it,
    and the waiting main thread would not wake up.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    faults = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - faults)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def call_beside(run: Callable[[], R]) -> R:
    """Call a function on a new thread, and wait for it on this one, which receives the signals.

    If a signal handler raises an exception, :func:`stop_word` tells the function to stop.
    """
    stop = np.zeros(1, np.int32)
    finished = threading.Event()
    results: list[R] = []
    errors: list[BaseException] = []
    context, faults = contextvars.copy_context(), np.geterr()

    def work() -> None:
        _of_thread.stop = stop
        try:
            with np.errstate(**faults):
                results.append(context.run(run))
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    thread = threading.Thread(target=work, name=THREAD_NAME, daemon=True)
    try:
        try:
            with _signals_blocked():
                thread.start()
        except RuntimeError:  # the system allows no more threads
            return run()
        finished.wait()
    except BaseException:
        stop[0] = 1
        finished.wait(PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]
