"""When Numba's threads may be started, and how many.

GNU OpenMP, which starts them, keeps its threads from one call to the next. A forked child inherits
the record of these threads but not the threads: it would wait for them forever, or Numba would end
it. And if the system does not allow more threads, GNU OpenMP ends the process. The bits do not
depend on the number of threads, so in both cases a kernel runs on fewer. (The C backend needs none
of this: it joins its threads at the end of each call, and uses as many as it gets.)
"""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

FORKED_AND_NOT_EXECUTED = 0x40
"""``PF_FORKNOEXEC`` of Linux, in the ninth field of ``/proc/PID/stat``."""

_state = {"threads_started": False, "forked": False}
_told: set[str] = set()
_proved = threading.local()  # OpenMP keeps separate threads for each thread that starts some


def safe_n_threads(n_threads: int) -> int:
    """Return how many of Numba's threads a kernel may use, and record that it uses them."""
    if n_threads <= 1:
        return 1
    if _state["forked"]:
        _tell(
            "this process was forked from one that had started several threads, so it trains on "
            "one; start workers with the 'spawn' or 'loky' method to use more"
        )
        return 1
    if n_threads > getattr(_proved, "n_threads", 1):
        possible = startable_threads(n_threads)
        if possible < n_threads:
            _tell(
                f"the system lets this process start no more than {possible} of {n_threads} "
                "threads, so it trains on that many; raise the limit (ulimit -u, or the pids limit "
                "of its container) to use more"
            )
            return possible
        _proved.n_threads = n_threads
    note_started_threads()
    return n_threads


def note_started_threads() -> None:
    """Record that a library has started its threads, whether or not a kernel has used them yet."""
    _state["threads_started"] = True


def startable_threads(n_threads: int) -> int:
    """Return how many threads can run, the calling one included, up to ``n_threads``.

    It starts them all at once, and returns after the system no longer counts them.
    """
    threads: list[threading.Thread] = []
    done = threading.Event()
    try:
        for _ in range(n_threads - 1):
            thread = threading.Thread(target=done.wait, daemon=True)
            thread.start()
            threads.append(thread)
    except RuntimeError:  # "can't start new thread"
        pass
    finally:
        done.set()
        for thread in threads:
            thread.join()
            _wait_for_end(thread)
    return 1 + len(threads)


def _wait_for_end(thread: threading.Thread) -> None:
    """Wait until the system no longer counts a thread, shortly after Python has joined it."""
    task = Path(f"/proc/self/task/{thread.native_id}")
    give_up = time.monotonic() + 1
    while task.exists() and time.monotonic() < give_up:
        time.sleep(0)


def map_in_threads(call: Callable[[Any], object], items: Iterable[Any], n_threads: int) -> None:
    """Call a function that releases the global interpreter lock for every item, in several threads.

    If the system does not allow more threads, the calling thread does everything.
    """
    items = list(items)
    n_threads = min(n_threads, len(items))
    if n_threads > 1 and startable_threads(n_threads + 1) == n_threads + 1:
        with ThreadPoolExecutor(n_threads) as threads:
            list(threads.map(call, items))
    else:
        for item in items:
            call(item)


def _tell(message: str) -> None:
    if message not in _told:
        _told.add(message)
        logging.getLogger("fastlin").warning(message)


# ------------------------------------------------------------------ forks


def _openmp_may_have_threads() -> bool:
    """Whether Numba, or the GNU OpenMP that it would use, may have started threads already."""
    numba = sys.modules.get("numba")
    if numba is not None and hasattr(numba, "threading_layer"):
        try:
            numba.threading_layer()
        except ValueError:  # no layer is chosen yet
            pass
        else:
            return True
    return _gnu_openmp_is_loaded() and not _had_one_thread_only()


def _gnu_openmp_is_loaded() -> bool:
    """Whether it is loaded under its own name or globally, unlike the private copies in wheels."""
    if not hasattr(os, "RTLD_NOLOAD"):
        return False
    try:
        if hasattr(ctypes.CDLL(None), "GOMP_parallel"):
            return True
        ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD)
    except OSError:
        return False
    return True


def _had_one_thread_only() -> bool:
    """Whether this process, and the process it was forked from, never had a second thread."""
    try:
        return bool(ctypes.c_char.in_dll(ctypes.CDLL(None), "__libc_single_threaded").value[0])
    except (OSError, ValueError):  # glibc has it from 2.32 on
        return False


def _was_forked() -> bool:
    """Whether this process was forked and has not executed another program, as Linux records."""
    try:
        fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        return bool(int(fields[6]) & FORKED_AND_NOT_EXECUTED)
    except (OSError, ValueError, IndexError):
        return False


def _after_fork_in_child() -> None:
    _proved.n_threads = 1
    started = _state["threads_started"] or _openmp_may_have_threads()
    _state["forked"] = _state["forked"] or started


# Detect a fork that happened before this module was imported.
if _was_forked():
    _after_fork_in_child()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
