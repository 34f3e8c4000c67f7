"""Finds and runs the examples in docstrings and on pages of the documentation."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def _folder_of_its_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an example write files without leaving any behind."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(request.getfixturevalue("tmp_path"))
