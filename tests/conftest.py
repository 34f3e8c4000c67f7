"""Fixtures that more than one test file needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastlin import datasets

OTHERS = r"ignore::Warning:(dask|distributed|tornado|pandas|zict|msgpack)(\..*)?"
"""Dask's own warnings about its neighbours; fastlin's are errors there as elsewhere."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent in (Path(__file__).parent / "dask", Path(__file__).parent / "cluster"):
            item.add_marker(pytest.mark.filterwarnings(OTHERS))


@pytest.fixture(scope="session")
def mnist() -> datasets.Dataset:
    """Give the real MNIST, fetched on first use and kept in the data folder."""
    return datasets.load("mnist")
