"""When threads may be started: not in a child that was forked from a process with threads.

GNU OpenMP keeps its threads from one call to the next, and a forked child inherits the record of
them without the threads: it would wait for them for ever, or be ended by the runtime. Since the
bits do not depend on the number of threads, such a child simply trains on one.
"""

from __future__ import annotations

import logging
import os

_state = {"threads_started": False, "forked": False, "told": False}


def safe_n_threads(n_threads: int) -> int:
    """Return how many threads a kernel may use here, and note that it does."""
    if _state["forked"]:
        if n_threads > 1 and not _state["told"]:
            _state["told"] = True
            logging.getLogger("fastlin").warning(
                "this process was forked from one that had started several threads, so it "
                "trains on one; start workers with the 'spawn' or 'loky' method to use more"
            )
        return 1
    if n_threads > 1:
        note_started_threads()
    return n_threads


def note_started_threads() -> None:
    """Note that a library has started its threads, whether or not a kernel has used them yet."""
    _state["threads_started"] = True


def _after_fork_in_child() -> None:
    _state["forked"] = _state["forked"] or _state["threads_started"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
