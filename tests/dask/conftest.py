"""Leaves Dask's own warnings about its neighbours alone; fastlin's are errors here as elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

OTHERS = r"ignore::Warning:(dask|distributed|tornado|pandas|zict|msgpack)(\..*)?"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(OTHERS))
