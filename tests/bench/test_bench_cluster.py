"""``fastlin bench --suite dask``: bits are compared, and the break-even follows from the times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import assert_mistake, run

from fastlin.bench import cluster
from fastlin.bench.cluster import Cost, Shape, as_table, measure

TINY = Shape(3000, 8, 3, "float32")


def test_a_cluster_is_measured_beside_this_process() -> None:
    (cost,) = measure("numpy", 2, shapes=[TINY], cuts=[(1, 4)])
    assert (cost.workers, cost.partitions, cost.shards) == (1, 4, 1)
    assert cost.dask_ms > cost.here_ms > 0
    share = (cost.dask_ms - cost.here_ms) / 1000
    seconds_of_a_byte = cost.here_ms / 1000 / TINY.bytes
    even = cost.break_even_gigabytes * 1e9
    assert share + even / 2 * seconds_of_a_byte == pytest.approx(even * seconds_of_a_byte)


def test_the_command_prints_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cost = Cost(TINY, 2, 8, 1, 10.0, 35.0, 0.5)
    monkeypatch.setattr(cluster, "measure", lambda *_, **__: [cost])
    done = run("bench", "--suite", "dask", "--quiet", "--json", tmp_path / "costs.json")
    assert done.code == 0
    assert "25.0 ms" in done.out
    assert as_table([cost])[1][-1] == "0.5 GB"
    assert json.loads((tmp_path / "costs.json").read_text())["passes"][0]["dask_ms"] == 35.0


def test_options_of_other_suites_are_refused() -> None:
    assert_mistake(run("bench", "--suite", "dask", "--grid"), "leave --grid out")
