"""Finds and runs the examples in docstrings and on pages of the documentation."""

from __future__ import annotations

import gc
import os

import pytest

collect_ignore_glob = [
    "setup.py",
    "csrc/*",
    "docs/*.py",
    "docs/gallery/*",  # runs when the documentation is built
    "docs/generated/*",
    "fastlin/bench/peers/*",  # imports libraries that may not be installed
]
if not os.environ.get("FASTLIN_TEST_CLUSTER"):  # `make test-cluster` sets it
    collect_ignore_glob.append("tests/cluster/*")


USE_DASK = ("dask", "cluster", "many_machines.rst", "test_bench_cluster.py")
"""Folders and files whose tests start Dask clusters."""

OF_DASK = (
    r"ignore::Warning:(dask|distributed|tornado|pandas|zict|msgpack)(\..*)?",
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::pytest.PytestUnhandledThreadExceptionWarning",
)


def _uses_dask(item: pytest.Item) -> bool:
    return any(part in USE_DASK for part in item.path.parts[-2:])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave Dask's own warnings alone; fastlin's are errors in these tests as elsewhere."""
    for item in filter(_uses_dask, items):
        for line in OF_DASK:
            item.add_marker(pytest.mark.filterwarnings(line))


def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    """Collect what a cluster has left here, so that no other test is told about it."""
    if _uses_dask(item) and (nextitem is None or nextitem.path != item.path):
        gc.collect()


@pytest.fixture(autouse=True)
def _folder_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an example write files without leaving any behind."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
