"""Times calls in turn, round after round, so that noise hits all of them alike."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError

# OpenBLAS lets its idle threads spin for 2**26 clock ticks, about 25 ms, and OpenMP
# runtimes for a few: the next contestant must not share its cores with them.
SETTLE_SECONDS = 0.05
# After the pause, threads sleep and caches are cold. A call shorter than this is
# made once untimed first; for a longer one, waking up takes a negligible fraction.
REWARM_BELOW_SECONDS = 0.25
# A run of a tenth of a millisecond varies with every interrupt. Short runs are repeated
# for so long, resets included, and their median is taken.
REPEAT_SECONDS = 0.02


@dataclass(frozen=True)
class Timed:
    """Something to time.

    Attributes
    ----------
    reset : callable
        Restores the starting state; untimed.
    run : callable
        The work.
    """

    reset: Callable[[], None]
    run: Callable[[], None]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a sample, in the sample's unit."""

    median: float
    lower_quartile: float
    upper_quartile: float

    @classmethod
    def of(cls, sample: NDArray[np.float64]) -> Spread:
        """Summarise a sample of at least one number."""
        lower, median, upper = np.quantile(sample, (0.25, 0.5, 0.75))
        return cls(float(median), float(lower), float(upper))


def time_once(timed: Timed) -> float:
    """Reset, run once, and return the seconds that the run took."""
    timed.reset()
    start = time.perf_counter()
    timed.run()
    return time.perf_counter() - start


def time_repeatedly(timed: Timed) -> float:
    """Return the seconds of a run, the median of as many as fit into :data:`REPEAT_SECONDS`."""
    end = time.perf_counter() + REPEAT_SECONDS
    seconds = [time_once(timed)]
    while time.perf_counter() < end:
        seconds.append(time_once(timed))
    return float(np.median(seconds))


def fastest_of(timed: Timed, calls: int = 3) -> float:
    """Return the least seconds of a few calls, the first one (warm-up) left out."""
    time_once(timed)
    time.sleep(SETTLE_SECONDS)
    return min(time_repeatedly(timed) for _ in range(calls))


def interleaved_rounds(
    contestants: Mapping[str, Timed],
    rounds: int,
    *,
    settle_seconds: float = SETTLE_SECONDS,
) -> dict[str, NDArray[np.float64]]:
    """Time every contestant in each round: A B C, A B C, ...

    If a run is so short that it is repeated within a round, all of them count as one.

    Parameters
    ----------
    contestants : mapping of name to Timed
    rounds : int
        At least 1. One more round goes before them and is dropped (warm-up).
    settle_seconds : float
        Pause before each contestant, in which the previous one's threads go to sleep.

    Returns
    -------
    dict of name to (rounds,) float64
        Seconds. Equal positions were measured next to each other, so
        ``seconds[a] / seconds[b]`` is a ratio that slow drifts cancel from.
    """
    if rounds < 1:
        raise InputError(f"rounds must be at least 1, got {rounds}; 10 or more give a spread")
    seconds = {name: np.empty(rounds) for name in contestants}
    latest = {name: time_once(timed) for name, timed in contestants.items()}
    collecting = gc.isenabled()
    gc.disable()
    try:
        for position in range(rounds):
            for name, timed in contestants.items():
                time.sleep(settle_seconds)
                if latest[name] < REWARM_BELOW_SECONDS:
                    time_once(timed)
                latest[name] = seconds[name][position] = time_repeatedly(timed)
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return seconds


def available_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def pinned_to_cores(n_threads: int) -> Iterator[None]:
    """Keep this process, with every thread it has or starts, on ``n_threads`` cores.

    Some peers (XLA) size their thread pool once, by the cores they may use when
    they are first imported; enter this before importing them. If the operating
    system has no affinity call, or if more threads than cores are wanted,
    nothing is pinned.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    allowed = os.sched_getaffinity(0)
    _set_affinity_of_all_threads(set(sorted(allowed)[:n_threads]))
    try:
        yield
    finally:
        _set_affinity_of_all_threads(allowed)


def _set_affinity_of_all_threads(cores: set[int]) -> None:
    threads = [int(entry.name) for entry in Path("/proc/self/task").iterdir()]
    for thread in threads:
        try:
            os.sched_setaffinity(thread, cores)
        except ProcessLookupError:  # the thread ended since it was listed
            continue
