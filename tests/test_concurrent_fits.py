"""Fits at once in several Python threads: the bits of fits alone; BLAS's threads as before."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from fastlin import LogisticRegression
from fastlin.blas import one_blas_thread, threadpools
from fastlin.kernels import load_backend

pytestmark = pytest.mark.filterwarnings("ignore::fastlin.advice.FastlinWarning")


def blas_threads() -> list[int]:
    return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]


@pytest.fixture(autouse=True)
def three_blas_threads() -> Iterator[None]:
    threadpools()
    with threadpool_limits(limits=3, user_api="blas"):
        if set(blas_threads()) != {3}:
            pytest.skip("this BLAS has no threads")
        yield


def together(calls: list[Callable[[], object]]) -> list[object]:
    """Make all calls at the same time, each in a thread of its own."""
    start = threading.Barrier(len(calls))

    def at_once(call: Callable[[], object]) -> object:
        start.wait(timeout=60)
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(at_once, calls))


# ------------------------------------------------------------------ the limit itself


def test_first_in_limits_and_last_out_restores() -> None:
    inside, leave = threading.Event(), threading.Event()

    def first() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=first)
    thread.start()
    inside.wait(timeout=60)
    with one_blas_thread():  # comes second, and stays longer
        leave.set()
        thread.join(timeout=60)
        assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {3}


def test_it_holds_in_a_thread_though_another_thread_has_set_the_number() -> None:
    def within() -> set[int]:
        with one_blas_thread():
            return set(blas_threads())

    assert together([within]) == [{1}]  # this thread has set it to 3
    assert set(blas_threads()) == {3}


def test_it_is_restored_after_an_exception_and_nests() -> None:
    def fail() -> None:
        with one_blas_thread(), one_blas_thread():
            assert set(blas_threads()) == {1}
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert set(blas_threads()) == {3}


def test_a_limit_of_the_user_is_restored() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {2}
    assert set(blas_threads()) == {3}


def test_a_limit_that_the_user_sets_within_a_fit_does_not_reach_the_next_fit() -> None:
    with one_blas_thread():
        threadpool_limits(limits=2, user_api="blas")
        with one_blas_thread():
            assert set(blas_threads()) == {1}
    assert set(blas_threads()) == {3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_rid_of_the_limits_of_threads_that_it_lacks() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with one_blas_thread():
            inside.set()
            leave.wait(timeout=60)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(timeout=60)
    child = os.fork()
    if child == 0:
        right = set(blas_threads()) == {3}
        with one_blas_thread():
            right &= set(blas_threads()) == {1}
        os._exit(0 if right and set(blas_threads()) == {3} else 1)
    leave.set()
    thread.join(timeout=60)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0


# ------------------------------------------------------------------ fits


def data(seed: int, d: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((1500, d)).astype(np.float32)
    return X, (X[:, :3] @ rng.standard_normal((3, 4))).argmax(axis=1)


def fit(backend: str, solver: str, seed: int) -> bytes:
    model = LogisticRegression(
        solver=solver, backend=backend, max_epochs=2 + 4 * seed, tol=None, random_state=0
    )
    return bytes(model.fit(*data(seed)).coef_.tobytes())


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_four_fits_at_once(backend: str, solver: str) -> None:
    if not load_backend(backend).available:
        pytest.skip(f"backend {backend!r} is not available")
    alone = [fit(backend, solver, seed) for seed in range(4)]
    assert len(set(alone)) == 4
    for _ in range(3):
        # They begin together and end one after the other.
        calls = [lambda seed=seed: fit(backend, solver, seed) for seed in range(4)]
        assert together(calls) == alone
        assert set(blas_threads()) == {3}


def test_all_backends_and_solvers_at_once() -> None:
    kinds = [
        (backend, solver)
        for backend in ("numba", "c", "numpy")
        for solver in ("sgd", "lbfgs")
        if load_backend(backend).available
    ]
    alone = [fit(*kind, seed=2) for kind in kinds]
    calls = [lambda kind=kind: fit(*kind, seed=2) for kind in kinds]
    for _ in range(3):
        assert together(calls) == alone
        assert set(blas_threads()) == {3}


def test_a_fit_that_fails_leaves_the_others_alone() -> None:
    def stop(_: object) -> None:
        raise ZeroDivisionError

    def fails() -> None:
        with pytest.raises(ZeroDivisionError):
            LogisticRegression(solver="lbfgs", callbacks=[stop]).fit(*data(1))

    right = fit("auto", "lbfgs", 3)
    calls = [fails, lambda: fit("auto", "lbfgs", 3), fails]
    assert together(calls)[1] == right
    assert set(blas_threads()) == {3}


@pytest.mark.parametrize("backend", ["numba", "c", "numpy"])
@pytest.mark.parametrize(
    "options",
    [{}, {"input_scale": "standard"}, {"solver": "lbfgs", "input_scale": "standard"}],
    ids=["plain", "standard", "lbfgs"],
)
def test_the_number_of_blas_threads_changes_no_bits(
    backend: str, options: dict[str, object]
) -> None:
    if not load_backend(backend).available:
        pytest.skip(f"backend {backend!r} is not available")
    X = np.random.default_rng(0).standard_normal((2000, 784)) + 3
    y = np.arange(2000) % 2
    model = LogisticRegression(
        backend=backend, max_epochs=1, tol=None, random_state=0, **options
    )  # a rate and a scale from the data: both are made of products, too
    bits = set()
    for n_threads in (1, 2, 3):
        with threadpool_limits(limits=n_threads, user_api="blas"):
            coef = model.fit(X, y).coef_
            bits.add(coef.tobytes() + model.predict_proba(X).tobytes())
    assert len(bits) == 1
