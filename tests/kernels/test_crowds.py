"""Teams of more threads than cores, two at once: what a thread reads before it may, they show.

A thread then loses its core at any moment, in the middle of what others must wait for. Where the
threads wrote each other's row weights while others read them, one call in forty was wrong here.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from agreement import all_bits
from problems import Problem, make_problem, make_sparse_problem
from processes import THOROUGH

from fastlin.kernels import get_backend, load_backend

N_THREADS = 4
RARE = "threads share residuals"
"""Where what was wrong once was so in one call of forty; elsewhere it would be in every call."""

dense = partial(make_problem, weighted=True, shifted=True)
PROBLEMS = {
    RARE: partial(dense, 333, 200, 70, "uint8", "float32"),
    "vectors hold classes": partial(dense, 333, 200, 80, "float32", "float32"),
    "vectors hold classes, one slice": partial(dense, 333, 200, 64, "uint8", "float64"),
    "vectors hold many classes": partial(dense, 300, 64, 1000, "float32", "float32"),
    "threads share slices": partial(dense, 300, 784, 10, "uint8", "float32"),
    "every thread has slices": partial(dense, 200, 5000, 10, "uint8", "float32"),
    "sparse, threads share slices": partial(
        make_sparse_problem, 333, 200, 20, "float32", weighted=True
    ),
    "sparse, every thread has slices": partial(
        make_sparse_problem, 333, 3000, 20, "float32", weighted=True
    ),
}


def check_bits(name: str) -> None:
    """Compare the bits of crowds with those of one thread; run with that many Numba threads."""
    backend = get_backend(name)
    for kind, make in PROBLEMS.items():
        problem = make()
        right, n_calls = all_bits(backend, problem, 1), 80 if kind == RARE else 15
        n_calls = n_calls if THOROUGH else n_calls // 2

        def n_wrong(
            _: int, problem: Problem = problem, right: bytes = right, n_calls: int = n_calls
        ) -> int:
            return sum(all_bits(backend, problem, N_THREADS) != right for _ in range(n_calls))

        with ThreadPoolExecutor(2) as crowds:
            counts = list(crowds.map(n_wrong, range(2)))
        assert counts == [0, 0], f"{kind}: {sum(counts)} of {2 * n_calls} calls were wrong"


@pytest.mark.parametrize("name", ["numba", "c"])
def test_crowds_of_threads_give_the_bits_of_one(name: str) -> None:
    if not load_backend(name).available:
        pytest.skip(f"backend {name!r} is not available")
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", f"import test_crowds; test_crowds.check_bits({name!r})"],
        env={**os.environ, "NUMBA_NUM_THREADS": str(N_THREADS), "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
