"""Folders of compiled kernels, and processes that fill and use them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import hunt
from command_line import Run
from processes import run_python

TASKS = ("sgd,float64,k=2,d=7,threads=2",)
"""Compile some kernels, soon."""

INDEX, DATA = "*.nbi", "*.nbc"


def solve(cache: Path, *tasks: str, **variables: str | None) -> Run:
    """Solve tasks in a process that keeps its kernels in a folder."""
    return run_python(
        hunt.__file__,
        *("--fit", *(tasks or TASKS)),
        variables={"NUMBA_CACHE_DIR": str(cache), **variables},
    )


def assert_whole(cache: Path) -> None:
    """Assert that the cache holds whole kernels."""
    indices = list(cache.rglob(INDEX))
    assert indices
    for index in indices:
        digest = json.loads(index.read_bytes())["sha256"]
        assert hashlib.sha256((index.parent / f"{digest}.nbc").read_bytes()).hexdigest() == digest
