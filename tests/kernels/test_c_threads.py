"""The C backend's teams of threads, which serve only their call and end with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from agreement import all_bits
from problems import make_problem, make_sparse_problem

import fastlin
from fastlin.kernels import load_backend

TESTS = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not load_backend("c").available, reason="backend 'c' is not available"
)
TASKS = Path("/proc/self/task")


def test_it_says_what_starts_its_threads() -> None:
    assert load_backend("c").threading_layer == "pthreads"


def test_the_library_needs_no_openmp() -> None:
    (library,) = Path(fastlin.__file__).parent.glob("_native*.so")
    assert b"gomp" not in library.read_bytes().lower()


@pytest.mark.skipif(not TASKS.is_dir(), reason="this system does not list threads")
def test_no_thread_outlives_a_call() -> None:
    code = """
import pathlib, time
from agreement import all_bits
from fastlin.kernels import get_backend
from problems import make_problem, make_sparse_problem
tasks = lambda: {path.name for path in pathlib.Path("/proc/self/task").iterdir()}
backend = get_backend("c")
for problem in (
    make_problem(3000, 784, 10, "uint8", "float32"),
    make_problem(3000, 784, 10, "float32", "float32"),
    make_sparse_problem(3000, 300, 10, "float64"),
):
    all_bits(backend, problem, 1)  # after which other libraries have started their threads
    before = tasks()
    all_bits(backend, problem, 4)
    # A thread that was joined is still listed for a moment, on a busy machine a long one.
    for _ in range(5000):
        if tasks() <= before:
            break
        time.sleep(0.002)
    assert tasks() <= before
"""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr


def test_signals_reach_the_main_thread_of_python() -> None:
    """A thread of a team blocks signals; otherwise the system may deliver them there."""
    masks: set[tuple[int, ...]] = set()
    stop = threading.Event()

    def watch() -> None:
        ours = {thread.native_id for thread in threading.enumerate()}
        known = {int(path.name) for path in TASKS.iterdir()} | ours
        while not stop.is_set():
            for path in TASKS.iterdir():
                if int(path.name) not in known:
                    masks.update(blocked(path))

    def blocked(task: Path) -> list[tuple[int, ...]]:
        try:
            lines = (task / "status").read_text().splitlines()
        except OSError:  # it has ended
            return []
        fields = dict(line.split(":", maxsplit=1) for line in lines)
        if int(fields["Threads"]) == 0:  # it is ending: Linux then shows empty sets of signals
            return []
        mask = int(fields["SigBlk"], 16)
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM, signal.SIGSEGV)
        return [tuple(number for number in signals if mask >> (number - 1) & 1)]

    if not TASKS.is_dir():
        pytest.skip("this system does not list threads")
    watcher = threading.Thread(target=watch)
    wanted = signal.SIGINT, signal.SIGTERM, signal.SIGALRM
    problem = make_problem(20_000, 784, 10, "float64", "float64")
    weights, intercept = problem.model
    backend = load_backend("c")
    watcher.start()
    try:
        for _ in range(500):
            backend.loss_gradient(problem.samples, weights, intercept, 3)
            if wanted in masks:
                break
    finally:
        stop.set()
        watcher.join(timeout=60)
    assert wanted in masks
    # While a thread begins, the C library blocks all signals for a moment.
    assert all(set(mask) >= set(wanted) for mask in masks)


@pytest.mark.parametrize("n_threads", [2, 7, 64, 10**6])
def test_the_same_bits_with_many_more_threads_than_cores(n_threads: int) -> None:
    backend = load_backend("c")
    dense = make_problem(2000, 784, 10, "float32", "float32", weighted=True, shifted=True)
    sparse = make_sparse_problem(3000, 300, 20, "float32", weighted=True)
    for problem in (dense, sparse):
        assert all_bits(backend, problem, n_threads) == all_bits(backend, problem, 1)
