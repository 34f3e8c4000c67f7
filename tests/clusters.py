"""Clusters and problems for the tests of ``fastlin.dask``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from distributed import Client, LocalCluster

N, D = 3000, 12


def problem(dtype: str = "float64", k: int = 3, n: int = N) -> tuple[Any, Any, Any]:
    """Return rows, labels and weights."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, D))
    y = (X @ rng.standard_normal((D, k)) + 2 * rng.gumbel(size=(n, k))).argmax(axis=1)
    if dtype == "uint8":
        X = np.clip(X * 40 + 120, 0, 255)
    return X.astype(dtype), y, rng.integers(0, 3, n).astype(float)


@contextmanager
def cluster(n_workers: int = 2, **options: Any) -> Iterator[Client]:
    """Give the client of a cluster in this process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Dask's, such as that a port is taken
        options = {"processes": False, "threads_per_worker": 1, **options}
        with (
            LocalCluster(n_workers=n_workers, dashboard_address=":0", **options) as local,
            Client(local) as client,
        ):
            yield client


def bits(model: Any) -> bytes:
    return bytes(model.coef_.tobytes() + model.intercept_.tobytes())
