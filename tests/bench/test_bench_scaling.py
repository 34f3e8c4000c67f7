"""``bench/scaling.py``: every number of threads is taken, and its record becomes a table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from scripts import script

from fastlin.bench.limits import Limits
from fastlin.bench.results import Results
from fastlin.kernels.blocking import REGISTERS, dense_blocking, useful_threads


def threads_of_a_small_step() -> int:
    types = "float32", "float32"
    return dense_blocking(784, 10, 64, 8, types, REGISTERS["avx512"], 5, steps=True).n_threads


def test_all_threads_are_taken_for_as_long_as_they_are_measured() -> None:
    scaling = script("bench/scaling.py")
    assert threads_of_a_small_step() == 1
    with scaling.all_threads_taken():
        assert threads_of_a_small_step() == 5
    assert threads_of_a_small_step() == 1
    assert scaling.blocking.useful_threads is useful_threads
    assert scaling.counts_up_to(16) == [1, 2, 3, 4, 6, 8, 12, 16]
    assert scaling.counts_up_to(5) == [1, 2, 3, 4, 5]


def test_the_record_becomes_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scaling, tables = script("bench/scaling.py"), script("bench/tables.py")
    small = replace(scaling.dense_problem(64, 10, 8), n_rows=64)
    sparse = replace(scaling.sparse_problems(quick=True)[0], n_rows=256, n_features=500)
    problems = [
        (small, scaling.Kernel),
        (replace(small, name="gradient"), scaling.Gradient),
        (sparse, scaling.Fit),
    ]
    monkeypatch.setattr(scaling, "problems", lambda: problems)
    monkeypatch.setattr(scaling, "measure_limits", lambda n: Limits(n, 1e9, 1e9, 1e9, "none"))
    record = tmp_path / "scaling.json"
    options = ["--threads", "2", "--rounds", "1", "--backend", "numpy,numba"]
    run = CliRunner().invoke(scaling.main, [*options, "--json", str(record)])
    assert run.exit_code == 0, run.output
    assert run.output.count("1: 1.00  2: ") == 6
    results = Results.load(record)
    assert {case.n_threads for case in results.cases} == {1, 2}
    monkeypatch.setattr(tables, "OURS", ("fastlin numpy", "fastlin numba"))
    heads, first, *others = tables.scaling(results)
    assert heads == ["", "2 threads", "chosen", "speed"]
    assert first[0] == "64, 10, 8"
    assert first[2:] == ["1", "1.0 / 1.0"]
    assert [row[2] for row in others] == ["", ""]
