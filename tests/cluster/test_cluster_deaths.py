"""Deaths that take minutes or root: `make test-cluster` runs these."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from clusters import D, N, bits, problem
from dask.delayed import delayed
from hosts import two_hosts
from machines import LONG, machines, within

import fastlin
import fastlin.dask
from fastlin.rows.dense import DenseRows

X, Y, _ = problem()
OPTIONS: dict[str, Any] = {"backend": "numpy", "max_epochs": 22, "tol": None}


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DenseRows, "rows_of_a_block", lambda rows, dtype: 256)


def rows() -> tuple[Any, Any]:
    parts = [delayed(np.array)(X[first : first + 500]) for first in range(0, N, 500)]
    arrays = [da.from_delayed(part, (500, D), dtype=X.dtype) for part in parts]
    return da.concatenate(arrays), da.from_array(Y, chunks=1000)


def fit(callback: Any, seconds: float) -> bytes:
    model = fastlin.dask.LogisticRegression(callbacks=[callback], timeout=90, **OPTIONS)
    return bits(within(seconds, lambda: model.fit(*rows())))


def expected() -> bytes:
    return bits(fastlin.LogisticRegression(solver="lbfgs", **OPTIONS).fit(X, Y))


def test_a_worker_dies_in_every_iteration(tmp_path: Path) -> None:
    deaths = []
    with machines(tmp_path, 3) as (cluster, _):

        def dies(progress: Any) -> None:
            if progress.epoch < 20:
                cluster.kill_worker()
                cluster.join()
                deaths.append(progress.epoch)

        assert fit(dies, 240) == expected()
        assert len(deaths) == 20


def test_all_workers_die_and_others_come_in_time(tmp_path: Path) -> None:
    with machines(tmp_path, 2) as (cluster, _):

        def all_die(progress: Any) -> None:
            if progress.epoch == 4:
                cluster.kill_worker()
                cluster.kill_worker()
                threading.Timer(2, cluster.join).start()

        assert fit(all_die, LONG) == expected()


def test_a_link_is_cut_and_restored(tmp_path: Path) -> None:
    with (
        two_hosts() as hosts,
        machines(tmp_path, 1, hosts.names) as (_, client),
    ):
        assert (
            len({address.rpartition(":")[0] for address in client.scheduler_info()["workers"]}) == 2
        )
        times, fitted = [], threading.Event()

        def cut(progress: Any) -> None:
            times.append(time.monotonic())
            if progress.epoch == 4:
                hosts.cut(1)
                restoring.start()

        def restore() -> None:
            fitted.wait(45)
            hosts.restore(1)

        restoring = threading.Thread(target=restore)
        try:
            assert fit(cut, 200) == expected()
        finally:
            fitted.set()
            if restoring.is_alive():
                restoring.join()
        assert max(np.diff(times)) > 1  # the cut was felt
