"""Options of ``pytest bench/``, and the contestants."""

from __future__ import annotations

import pytest

from fastlin.bench.timing import available_cores, pinned_to_cores
from fastlin.kernels import BACKEND_NAMES, backends, get_backend


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("fastlin")
    group.addoption(
        "--backend",
        choices=("all", "auto", *BACKEND_NAMES),
        default="all",
        help="Backend to time; all times those that are available.",
    )
    group.addoption("--threads", type=int, default=available_cores(), help="Number of threads.")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend_name" in metafunc.fixturenames:
        named = metafunc.config.getoption("--backend")
        names = list(backends()) if named == "all" else [get_backend(named).name]
        metafunc.parametrize("backend_name", names)


@pytest.fixture(scope="session")
def n_threads(request: pytest.FixtureRequest):
    """The number of threads of every contestant; the process is pinned to as many cores."""
    count = request.config.getoption("--threads")
    with pinned_to_cores(count):
        yield count
