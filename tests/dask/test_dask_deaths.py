"""Whatever dies, a fit goes on with the same bits or ends with one line, and never hangs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from clusters import D, N, bits, problem
from command_line import LISTENS_TO_CTRL_C
from dask.delayed import delayed
from distributed import Client
from machines import LONG, machines, wait_until, within

import fastlin
import fastlin.dask
from fastlin.errors import ClusterError
from fastlin.rows.dense import DenseRows

X, Y, _ = problem()
OPTIONS: dict[str, Any] = {"backend": "numpy", "max_epochs": 12, "tol": None}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseRows, "rows_of_a_block", lambda rows, dtype: 256)


@pytest.fixture
def expected() -> bytes:
    return bits(fastlin.LogisticRegression(solver="lbfgs", **OPTIONS).fit(X, Y))


def rows() -> tuple[Any, Any]:
    """Rows that a worker can make again, by a task."""
    parts = [delayed(np.array)(X[first : first + 500]) for first in range(0, N, 500)]
    arrays = [da.from_delayed(part, (500, D), dtype=X.dtype) for part in parts]
    return da.concatenate(arrays), da.from_array(Y, chunks=1000)


def at(*iterations: int, do: Callable[[], object]) -> list[Any]:
    """A callback that does something after some iterations."""

    def callback(progress: Any) -> None:
        if progress.epoch in iterations:
            do()

    return [callback]


def fit(timeout: float = 60, seconds: float = LONG, **options: Any) -> Any:
    model = fastlin.dask.LogisticRegression(timeout=timeout, **OPTIONS, **options)
    return within(seconds, lambda: model.fit(*rows()))


def test_a_worker_dies_and_another_joins(tmp_path: Path, expected: bytes) -> None:
    with machines(tmp_path, 2) as (cluster, _):

        def one_dies_another_joins() -> None:
            cluster.kill_worker()
            cluster.join()

        model = fit(callbacks=at(4, do=one_dies_another_joins))
        assert bits(model) == expected
        assert len(cluster.workers) == 2


def test_a_worker_joins_that_has_nothing(tmp_path: Path, expected: bytes) -> None:
    with machines(tmp_path, 1) as (cluster, client):

        def joins() -> None:
            cluster.join()
            client.wait_for_workers(2, timeout=LONG)

        assert bits(fit(callbacks=at(1, do=joins))) == expected


def test_all_workers_die_and_nannies_bring_them_back(tmp_path: Path, expected: bytes) -> None:
    with machines(tmp_path, 2, nanny=True) as (_, client):

        def all_die() -> None:
            for process in client.run(os.getpid).values():
                os.kill(process, signal.SIGKILL)

        assert bits(fit(callbacks=at(4, do=all_die))) == expected


def test_all_workers_die_for_good(tmp_path: Path) -> None:
    with machines(tmp_path, 2) as (cluster, _):

        def all_die() -> None:
            cluster.kill_worker()
            cluster.kill_worker()

        with pytest.raises(ClusterError, match="nothing has moved for 3 s while training: there"):
            fit(timeout=3, callbacks=at(4, do=all_die))


def test_the_scheduler_is_killed(tmp_path: Path) -> None:
    with machines(tmp_path, 1) as (cluster, _):
        callbacks = at(4, do=cluster.scheduler.kill)
        with pytest.raises(ClusterError, match="scheduler was lost while training; start"):
            fit(timeout=5, callbacks=callbacks)


def test_the_scheduler_is_stopped(tmp_path: Path) -> None:
    with machines(tmp_path, 1) as (cluster, _):
        stop = at(4, do=lambda: cluster.scheduler.send_signal(signal.SIGSTOP))
        with pytest.raises(ClusterError, match=r"the scheduler at tcp://\S+ does not answer"):
            fit(timeout=3, callbacks=stop)


def test_scattered_rows_are_lost_with_their_worker(tmp_path: Path) -> None:
    with machines(tmp_path, 2) as (cluster, client):
        parts = client.scatter([X[:1500], X[1500:]])
        lazy = [da.from_delayed(delayed(part), (1500, D), dtype=X.dtype) for part in parts]

        def dies() -> None:
            for _ in range(2):
                cluster.kill_worker()
            cluster.join()

        model = fastlin.dask.LogisticRegression(timeout=10, callbacks=at(3, do=dies), **OPTIONS)
        arguments = da.concatenate(lazy), da.from_array(Y, chunks=1000)
        del parts
        with pytest.raises(ClusterError, match=r"client\.scatter.*read_parquet, would have"):
            within(LONG, lambda: model.fit(*arguments))


INTERRUPTED = (
    LISTENS_TO_CTRL_C
    + """
import sys
import time

import dask.array as da
import numpy as np
from dask.delayed import delayed
from distributed import Client

import fastlin.dask
from fastlin.rows.dense import DenseRows


def rows(seconds):
    time.sleep(seconds)
    return np.random.default_rng(0).standard_normal((3000, 12))


def train(when, file):
    DenseRows.rows_of_a_block = lambda rows, dtype: 256
    model = fastlin.dask.LogisticRegression(
        backend="numpy", l2=0.0, tol=None, max_epochs=10**6, callbacks=[tell]
    )
    X = da.from_delayed(delayed(rows)(10.0 if when == "loading" else 0.0), (3000, 12), dtype=float)
    with Client(scheduler_file=file):
        print("begins", flush=True)
        try:
            model.fit(X, da.from_array(np.arange(3000) % 3, chunks=1000))
        except KeyboardInterrupt:
            print("interrupted", hasattr(model, "classes_"), flush=True)
            time.sleep(30)  # the client stays, and so would what it had asked for


def tell(progress):
    if progress.epoch == 2:
        print("trains", flush=True)
        time.sleep(60)


train(*sys.argv[1:])
"""
)


@pytest.mark.parametrize(("when", "said"), [("loading", "begins"), ("training", "trains")])
def test_ctrl_c_leaves_nothing_on_the_workers(tmp_path: Path, when: str, said: str) -> None:
    with machines(tmp_path, 1) as (cluster, client):
        fit = subprocess.Popen(
            [sys.executable, "-c", INTERRUPTED, when, str(cluster.file)],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert fit.stdout is not None
            while said not in fit.stdout.readline():
                assert fit.poll() is None
            time.sleep(1)  # deep in the fit, which goes on for a minute
            fit.send_signal(signal.SIGINT)
            line = within(LONG, fit.stdout.readline)
            while "interrupted" not in line:
                assert fit.poll() is None
                line = within(LONG, fit.stdout.readline)
            assert line == "interrupted False\n"
            assert_nothing_is_left(client)
        finally:
            fit.kill()
            fit.communicate()


def assert_nothing_is_left(client: Client) -> None:
    wait_until(lambda: not any(client.processing().values()))
    wait_until(lambda: not _of_fastlin(client))


def _of_fastlin(client: Client) -> list[Any]:
    held = client.has_what().values()
    return [key for keys in held for key in keys if "fastlin" in str(key)]


def test_a_worker_with_another_instruction_set_is_refused(tmp_path: Path) -> None:
    with machines(tmp_path, 1) as (cluster, client):
        cluster.join(FASTLIN_ISA="baseline", OPENBLAS_CORETYPE="Prescott")
        client.wait_for_workers(2, timeout=LONG)
        with pytest.raises(ClusterError, match=r"is .* on tcp://\S+ and .* on tcp://\S+, so that"):
            fit()
