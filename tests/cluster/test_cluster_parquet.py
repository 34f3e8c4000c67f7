"""Two hosts train on 2 GB of Parquet, a worker is killed twice: the bits of one machine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from clusters import bits
from hosts import two_hosts
from machines import machines, within

import fastlin
import fastlin.dask

GIGABYTES = float(os.environ.get("FASTLIN_TEST_GIGABYTES", "2"))
D, FILES = 64, 16
ROWS = int(GIGABYTES * 1e9 / (4 * D * FILES)) + 1
"""Rows of each file, none of which ends where a block does."""


def write(folder: Path) -> int:
    """Write the files; return the bytes of their rows."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((D, 3), np.float32)
    for part in range(FILES):
        X = rng.standard_normal((ROWS, D), np.float32)
        y = (X @ weights + 3 * rng.standard_normal((ROWS, 3), np.float32)).argmax(axis=1)
        columns = {f"x{place}": X[:, place] for place in range(D)}
        kinds = np.array(["ant", "bee", "cow"])[y]
        table = pa.table({**columns, "kind": kinds})
        pq.write_table(table, folder / f"part-{part:02}.parquet", compression="none")
    return FILES * ROWS * D * 4


def test_two_hosts_train_on_parquet_while_a_worker_dies_twice(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    assert write(data) >= GIGABYTES * 1e9
    options: dict[str, Any] = {"max_epochs": 12, "tol": None, "n_threads": None}
    deaths = []
    with two_hosts() as hosts, machines(tmp_path, 1, hosts.names) as (cluster, _):

        def dies(progress: Any) -> None:
            if progress.epoch in (3, 7):
                cluster.kill_worker()
                cluster.join(host=hosts.names[len(deaths) % 2])
                deaths.append(progress.epoch)

        model = fastlin.dask.LogisticRegression(callbacks=[dies], timeout=120, **options)
        frame = dd.read_parquet(data)
        within(600, lambda: model.fit(frame, "kind"))
        accuracy = within(300, lambda: model.score(frame, "kind"))
    assert deaths == [3, 7]
    with fastlin.open_rows(str(data / "*.parquet"), label="kind", spill=tmp_path) as stored:
        alone = fastlin.LogisticRegression(solver="lbfgs", **options).fit(stored, stored.labels)
        assert bits(model) == bits(alone)
        assert accuracy == alone.score(stored, stored.labels)
