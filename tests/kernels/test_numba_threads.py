"""The Numba backend's own threads: more than the cores, and a layer that runs them in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from agreement import all_bits, check
from cuts import every_thread_taken, slices
from problems import Problem, make_problem, make_sparse_problem

from fastlin.kernels import Backend, get_backend, load_backend, reference

pytestmark = pytest.mark.skipif(
    not load_backend("numba").available, reason="backend 'numba' is not available"
)


def gradients(backend: Backend, problem: Problem, n_threads: int) -> list[np.ndarray]:
    results = backend.loss_gradient(problem.samples, *problem.model, n_threads)
    return [np.asarray(result) for result in results]


def many_classes() -> Problem:
    """So many classes that the threads share the work on the residuals."""
    return make_problem(300, 784, 100, "uint8", "float32", weighted=True, shifted=True)


def sparse_rows(k: int) -> Problem:
    """So many stored values that the features come in slices, which some threads share."""
    return make_sparse_problem(333, 200, k, "float32", weighted=True)


def check_bits() -> None:
    """Compare the bits at many numbers of threads; run with that many threads of Numba's."""
    import numba

    assert numba.config.NUMBA_NUM_THREADS == 5
    backend = get_backend("numba")
    shapes = ((784, 10), (784, 5), (5000, 13))
    others = [make_problem(300, d, k, "uint8", "float32", shifted=True) for d, k in shapes]
    for problem in (many_classes(), *others, sparse_rows(20), sparse_rows(70)):
        alone = gradients(backend, problem, 1)
        right = reference.loss_gradient(problem.samples, *problem.model)
        np.testing.assert_allclose(alone[0], right[0], rtol=1e-5)
        np.testing.assert_allclose(alone[1], right[1], atol=1e-4 * np.abs(right[1]).max())
        for n_threads in (2, 3, 4, 5):
            assert all_bits(backend, problem, n_threads) == all_bits(backend, problem, 1)
    cuts = [(many_classes(), {"MANY_CLASSES": 101})]  # vectors hold features
    cuts += [(sparse_rows(20), slices(n)) for n in (1, 2, 4, 8)]
    for problem, constants in cuts:
        with every_thread_taken(**constants):
            alone = all_bits(backend, problem, 1)
            for n_threads in (2, 3, 4, 5):
                check(backend, problem, n_threads)
                assert all_bits(backend, problem, n_threads) == alone


def test_the_same_bits_with_more_threads_than_slices_of_the_features() -> None:
    environment = {**os.environ, "NUMBA_NUM_THREADS": "5", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = "import test_numba_threads; test_numba_threads.check_bits()"
    done = subprocess.run(
        [sys.executable, "-c", command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("problem", [many_classes(), sparse_rows(20)], ids=["dense", "sparse"])
def test_a_layer_that_runs_the_threads_in_turn_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, problem: Problem
) -> None:
    import numba

    from fastlin.kernels.jit import launch

    asked = []

    @contextmanager
    def only_one(n_threads: int) -> Iterator[None]:
        before = numba.get_num_threads()
        numba.set_num_threads(1)
        asked.append(n_threads)
        try:
            yield
        finally:
            numba.set_num_threads(before)

    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("Numba has one thread here")
    backend = get_backend("numba")
    right = gradients(backend, problem, 2)
    monkeypatch.setattr(launch, "_threads", only_one)
    in_turn = gradients(backend, problem, 2)
    assert asked == [2]
    for one, other in zip(right, in_turn, strict=True):
        np.testing.assert_array_equal(one, other)
