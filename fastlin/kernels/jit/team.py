"""The threads of a call: how they are started, and which slices of the features each works on.

Starting threads takes as long as a phase of a step, so one ``prange`` starts those of a whole run,
and they meet at a barrier of ours (:mod:`.barrier`). It needs all threads at once, which no
threading layer promises: if not all come soon, one of them does the whole work. Bits do not depend
on the number of threads.
"""

from __future__ import annotations

from numba import njit, prange

from fastlin.kernels.jit.barrier import all_came, first_to_give_up
from fastlin.kernels.jit.memory import call_kernel
from fastlin.kernels.jit.options import OPTIONS, inner


@njit(parallel=True, **OPTIONS)  # type: ignore[untyped-decorator]  # numba is untyped
def start_threads(kernel: int, data: int, n_threads: int) -> None:
    """Let each thread run a kernel."""
    for thread in prange(n_threads):
        call_kernel(kernel, data, thread, n_threads)


def launch(kernel: int, data: int, n_threads: int) -> None:
    """Run a kernel on several threads; compiled, it is a kernel's kind of function itself."""
    start_threads(kernel, data, n_threads)


@inner
def place_in_team(barrier: int, thread: int, n_threads: int) -> tuple[int, int]:
    """Wait for the other threads; return this one's number and how many work together.

    0 threads: nothing is left to do for this one. That is so if the layer runs the threads one
    after the other: the first that gave up waiting does all the work.
    """
    if n_threads == 1 or all_came(barrier, n_threads):
        return thread, n_threads
    return 0, 1 if first_to_give_up(barrier) else 0


@inner
def slices_of(n_slices: int, thread: int, n_threads: int) -> tuple[int, int, int, int]:
    """Return a thread's first slice and stop, its part of them, and the number of parts.

    It has whole slices, in one part, unless there are more threads than slices.
    """
    first = n_slices * thread // n_threads
    if n_threads <= n_slices:
        return first, n_slices * (thread + 1) // n_threads, 0, 1
    of_first = (first * n_threads + n_slices - 1) // n_slices
    of_next = ((first + 1) * n_threads + n_slices - 1) // n_slices
    return first, first + 1, thread - of_first, of_next - of_first
