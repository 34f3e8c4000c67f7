"""Forked children train, whatever parallel code their parents have run, and before any import."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from processes import first_of

from fastlin.kernels import load_backend

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")

FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")

def train():
    import numpy as np
    import fastlin
    X = np.random.default_rng(0).standard_normal((3000, 784)).astype(np.float32)
    model = fastlin.LogisticRegression(backend=sys.argv[1], max_epochs=1, n_threads=2)
    return model.fit(X, np.arange(3000) % 10)

def in_a_forked_child(call):
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        call()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0, os.waitstatus_to_exitcode(status)
"""
NUMBA_CODE = """
import numba
import numpy as np

@numba.njit(parallel=True)
def total(values):
    result = 0.0
    for i in numba.prange(values.size):
        result += values[i]
    return result

assert total(np.ones(100_000)) == 100_000
"""
SKLEARN_CODE = """
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
HistGradientBoostingClassifier(max_iter=2).fit(*make_classification(300, random_state=0))
"""
# GNU OpenMP under its own name, as in libraries of a Linux distribution; Numba shares it.
GNU_CODE = """
import ctypes
gomp = ctypes.CDLL("libgomp.so.1")
WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
work = WORK(lambda _: None)
gomp.GOMP_parallel(work, None, 2, 0)
"""
PARENTS = {
    "nothing": "",
    "Numba": NUMBA_CODE,
    "scikit-learn": SKLEARN_CODE,
    "GNU OpenMP": GNU_CODE,
    "fastlin": "train()",
}
ONE = "it trains on one"


def run(code: str, backend: str) -> str:
    """Run code in a process of its own; return what it logged."""
    if not load_backend(backend).available:
        pytest.skip(f"backend {backend!r} is not available")
    if "libgomp.so.1" in code:
        ctypes_code = "import ctypes; ctypes.CDLL('libgomp.so.1')"
        if subprocess.run([sys.executable, "-c", ctypes_code], capture_output=True).returncode:
            pytest.skip("there is no GNU OpenMP")
    done = subprocess.run(
        [sys.executable, "-c", FORK + code, backend],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "NUMBA_NUM_THREADS": "2"},
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    "imported", first_of(1, [False, True]), ids=["import later", "imported before"]
)
@pytest.mark.parametrize("parent", PARENTS)
@pytest.mark.parametrize("backend", ["numba", "c"])
def test_a_forked_child_trains(backend: str, parent: str, imported: bool) -> None:
    code = "import fastlin, fastlin.estimator, fastlin.kernels.threads\n" if imported else ""
    logged = run(code + PARENTS[parent] + "\nin_a_forked_child(train)\n", backend)
    if backend == "c":
        assert ONE not in logged
    elif parent in ("Numba", "GNU OpenMP", "fastlin"):
        assert logged.count(ONE) == 1
    elif parent == "nothing":
        assert ONE not in logged, "nobody had started threads that the child lacks"


def test_a_child_of_a_child_trains() -> None:
    code = NUMBA_CODE + "in_a_forked_child(lambda: in_a_forked_child(train))\n"
    assert run(code, "numba").count(ONE) == 1


def test_a_child_that_has_become_another_program_has_its_threads() -> None:
    code = NUMBA_CODE + (
        "import subprocess\n"
        "subprocess.run([sys.executable, '-c', 'import fastlin.kernels.threads as t;"
        " assert not t._was_forked(); assert t.safe_n_threads(2) == 2'], check=True)\n"
    )
    assert ONE not in run(code, "numba")


def test_workers_of_a_pool_train() -> None:
    code = NUMBA_CODE + (
        "import multiprocessing\n"
        "def classes(_):\n"
        "    return train().classes_.tolist()\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    found = pool.map_async(classes, range(4)).get(timeout=200)\n"
        "assert found == 4 * [list(range(10))]\n"
    )
    run(code, "numba")
