"""What runs on the workers: functions of this module, which keep nothing between two calls."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack
from sklearn.utils import check_array

from fastlin.errors import FastlinError
from fastlin.kernels import BACKEND_NAMES, find_backend
from fastlin.rows.containers import numbers, plain, require_rows, row_type
from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import Rows
from fastlin.rows.labels import classes_of, locate, read_labels, require_one_a_row, require_whole
from fastlin.rows.passes import Cut, Step, Tree, run
from fastlin.rows.samples import Samples
from fastlin.run_identity import blas_in_words


@functools.cache
def identity(backend: str) -> dict[str, str]:
    """Return what the bits of a pass depend on in this process, by names for messages."""
    from fastlin import __version__

    assert backend in BACKEND_NAMES, "the client has found it"
    try:
        found = find_backend(backend)
    except FastlinError as error:
        return {"fastlin": __version__, "the backend": f"none ({error})"}
    return {
        "fastlin": __version__,
        "NumPy": np.__version__,
        "the backend": f"{found.name} {found.version or ''}".strip(),
        "the instruction set": str(found.instruction_set),
        "BLAS": blas_in_words(),
    }


# ------------------------------------------------------------------ partitions


@dataclass(frozen=True)
class Measured:
    """What the client needs to know of a partition.

    Attributes
    ----------
    length : int
    n_features : int
        0 for a partition without rows.
    dtype : numpy.dtype
    is_sparse : bool
    bad : tuple or None
        Row, column and words for the first value that is not finite.
    """

    length: int
    n_features: int
    dtype: np.dtype[Any]
    is_sparse: bool
    bad: tuple[int, int, str] | None = None


def rows_of(partition: Any, label: str | None = None) -> Any:
    """Return the rows of a partition as a C-ordered NumPy array or a CSR matrix.

    ``label`` is a column of a data frame that is no feature.
    """
    if label is not None:
        partition = partition.drop(columns=[label])
    rows = plain(partition, "X")
    require_rows(rows, "X")
    with np.errstate(over="ignore", invalid="ignore"):
        return check_array(
            rows,
            dtype=[row_type(rows)],
            accept_sparse="csr",
            order="C",
            ensure_all_finite=False,
            ensure_min_samples=0,
        )


def measure(rows: Any) -> Measured:
    """Return the size and type of the rows of a partition, and where one is not finite."""
    n, d = rows.shape
    bad, values = None, rows.data if issparse(rows) else rows
    if n and values.dtype.kind == "f" and not np.isfinite(values).all():
        dense = rows.toarray() if issparse(rows) else rows
        row, column = np.argwhere(~np.isfinite(dense))[0]
        word = "NaN" if np.isnan(dense[row, column]) else "infinity"
        bad = int(row), int(column), word
    return Measured(n, d, rows.dtype, bool(issparse(rows)), bad)


def labels_of(partition: Any, label: str | None = None) -> NDArray[Any]:
    """Return the labels of a partition; ``label`` is their column if it is a data frame."""
    labels = read_labels(partition if label is None else partition[label])
    require_one_a_row(labels)
    require_whole(labels)
    return labels.ravel()


def classes_in(labels: NDArray[Any]) -> tuple[int, NDArray[Any]]:
    """Return the number of labels and those that occur."""
    return len(labels), classes_of(labels) if len(labels) else labels


def weights_of(partition: Any) -> NDArray[np.float64]:
    """Return the row weights of a partition."""
    return numbers(partition, "sample_weight").ravel()


def length_of(values: Any) -> int:
    """Return the number of rows."""
    return len(values)


def cut(values: Any, first: int, stop: int) -> Any:
    """Return some rows of a partition as a copy, so that the others need not stay in memory."""
    return values[first:stop].copy()


def same(value: Any) -> Any:
    """Return the argument: a value that is large is sent once, and computed again if it is lost."""
    return value


# ------------------------------------------------------------------ shards


@dataclass(frozen=True)
class Shard:
    """Consecutive rows with their labels and weights, as a worker holds them.

    Attributes
    ----------
    rows : (m, d) array, or CSR matrix
    codes : (m,)
        Place of each label among the classes.
    weights : (m,) float64 or None
        As they were given.
    """

    rows: Any
    codes: NDArray[Any]
    weights: NDArray[np.float64] | None

    def __sizeof__(self) -> int:  # by which Dask decides where a task runs
        rows = self.rows
        parts = (rows.data, rows.indices, rows.indptr) if issparse(rows) else (rows,)
        return sum(part.nbytes for part in (*parts, self.codes, self.weights) if part is not None)


@dataclass(frozen=True)
class View:
    """How a pass sees the shards: what of them becomes the samples, and in which form.

    Attributes
    ----------
    dtype, row_shift
        Each row is converted to ``dtype``, or shifted in it, if they are not None.
    has_labels, has_weights : bool
    renumbering, factors, weight_divisor
        Labels are ``renumbering[code]``; weights are those given times the ``factors`` of their
        classes, divided by ``weight_divisor``.
    shift : (d,) or None
        See :class:`fastlin.rows.samples.Samples`.
    """

    dtype: np.dtype[Any] | None
    row_shift: NDArray[np.float64] | None
    has_labels: bool = False
    has_weights: bool = False
    renumbering: NDArray[np.int32] | None = None
    factors: NDArray[np.float64] | None = None
    weight_divisor: float = 1.0
    shift: NDArray[Any] | None = None

    def samples(self, shard: Shard) -> Samples:
        """Return a shard as samples."""
        labels, weights = np.zeros(0, np.int32), None
        if self.has_labels:
            labels = shard.codes.astype(np.int32)
            labels = labels if self.renumbering is None else self.renumbering[labels]
        if self.has_weights:
            weights = shard.weights
            if self.factors is not None:
                of_class = self.factors[shard.codes]
                weights = of_class if weights is None else weights * of_class
            assert weights is not None
            weights = weights / self.weight_divisor
        return Samples(self.seen(as_rows(shard.rows)), labels, weights, self.shift)

    def seen(self, rows: Rows) -> Rows:
        """Return rows in the form of this view."""
        if self.row_shift is not None:
            assert self.dtype is not None
            return rows.minus(self.row_shift, self.dtype)
        return rows if self.dtype is None else rows.for_weights(self.dtype)


def joined(pieces: Sequence[Any]) -> Any:
    """Return consecutive rows, labels or weights in one piece."""
    if len(pieces) == 1:
        return pieces[0]
    if issparse(pieces[0]):
        return vstack(pieces, format="csr")
    return np.concatenate(pieces)


def shard_of(
    rows: Sequence[Any],
    labels: Sequence[NDArray[Any]],
    weights: Sequence[NDArray[np.float64]] | None,
    dtype: np.dtype[Any],
    classes: NDArray[Any],
) -> Shard:
    """Join the pieces of a shard, and find the place of each label among the classes."""
    found = joined(rows)
    if found.dtype != dtype:
        found = found.astype(dtype)
    if not issparse(found):
        found = np.ascontiguousarray(found)
    # Each piece by itself: joined, the labels of two partitions might become of one type.
    codes = [locate(some, classes)[0].astype(np.min_scalar_type(len(classes))) for some in labels]
    return Shard(found, joined(codes), None if weights is None else joined(weights))


def held(shard: Shard) -> tuple[int, NDArray[Any]]:
    """Return the number of stored values of a shard, and the codes of its labels."""
    return int(shard.rows.nnz if issparse(shard.rows) else shard.rows.size), shard.codes


# ------------------------------------------------------------------ passes


@dataclass(frozen=True)
class Part:
    """A worker's part of a pass, and the worker's name and identity."""

    worker: str
    identity: dict[str, str]
    found: dict[Any, Any]


def run_on_shards(
    shards: Sequence[Shard],
    places: Sequence[int],
    view: View,
    cut: Cut,
    blocks_of_a_shard: int,
    backend: str,
    step: Step,
    arguments: Sequence[Any],
    own: Sequence[Any] | None,
    adds: bool,
) -> Part:
    """Run a step on each block of some shards, ``places`` among all."""
    from distributed import get_worker

    worker = get_worker()
    tree, found = Tree(), {}
    for index, (place, shard) in enumerate(zip(places, shards, strict=True)):
        more, first = None if own is None else own[index], place * blocks_of_a_shard
        part = run(
            view.samples(shard),
            cut,
            first,
            step,
            arguments,
            more,
            worker.state.nthreads,
            adds=adds,
        )
        if not adds:
            found.update(part)
            continue
        for (height, node), value in part.items():
            tree.add(height, node, value)
    return Part(worker.address, identity(backend), tree.nodes if adds else found)


def pick(shards: Sequence[Shard], chosen: Sequence[NDArray[np.int64]]) -> list[Any]:
    """Return some rows of each shard, as they are stored."""
    return [shard.rows[rows] for shard, rows in zip(shards, chosen, strict=True)]


# ------------------------------------------------------------------ predictions


def predicted(model: Any, method: str, partition: Any) -> Any:
    """Return a model's predictions for a partition, which may have no rows."""
    if partition.shape[0]:
        return getattr(model, method)(partition)
    width = () if method == "predict" or _is_column(model, method) else (len(model.classes_),)
    dtype = model.classes_.dtype if method == "predict" else model.coef_.dtype
    return np.empty((0, *width), dtype)


def _is_column(model: Any, method: str) -> bool:
    return method == "decision_function" and len(model.classes_) == 2
