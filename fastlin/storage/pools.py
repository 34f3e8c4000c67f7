"""Passes over mapped files by a pool of processes, each of which opens the files by itself."""

from __future__ import annotations

import functools
import itertools
import mmap
import shutil
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels import default_n_threads
from fastlin.rows.parted import PartedRows
from fastlin.rows.passes import Cut, Step, Tree, run
from fastlin.rows.samples import Samples

MOST_OPEN = 8
"""Sets of files that a process keeps open."""


@dataclass(frozen=True)
class Mapped:
    """Where an array lies in a file, so that another process can map it.

    Attributes
    ----------
    path : str
    offset : int
        Of the first value, in bytes.
    shape, strides : tuple of int
    dtype : str
    """

    path: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str

    @classmethod
    def of(cls, array: NDArray[Any]) -> Mapped | None:
        """Return where an array lies, or None if it is no part of a mapped file."""
        base: Any = array
        while isinstance(base, np.ndarray) and not isinstance(base.base, mmap.mmap):
            base = base.base
        if not isinstance(base, np.memmap) or base.filename is None:
            return None
        start = base.__array_interface__["data"][0] - base.offset
        first = array.__array_interface__["data"][0] - start
        path = str(Path(base.filename).resolve())
        return cls(path, first, array.shape, array.strides, array.dtype.str)

    def opened(self) -> NDArray[Any]:
        """Map the array."""
        dtype, stop = np.dtype(self.dtype), self.offset
        if not all(self.shape):
            return np.empty(self.shape, dtype)
        stop += sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        size = stop + dtype.itemsize - self.offset
        values = np.memmap(self.path, np.uint8, "r", self.offset, (size,))
        return np.ndarray(self.shape, dtype, values, 0, self.strides)


class Pool:
    """Runs passes over mapped files in the processes of an executor.

    Parameters
    ----------
    executor : concurrent.futures.Executor
        Its processes must see the files by the same names.
    """

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.n_workers: int = getattr(executor, "_max_workers", 0) or default_n_threads()
        self.folder = Path(tempfile.mkdtemp(prefix="fastlin-pool-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._columns: dict[int, Mapped] = {}

    def passes(self, samples: Any, cut: Cut) -> PoolPasses:
        """Return the passes over samples whose rows are in files.

        Raises
        ------
        InputError
            Rows are in no file.
        """
        return PoolPasses(self, samples, cut)

    def column(self, values: NDArray[Any] | None) -> Mapped | None:
        """Return a file with labels or weights, written when they are first asked for."""
        if values is None:
            return None
        if id(values) not in self._columns:
            path = self.folder / f"{id(values)}-{len(self._columns)}.npy"
            np.save(path, values)
            found = Mapped.of(np.load(path, mmap_mode="r"))
            assert found is not None
            self._columns[id(values)] = found
            weakref.finalize(values, _forget, self._columns, id(values), path)
        return self._columns[id(values)]


def _forget(columns: dict[int, Mapped], name: int, path: Path) -> None:
    """Remove the file of an array that nobody has any more."""
    columns.pop(name, None)
    path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Files:
    """Samples in files, as they are sent to a process."""

    rows: tuple[Mapped, ...]
    labels: Mapped | None
    weights: Mapped | None
    dtype: np.dtype[Any] | None
    row_shift: NDArray[np.float64] | None
    shift: NDArray[Any] | None

    def opened(self) -> Samples:
        """Return the samples; the files stay open for the next pass."""
        rows = PartedRows(_opened(self.rows)).seen_as(self.dtype, self.row_shift)
        labels, weights = (
            None if column is None else _opened((column,))[0]
            for column in (self.labels, self.weights)
        )
        labels = np.zeros(0, np.int32) if labels is None else labels
        return Samples(rows, labels, weights, self.shift)


@functools.lru_cache(MOST_OPEN)
def _opened(files: tuple[Mapped, ...]) -> list[NDArray[Any]]:
    return [file.opened() for file in files]


class PoolPasses:
    """Passes over all blocks of some samples; see :class:`fastlin.rows.passes.Passes`."""

    def __init__(self, pool: Pool, samples: Samples, cut: Cut) -> None:
        rows = samples.rows
        assert isinstance(rows, PartedRows), "open_rows made them"
        places = [Mapped.of(array) for array in rows.arrays]
        for place, name in zip(places, rows.names, strict=True):
            if place is None:
                raise InputError(
                    f"{name} is in no file, and executor= needs rows that each process can open; "
                    "save them with np.save and give open_rows the file"
                )
        self._pool, self._cut, self._n_rows = pool, cut, len(rows)
        self._files = Files(
            tuple(place for place in places if place is not None),
            pool.column(samples.labels) if samples.has_labels else None,
            pool.column(samples.sample_weight),
            *rows.view,
            samples.shift,
        )

    def sum(self, step: Step, *arguments: Any) -> Any:
        """See :class:`fastlin.rows.passes.Passes`."""
        tree = Tree()
        for nodes in self._run(step, arguments, None, adds=True):
            for node, value in nodes.items():
                tree.add(node[0], node[1], value)
        return tree.total()

    def map(self, step: Step, *arguments: Any, own: Sequence[Any] | None = None) -> Iterator[Any]:
        """See :class:`fastlin.rows.passes.Passes`."""
        for found in self._run(step, arguments, own, adds=False):
            yield from found.values()

    def _run(
        self, step: Step, arguments: Sequence[Any], own: Sequence[Any] | None, adds: bool
    ) -> Iterator[dict[Any, Any]]:
        """Run a step on consecutive blocks in each process."""
        pool, n_blocks = self._pool, self._cut.n_blocks(self._n_rows)
        n_tasks = min(pool.n_workers, n_blocks)
        n_threads = max(1, default_n_threads() // n_tasks)
        edges = [n_blocks * task // n_tasks for task in range(n_tasks + 1)]
        futures: list[Future[dict[Any, Any]]] = []
        try:
            for first, stop in itertools.pairwise(edges):
                more = None if own is None else own[first:stop]
                task = (self._files, self._cut, (first, stop), step, arguments, more, n_threads)
                futures.append(pool.executor.submit(run_on_files, *task, adds))
            for future in futures:
                yield future.result()
        finally:  # after an error, or if no more results are wanted
            for future in futures:
                future.cancel()


def run_on_files(
    files: Files,
    cut: Cut,
    blocks: tuple[int, int],
    step: Step,
    arguments: Sequence[Any],
    own: Sequence[Any] | None,
    n_threads: int,
    adds: bool,
) -> dict[Any, Any]:
    """Run a step on some consecutive blocks of files: what a process of the pool does."""
    first, stop = blocks
    samples = files.opened().part(slice(first * cut.size, stop * cut.size))
    return run(samples, cut, first, step, arguments, own, n_threads, adds=adds)
