"""What a pass over the rows of a Dask cluster costs beside a pass here, and from where it pays.

The workers are processes of this machine, so what is measured is Dask's share: to start a task on
each worker, to send it the weights, and to fetch and add the sums. From that and the time that a
row takes follows the number of rows from which on other machines, each as fast as this one, would
be faster.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Backend, get_backend
from fastlin.rows.binding import weight_type
from fastlin.rows.dense import DenseRows
from fastlin.rows.samples import Samples
from fastlin.solvers.full_pass import loss_gradient


@dataclass(frozen=True)
class Shape:
    """Rows, features and classes of a problem, and the type of its rows."""

    n_rows: int
    n_features: int
    n_classes: int
    dtype: str

    @property
    def bytes(self) -> int:
        """Memory of the rows."""
        return self.n_rows * self.n_features * np.dtype(self.dtype).itemsize


# Whole shards, and as many for each of two workers: otherwise a pass takes as long as the fullest.
SHAPES = (Shape(262_144, 784, 10, "uint8"), Shape(65_536, 768, 1000, "float32"))
CUTS = ((1, 8), (2, 8), (2, 32), (2, 128), (4, 128))
"""Numbers of workers and of partitions."""


@dataclass(frozen=True)
class Cost:
    """Median seconds of a pass, in milliseconds.

    Attributes
    ----------
    shape : Shape
    workers, partitions, shards : int
    here_ms : float
        In this process, by as many threads as there are workers.
    dask_ms : float
    break_even_gigabytes : float
        Rows from which on two machines take less time than one.
    """

    shape: Shape
    workers: int
    partitions: int
    shards: int
    here_ms: float
    dask_ms: float
    break_even_gigabytes: float


def measure(
    backend: str = "auto",
    rounds: int = 20,
    *,
    shapes: Sequence[Shape] = SHAPES,
    cuts: Sequence[tuple[int, int]] = CUTS,
    say: Callable[[str], None] = lambda _: None,
) -> list[Cost]:
    """Measure passes on clusters of processes; each result is compared with that of this process.

    Raises
    ------
    AssertionError
        A cluster's bits differ.
    """
    from distributed import Client, LocalCluster

    kernels = get_backend(backend)  # before a cluster sets OMP_NUM_THREADS=1 in this process too
    found = []
    for workers in sorted({workers for workers, _ in cuts}):
        with (
            LocalCluster(
                n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=":0"
            ) as cluster,
            Client(cluster) as client,
        ):
            for shape in shapes:
                for partitions in (n for number, n in cuts if number == workers):
                    say(f"{workers} workers, {partitions} partitions of {shape.n_features} columns")
                    found.append(_cost(client, shape, workers, partitions, kernels, rounds))
    return found


def _cost(
    client: Any, shape: Shape, workers: int, partitions: int, kernels: Backend, rounds: int
) -> Cost:
    import dask.array as da
    from dask.delayed import delayed

    from fastlin.dask.loading import Loader
    from fastlin.dask.watching import Watch

    size = -(-shape.n_rows // partitions)
    lengths = [min(size, shape.n_rows - first) for first in range(0, shape.n_rows, size)]
    d, made = shape.n_features, delayed(_made)
    rows, labels = (  # made by the workers, so that they need not be sent
        da.concatenate(
            [
                da.from_delayed(made(shape, place, length)[which], (length, *width), dtype=dtype)
                for place, length in enumerate(lengths)
            ]
        )
        for which, width, dtype in ((0, (d,), shape.dtype), (1, (), np.int64))
    )
    parts = [_made(shape, place, length) for place, length in enumerate(lengths)]
    X, y = (np.concatenate(part) for part in zip(*parts, strict=True))
    dtype = weight_type(DenseRows(X), "auto")
    rng = np.random.default_rng(1)
    weights = (rng.standard_normal((shape.n_classes, shape.n_features)) / 1000).astype(dtype)
    model = weights, np.zeros(shape.n_classes, dtype)
    here = Samples(DenseRows(X), y.astype(np.int32))
    loader = Loader(Watch(client, 60), kernels.name, lambda _: dtype)
    loaded = loader.load(rows, labels).rows
    try:
        there = Samples(loaded, here.labels)
        n_threads = min(workers, kernels.n_threads)
        alone, together = [], []
        for _ in range(rounds + 2):  # in turn; the first ones compile and connect
            seconds, expected = _timed(lambda: loss_gradient(kernels, here, *model, n_threads))
            alone.append(seconds)
            seconds, got = _timed(lambda: loss_gradient(kernels, there, *model, 1))
            together.append(seconds)
            assert got[1].tobytes() == expected[1].tobytes(), "the bits of a cluster differ"
        here_ms, dask_ms = (1000 * statistics.median(each[2:]) for each in (alone, together))
        # Two machines win once half of the time that one takes exceeds Dask's share.
        gigabytes = 2 * max(dask_ms - here_ms, 0.0) * shape.bytes / here_ms / 1e9
        n_shards = len(loaded.shards.futures)
        return Cost(shape, workers, partitions, n_shards, here_ms, dask_ms, gigabytes)
    finally:
        loaded.shards.close()


def _made(shape: Shape, place: int, n_rows: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return the rows and labels of a partition."""
    rng = np.random.default_rng([0, place])
    X = rng.integers(0, 256, (n_rows, shape.n_features), np.uint8)
    return X.astype(shape.dtype, copy=False), np.arange(n_rows) % shape.n_classes


def _timed(function: Callable[[], Any]) -> tuple[float, Any]:
    started = time.perf_counter()
    found = function()
    return time.perf_counter() - started, found


def as_table(costs: Sequence[Cost]) -> list[list[str]]:
    """Return a header and a line for each cost."""
    head = ["rows", "workers", "partitions", "shards", "here", "Dask", "Dask's share", "break-even"]
    return [
        head,
        *(
            [
                f"{cost.shape.n_rows} x {cost.shape.n_features} {cost.shape.dtype}, "
                f"{cost.shape.n_classes} classes",
                *(str(number) for number in (cost.workers, cost.partitions, cost.shards)),
                f"{cost.here_ms:.1f} ms",
                f"{cost.dask_ms:.1f} ms",
                f"{cost.dask_ms - cost.here_ms:.1f} ms",
                f"{cost.break_even_gigabytes:.2g} GB",
            ]
            for cost in costs
        ),
    ]


def as_plain(costs: Sequence[Cost]) -> list[dict[str, Any]]:
    """Return all figures as plain dictionaries."""
    return [asdict(cost) for cost in costs]
