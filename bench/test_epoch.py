"""Times one epoch of each problem by each contestant, for pytest-benchmark.

    pytest bench/ [--backend NAME] [--threads N] [-k uint8]

Every contestant is checked against the reference before it is timed. These run one
after the other; ratios are better taken from ``fastlin bench``, which interleaves.
"""

from __future__ import annotations

from functools import cache

import pytest

from fastlin.bench import suite
from fastlin.bench.data import Data, make_data
from fastlin.bench.peers import PEERS
from fastlin.bench.problems import Problem, grid_problems, mnist_problems
from fastlin.kernels import backends

ROUNDS = 10
PROBLEMS = mnist_problems(source="synthetic") + grid_problems(
    features=(784,), classes=(100,), batch_sizes=(128, 1024), dtypes=("float32",)
)

each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)


@cache
def data_of(problem: Problem) -> Data:
    data_of.cache_clear()  # one problem's rows in memory at a time
    return make_data(problem)


def time_entry(benchmark, problem: Problem, entry: suite.Entry) -> None:
    assert entry.check is None or entry.check.passed, entry.check
    benchmark.group = problem.name
    benchmark.extra_info["variant"] = entry.variant
    benchmark.extra_info["gflop"] = problem.flops / 1e9
    benchmark.pedantic(
        entry.contestant.run,
        setup=entry.contestant.reset,
        rounds=ROUNDS,
        warmup_rounds=1,
    )


@each_problem
@pytest.mark.parametrize("make_entry", [suite.kernel_entry, suite.fit_entry], ids=["kernel", "fit"])
def test_fastlin(benchmark, problem, make_entry, backend_name, n_threads) -> None:
    backend = backends()[backend_name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    name = f"fastlin {backend_name}"
    entry = make_entry(name, backend, problem, data_of(problem), n_threads)
    time_entry(benchmark, problem, entry)


@each_problem
@pytest.mark.parametrize("peer", PEERS.values(), ids=PEERS)
def test_peer(benchmark, problem, peer, n_threads) -> None:
    if not peer.installed:
        pytest.skip(f"{peer.title} is missing; install it with: {peer.install}")
    wrong: list = []
    entries = suite.peer_entry(peer, problem, data_of(problem), n_threads, wrong)
    assert not wrong, wrong
    time_entry(benchmark, problem, *entries)
