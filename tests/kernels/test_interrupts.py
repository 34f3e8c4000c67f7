"""Ctrl-C while a kernel runs: it takes effect, and the kernel stops."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.kernels import Backend, Parameters, Samples, StepOptions, interrupts, load_backend
from fastlin.rows.conversion import sparse_rows

COMPILED = ["c", "numba"]
each_compiled = pytest.mark.parametrize("name", COMPILED)
each_kind = pytest.mark.parametrize("kind", ["dense", "bytes", "sparse"])
N, D, K = 1000, 40, 10


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    # Whoever started the tests behind `&` had Ctrl-C ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    assert not kernels_running()


def kernels_running() -> list[threading.Thread]:
    """Threads of kernels, after those that were told to stop had time to do so."""
    for thread in threading.enumerate():
        if thread.name == interrupts.THREAD_NAME:
            thread.join(20)
    return [thread for thread in threading.enumerate() if thread.name == interrupts.THREAD_NAME]


def backend_called(name: str) -> Backend:
    backend = load_backend(name)
    if not backend.available:
        pytest.skip(f"{backend.name} is missing: {backend.reason}")
    return backend


def samples_of(kind: str, n: int = N) -> Samples:
    generator = np.random.default_rng(0)
    dense = generator.integers(0, 9, (n, D)).astype(np.uint8 if kind == "bytes" else np.float32)
    rows = sparse_rows(csr_array(dense * (dense > 4))) if kind == "sparse" else dense
    return Samples(rows, generator.integers(0, K, n).astype(np.int32))


def options_of(n_steps: int, batch_size: int) -> StepOptions:
    gain = np.ones(D, np.float32)
    return StepOptions(batch_size, np.full(n_steps, 1e-3), 0.0, gain, momentum=0.5)


def zeros(dtype: Any = np.float32) -> Parameters:
    return Parameters(
        np.zeros((K, D), dtype), np.zeros(K, dtype), np.zeros((K, D), dtype), np.zeros(K, dtype)
    )


@pytest.fixture
def raised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell this thread's kernels to stop before they begin."""
    monkeypatch.setattr(interrupts._of_thread, "stop", np.ones(1, np.int32), raising=False)


@each_compiled
@each_kind
@pytest.mark.parametrize("n_threads", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [16, 400, N])
def test_steps_leave_off(
    name: str, kind: str, n_threads: int, batch_size: int, raised: None
) -> None:
    parameters, losses = zeros(), np.full(-(-N // batch_size), np.nan)
    backend_called(name).sgd_steps(
        samples_of(kind),
        np.arange(N),
        parameters,
        options_of(len(losses), batch_size),
        losses,
        n_threads,
    )
    assert not np.nan_to_num(losses).any()
    assert not parameters.weights.any()


@each_compiled
@each_kind
@pytest.mark.parametrize("n_threads", [1, 2, 3])
def test_passes_leave_off(name: str, kind: str, n_threads: int, raised: None) -> None:
    backend, samples = backend_called(name), samples_of(kind)
    model = np.ones((K, D), np.float32), np.zeros(K, np.float32)
    loss, gradient, intercept_gradient = backend.loss_gradient(samples, *model, n_threads)
    assert (loss, gradient.any(), intercept_gradient.any()) == (0, False, False)
    assert backend.score(samples, *model, n_threads) == (0, 0)
    backend.logits(samples, *model, n_threads)


@each_compiled
@each_kind
@pytest.mark.parametrize("n_threads", [1, 3])
def test_no_thread_waits_for_ever(name: str, kind: str, n_threads: int) -> None:
    """Threads stop together, whenever they are told to."""
    backend, samples = backend_called(name), samples_of(kind, 20_000)
    order = np.arange(20_000)
    generator = np.random.default_rng(0)
    ended_early = 0
    for batch_size in (16, 16, 1000, 20_000, 20_000):
        for _ in range(8):
            stop, losses = np.zeros(1, np.int32), np.full(-(-len(order) // batch_size), np.nan)

            def steps(stop: Any = stop, losses: Any = losses, batch_size: int = batch_size) -> None:
                interrupts._of_thread.stop = stop
                options = options_of(len(losses), batch_size)
                backend.sgd_steps(samples, order, zeros(), options, losses, n_threads)

            thread = threading.Thread(target=steps)
            thread.start()
            time.sleep(0.004 * generator.random())
            stop[0] = 1
            thread.join(60)
            assert not thread.is_alive()
            ended_early += bool(np.isnan(losses[-1]) or losses[-1] == 0)
    assert ended_early > 0


@contextmanager
def interrupted_when(condition: Callable[[], Any], number: int = signal.SIGINT) -> Iterator[None]:
    """Send this process a signal as soon as a condition holds, and again until the block ends.

    Once is not always enough: Python ignores an exception that a handler raises while an object is
    finalised, as the one of a thread that has ended.
    """
    answered = threading.Event()

    def send() -> None:
        while not condition():
            time.sleep(0.001)
        while not answered.is_set():
            os.kill(os.getpid(), number)
            answered.wait(5)

    threading.Thread(target=send, daemon=True).start()
    try:
        yield
    finally:
        answered.set()


@each_compiled
@each_kind
@pytest.mark.parametrize("batch_size", [256, 1_000_000])
def test_ctrl_c_in_a_long_call(name: str, kind: str, batch_size: int) -> None:
    """The order names the same rows again and again: much work without much memory."""
    backend, samples = backend_called(name), samples_of(kind, 10_000)
    order = np.tile(np.arange(10_000), 3000)
    losses = np.full(-(-len(order) // batch_size), np.nan)
    options = options_of(len(losses), batch_size)
    interrupts._pace.clear()
    with interrupted_when(kernels_begun), pytest.raises(KeyboardInterrupt):
        backend.sgd_steps(samples, order, zeros(), options, losses, 2)
    assert not kernels_running()
    assert not losses[-1] > 0


def kernels_begun() -> bool:
    """Whether a kernel is running on a thread of its own, which has had a moment to begin."""
    running = [t for t in threading.enumerate() if t.name == interrupts.THREAD_NAME]
    time.sleep(0.05)
    return bool(running)


@each_compiled
@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_ctrl_c_in_a_fit_leaves_the_model(
    name: str, solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend_called(name)
    monkeypatch.setattr(interrupts, "QUICK_PRODUCTS", 0)
    monkeypatch.setattr(interrupts, "LONG", 0)
    X, y = samples_of("dense").rows.to_array(), samples_of("dense").labels
    estimator = LogisticRegression(
        backend=name, solver=solver, max_epochs=20, tol=None, random_state=0
    )
    expected = LogisticRegression(**estimator.get_params()).fit(X, y)
    estimator.fit(X, y)
    np.testing.assert_array_equal(estimator.coef_, expected.coef_)
    before = dict(vars(estimator))
    with interrupted_when(kernels_begun), pytest.raises(KeyboardInterrupt):
        estimator.set_params(max_epochs=10**6, tol=0).fit(  # even L-BFGS takes a while
            np.tile(X, (600, 1)), np.tile(y + 50, 600)
        )
    learned = {name for name in before if name not in estimator.get_params()}
    assert all(vars(estimator)[name] is before[name] for name in learned)
    assert estimator.classes_.tolist() == list(range(K))


@each_compiled
def test_a_handler_that_does_not_raise_changes_nothing(name: str) -> None:
    backend, samples = backend_called(name), samples_of("dense")
    order = np.tile(np.arange(N), 300)
    n_steps = len(order) // 100
    options, seen = options_of(n_steps, 100), []
    results = []
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(True))
    try:
        for signalled in (False, True):
            parameters, losses = zeros(), np.empty(n_steps)
            interrupts._pace.clear()
            when = interrupted_when(lambda: kernels_begun() or True, signal.SIGUSR1)
            with when if signalled else nullcontext():
                backend.sgd_steps(samples, order, parameters, options, losses, 2)
                while signalled and not seen:
                    time.sleep(0.001)
            results.append(parameters.weights)
    finally:
        signal.signal(signal.SIGUSR1, before)
    np.testing.assert_array_equal(*results)
    assert results[0].any()


# ------------------------------------------------------------------ the call on another thread


def test_what_a_call_returns_raises_and_sees() -> None:
    assert interrupts.call_beside(lambda: 7) == 7
    with np.errstate(over="raise", invalid="ignore"):
        faults = np.geterr()
        assert interrupts.call_beside(np.geterr) == faults

    def refuse() -> None:
        raise InputError("no")

    with pytest.raises(InputError, match="no"):
        interrupts.call_beside(refuse)
    assert interrupts.call_beside(threading.current_thread) is not threading.main_thread()
    assert not interrupts.stop_word().any()


def test_signals_are_for_the_main_thread() -> None:
    def blocked() -> set[int]:
        return set(signal.pthread_sigmask(signal.SIG_BLOCK, []))

    before = blocked()
    beside = interrupts.call_beside(blocked)
    assert {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM} <= beside
    assert not {signal.SIGSEGV, signal.SIGFPE} & beside
    assert blocked() == before


def test_what_cannot_leave_off_is_left_alone() -> None:
    """As a compiler, which looks at no word."""
    release, told = threading.Event(), []

    def deaf() -> None:
        release.wait(60)
        told.append(int(interrupts.stop_word()[0]))

    with interrupted_when(kernels_begun), pytest.raises(KeyboardInterrupt):
        interrupts.call_beside(deaf)
    assert not told  # the answer came first
    release.set()
    assert not kernels_running()
    assert told == [1]


def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert interrupts.call_beside(threading.current_thread) is threading.main_thread()


@each_compiled
def test_short_calls_and_other_threads_stay_where_they_are(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend, moved = backend_called(name), []
    monkeypatch.setattr(interrupts, "call_beside", lambda run: (moved.append(True), run())[1])
    model = np.ones((K, D), np.float32), np.zeros(K, np.float32)
    short, longer = samples_of("dense"), samples_of("dense", 400_000)
    interrupts._pace.clear()
    backend.score(short, *model, 1)
    assert not moved
    thread = threading.Thread(target=backend.score, args=(longer, *model, 1))
    thread.start()
    thread.join()
    assert not moved
    interrupts._pace.clear()
    backend.score(longer, *model, 1)  # of unknown pace
    assert moved == [True]
    interrupts._pace.update(dict.fromkeys(interrupts._pace, 1e-12))
    backend.score(longer, *model, 1)
    assert moved == [True]
