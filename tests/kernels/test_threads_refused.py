"""If the system lets a process start no more threads, it computes the same bits on fewer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastlin.kernels import load_backend

TESTS = Path(__file__).parents[1]

LIMIT = """
import os, resource, sys
import numpy as np
import fastlin, fastlin.estimator, fastlin.solvers.lbfgs, fastlin.solvers.curvature
from agreement import all_bits
from fastlin.kernels import get_backend
from problems import make_problem

NOBODY_ELSE_S = 54321

def allow(n_threads):
    '''From now on the process may have so many threads; root, who may have any, becomes a user.'''
    if os.geteuid() == 0:
        os.setuid(NOBODY_ELSE_S)
    resource.setrlimit(resource.RLIMIT_NPROC, (n_threads, n_threads))

backend = get_backend(sys.argv[1])
problem = make_problem(2000, 784, 10, "float32", "float32", weighted=True, shifted=True)
right = all_bits(backend, problem, 1)
"""


def run(code: str, backend: str) -> subprocess.CompletedProcess[str]:
    if not load_backend(backend).available:
        pytest.skip(f"backend {backend!r} is not available")
    # OpenBLAS starts threads when it is loaded and does not bear their lack.
    few = {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "4"}
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-c", LIMIT + code, backend],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONPATH": path, **few},
    )


COMPILED = pytest.mark.parametrize("backend", ["numba", "c"])


@COMPILED
def test_no_more_threads_give_one(backend: str) -> None:
    code = "allow(1)\nassert all_bits(backend, problem, 4) == right\n"
    done = run(code, backend)
    assert done.returncode == 0, done.stderr
    if backend == "numba":
        assert done.stderr.count("lets this process start no more than 1 of 4 threads") == 1


@COMPILED
@pytest.mark.skipif(os.geteuid() != 0, reason="another user may run any number of processes")
def test_some_more_threads_are_used(backend: str) -> None:
    code = "allow(3)\nassert all_bits(backend, problem, 4) == right\n"
    done = run(code, backend)
    assert done.returncode == 0, done.stderr
    if backend == "numba":
        # One of the three waits for Ctrl-C if the machine is so busy that the call takes long.
        found = re.findall(r"lets this process start no more than ([23]) of 4 threads", done.stderr)
        assert len(found) == 1, done.stderr


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_both_solvers_train(backend: str, solver: str) -> None:
    code = f"""
model = fastlin.LogisticRegression(
    solver={solver!r}, backend=sys.argv[1], max_epochs=3, n_threads=4, random_state=0, tol=1e-9
)
import warnings
warnings.simplefilter("ignore")
X, y = problem.samples.rows, problem.samples.labels
fits = [model.set_params(n_threads=1).fit(X, y).coef_.tobytes()]
allow(1)
fits.append(model.set_params(n_threads=4).fit(X, y).coef_.tobytes())
assert len(set(fits)) == 1
"""
    done = run(code, backend)
    assert done.returncode == 0, done.stderr
