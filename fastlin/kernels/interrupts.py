"""Ctrl-C is answered at once, also while compiled code runs.

Python handles signals on its main thread, between two of its own instructions: never while that
thread is inside a kernel, which may work on gigabytes. So a call from the main thread that will
take long is made on another thread; the main one waits, which a signal interrupts, and then tells
the kernel to leave off. Kernels look at a word in memory, :func:`stop_word`, once in some rows.
What they have written by then is worth nothing, and whoever catches the exception does not get it.

How long a call will take is estimated by the pace of the last one of its kind, so calls of some
milliseconds never leave their thread.
"""

from __future__ import annotations

import contextvars
import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

LONG = 0.2
"""Seconds from which on a call is made on another thread; one costs some 0.0001."""

PATIENCE = 0.5
"""Seconds for a kernel to leave off. What cannot, such as a compiler, ends by itself some day."""

QUICK_PRODUCTS = 10_000_000
"""Products of a call that never takes long."""

UNKNOWN_PACE = 2e-9
"""Seconds of a product before one was measured: slow, so that the first call is answered too."""

THREAD_NAME = "fastlin kernel"

_NEVER = np.zeros(1, np.int32)
_of_thread = threading.local()
_pace: dict[Any, float] = {}


def stop_word() -> NDArray[np.int32]:
    """Return the word, ``(1,)``, that is not 0 where kernels of this thread shall leave off."""
    word: NDArray[np.int32] = getattr(_of_thread, "stop", _NEVER)
    return word


def interruptible(kernel: Callable[P, R]) -> Callable[P, R]:
    """Return a kernel that a signal's handler can end by raising, as Ctrl-C's does."""

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
    """Return the products of a call and what its pace depends on; see the kernels' contracts."""
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
    """Let a thread that is started here hear no signals but those that tell of a fault in it.

    A thread inherits what is blocked. The system may deliver a signal to any that does not block
    it, and the main thread, which waits, would not wake up.
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
    """Call something on a thread of its own, and wait for it where signals are heard.

    Where a signal's handler raises, :func:`stop_word` tells the call to leave off.
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
        except RuntimeError:  # the system gives no more threads
            return run()
        finished.wait()
    except BaseException:
        stop[0] = 1
        finished.wait(PATIENCE)
        raise
    if errors:
        raise errors[0]
    return results[0]
