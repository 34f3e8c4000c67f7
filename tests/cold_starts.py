"""Processes that compile the same kernels at once, or are killed while they do.

A command for tests: ``python cold_starts.py crowd N TASK...`` solves tasks in N processes at once
and prints what ``hunt.py --fit`` does; ``python cold_starts.py kill N SEED TASK...`` kills N, one
after the other, and prints how long each lived.

All are forked from one process that has imported what they need and started nothing, so that what
they do from the start on is compiling, in the cache that ``NUMBA_CACHE_DIR`` says.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hunt

PEEK = os.WEXITED | os.WNOHANG | os.WNOWAIT
"""Whether a child has ended, which stays to be waited for."""


def start(work: Callable[[], object]) -> int:
    """Return the id of a process that does some work and ends."""
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        code = 70
        try:
            code = int(bool(work()))
        finally:
            sys.stdout.flush()
            os._exit(code)
    return process


def crowd(n: int, words: list[str]) -> int:
    """Solve the same tasks in processes that start at the same time."""
    processes = [start(lambda: hunt.run_tasks(words)) for _ in range(n)]
    return max(abs(os.waitstatus_to_exitcode(os.waitpid(one, 0)[1])) for one in processes)


def spent(process: int) -> float:
    """Return the seconds that a child has computed so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def kill(n: int, seed: int, words: list[str]) -> int:
    """Kill processes that solve tasks, at moments drawn from the time that this takes.

    Time is what they have computed, since on a busy machine they also wait.
    """
    generator = random.Random(seed)
    cache = Path(os.environ["NUMBA_CACHE_DIR"])

    def solve() -> None:
        for word in words:
            hunt.fit(hunt.Task.read(word), "numba")

    def solve_elsewhere() -> None:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NUMBA_CACHE_DIR"] = folder
            solve()

    _, status, usage = os.wait4(start(solve_elsewhere), 0)
    assert status == 0
    cold = usage.ru_utime + usage.ru_stime
    killed = 0
    while killed < n:
        # The first find an empty cache; the others lack two kernels, and most die in the first.
        indices = sorted(cache.rglob("*.nbi"))
        for index in indices if killed < 5 else generator.sample(indices, min(2, len(indices))):
            index.unlink()
        seconds = generator.uniform(0, cold if killed < 5 else cold / 5)
        process = start(solve)
        # A child that has ended stays, with the time that it took, until it is waited for.
        while spent(process) < seconds and os.waitid(os.P_PID, process, PEEK) is None:
            time.sleep(generator.uniform(0, 0.004))
        os.kill(process, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(process, 0)[1]):
            killed += 1
            print(f"{seconds:.3f} of {cold:.3f}")
    return 0


def main() -> int:
    hunt.import_all()
    action, n, *rest = sys.argv[1:]
    if action == "crowd":
        return crowd(int(n), rest)
    return kill(int(n), int(rest[0]), rest[1:])


if __name__ == "__main__":
    sys.exit(main())
