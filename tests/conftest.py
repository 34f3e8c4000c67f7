"""Fixtures that more than one test file needs."""

from __future__ import annotations

import pytest

from fastlin import datasets


@pytest.fixture(scope="session")
def mnist() -> datasets.Dataset:
    """Give the real MNIST, fetched on first use and kept in the data folder."""
    return datasets.load("mnist")
