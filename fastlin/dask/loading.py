"""Turns Dask collections into shards: consecutive rows of one size, whatever the partitions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray

from fastlin.dask import tasks
from fastlin.dask.rows import RemoteRows, like_rows
from fastlin.dask.shards import Shards
from fastlin.dask.watching import Watch
from fastlin.errors import InputError, InputTypeError, listed, shown
from fastlin.rows.binding import encode_labels
from fastlin.rows.containers import is_collection, type_of_rows
from fastlin.rows.labels import classes_of
from fastlin.rows.validation import require_two_classes

Weight = np.dtype[Any]


def is_frame(values: Any) -> bool:
    """Whether this is a Dask data frame."""
    return (
        is_collection(values) and hasattr(values, "columns") and hasattr(values, "map_partitions")
    )


def partitions_of(values: Any, what: str) -> list[Any]:
    """Return the partitions of a collection along its rows.

    Raises
    ------
    InputError
        It is no collection of rows, labels or weights.
    """
    if not is_collection(values):
        raise InputTypeError(
            f"{what} is of type {type(values).__name__}; pass a Dask array or data frame, or use "
            "fastlin.LogisticRegression for what is in memory"
        )
    if not (hasattr(values, "to_delayed") and hasattr(values, "ndim")):
        raise InputTypeError(
            f"{what} is of type {type(values).__name__}; pass a Dask array or data frame"
        )
    if getattr(values, "ndim", 2) == 2 and hasattr(values, "numblocks"):
        if values.numblocks[1] > 1:
            values = values.rechunk({1: -1})
        return list(values.to_delayed()[:, 0])
    if getattr(values, "ndim", 2) > 2:
        raise InputError(
            f"{what} has {values.ndim} dimensions; expected (n, d): pass "
            f"{what}.reshape(len({what}), -1)"
        )
    return list(np.ravel(np.asarray(values.to_delayed(), object)))


@dataclass(frozen=True)
class Loaded:
    """Rows on the workers, and what the client has of them.

    Attributes
    ----------
    rows : RemoteRows
    labels : (n,)
    classes : (k,)
    weights : (n,) or None
        As they were given.
    """

    rows: RemoteRows
    labels: NDArray[Any]
    classes: NDArray[Any]
    weights: NDArray[np.float64] | None


@dataclass(frozen=True)
class Column:
    """A collection on the workers: a future for each partition, and its number of rows."""

    futures: Sequence[Any]
    lengths: Sequence[int]

    def pieces(self, first: int, stop: int, watch: Watch) -> list[Any]:
        """Return futures for consecutive rows; of a partition only what is needed is sent."""
        found, start = [], 0
        for future, length in zip(self.futures, self.lengths, strict=True):
            low, high = max(first - start, 0), min(stop - start, length)
            if low < high == length and low == 0:
                found.append(future)
            elif low < high:
                key = f"fastlin-cut-{uuid4().hex}"
                found.append(watch.client.submit(tasks.cut, future, low, high, key=key, pure=False))
            start += length
        return found


class Loader:
    """Loads collections as shards.

    Parameters
    ----------
    watch : Watch
    backend : str
    type_of_weights : callable
        Returns the type of the weights for that of the rows, which decides the size of a shard.
    """

    def __init__(
        self, watch: Watch, backend: str, type_of_weights: Callable[[Weight], Weight]
    ) -> None:
        self.watch, self.backend, self._type_of_weights = watch, backend, type_of_weights

    def load(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: NDArray[Any] | None = None,
        what: str = "X",
    ) -> Loaded:
        """Load rows with their labels.

        Parameters
        ----------
        X, y : Dask collections, or a frame and the name of its column of labels
        sample_weight : Dask collection, optional
        classes : (k,), optional
            Those of the training, to which the labels must belong.
        what : str
            Name of ``X`` in messages.

        Raises
        ------
        InputError
            Something cannot be used; the message names the partition and the row.
        """
        y_name = "y" if what == "X" else "y_val"
        watch, label = self.watch, y if isinstance(y, str) else None
        parts = partitions_of(X, what)
        if label is not None and not (is_frame(X) and label in X.columns):
            raise InputError(f"y={shown(label)} names a column, and {what} has none of that name")
        # A partition of which two tasks read is loaded once.
        watch.doing = f"loading {what}"
        sources = watch.client.compute(parts, optimize_graph=False) if label else parts
        rows = self._computed("rows", tasks.rows_of, sources, label)
        of_labels = sources if label is not None else partitions_of(y, y_name)
        labels = self._computed("labels", tasks.labels_of, of_labels, label)
        weights = None
        if sample_weight is not None:
            given = partitions_of(sample_weight, "sample_weight")
            weights = self._computed("row-weights", tasks.weights_of, given)
        del sources
        measured = self._each("measure", tasks.measure, rows)
        lengths = [one.length for one in measured]
        n_rows = sum(lengths)
        if n_rows == 0:
            raise InputError(f"{what} has no rows in {len(lengths)} partitions; give it some")
        _require_alike(measured, what)
        found = self._each("classes", tasks.classes_in, labels)
        label_lengths = [length for length, _ in found]
        _require_same_length(lengths, label_lengths, what, y_name)
        if classes is None:
            classes = classes_of(np.concatenate([some for length, some in found if length]))
            require_two_classes(classes)
        else:
            encode_labels(
                np.concatenate([some for length, some in found if length]), classes, y_name
            )
        columns = [Column(rows, lengths), Column(labels, label_lengths)]
        if weights is not None:
            weight_lengths = self._each("length", tasks.length_of, weights)
            _require_same_length(lengths, weight_lengths, what, "sample_weight")
            columns.append(Column(weights, weight_lengths))
        filled = [one for one in measured if one.length]
        dtype = type_of_rows([one.dtype for one in filled])
        if filled[0].is_sparse:
            dtype = np.result_type(*(one.dtype for one in filled))
        like = like_rows(dtype, filled[0].n_features, filled[0].is_sparse)
        size = like.rows_of_a_block(self._type_of_weights(dtype))
        futures = self._shards(columns, size, n_rows, dtype, classes)
        weights_here = None if weights is None else np.concatenate(watch.results(weights))
        del rows, labels, weights, columns  # the workers forget them once there are shards
        watch.doing = f"making shards of {what}"
        watch.done(futures)
        shards = Shards(futures, size, n_rows, self.backend, watch)
        held = self._each("codes", tasks.held, futures)
        remote = RemoteRows(shards, like, sum(values for values, _ in held) / n_rows)
        codes = np.concatenate([some for _, some in held])
        return Loaded(remote, classes[codes], classes, weights_here)

    def _shards(
        self,
        columns: Sequence[Column],
        size: int,
        n_rows: int,
        dtype: Weight,
        classes: NDArray[Any],
    ) -> list[Any]:
        """Start to make the shards; return their futures."""
        client, token, futures = self.watch.client, uuid4().hex, []
        for place, first in enumerate(range(0, n_rows, size)):
            pieces = [column.pieces(first, first + size, self.watch) for column in columns]
            rows, labels, weights = (*pieces, None)[:3]
            made = rows, labels, weights, dtype, classes
            key = f"fastlin-shard-{token}-{place}"
            futures.append(client.submit(tasks.shard_of, *made, key=key, pure=False))
        return futures

    def _computed(
        self, name: str, function: Any, sources: Sequence[Any], *arguments: Any
    ) -> list[Any]:
        """Start a function on each partition; return the futures."""
        client, token = self.watch.client, uuid4().hex
        if sources and not hasattr(sources[0], "dask"):  # futures
            return [
                client.submit(
                    function, one, *arguments, key=f"fastlin-{name}-{token}-{place}", pure=False
                )
                for place, one in enumerate(sources)
            ]
        lazy = [
            delayed(function, pure=False)(
                one, *arguments, dask_key_name=f"fastlin-{name}-{token}-{place}"
            )
            for place, one in enumerate(sources)
        ]
        return list(client.compute(lazy))

    def _each(self, name: str, function: Any, futures: Sequence[Any]) -> list[Any]:
        """Run a function on each partition, and return its results."""
        return self.watch.results(self._computed(name, function, futures))


def _require_alike(measured: Sequence[tasks.Measured], what: str) -> None:
    """Raise if partitions do not fit together, or hold nan or infinity."""
    first: tuple[int, tasks.Measured] | None = None
    start = itertools.accumulate((one.length for one in measured), initial=0)
    for (place, one), before in zip(enumerate(measured), start, strict=False):
        if not one.length:
            continue
        first = first or (place, one)
        for name, value, expected in (
            ("features", one.n_features, first[1].n_features),
            ("sparse rows", one.is_sparse, first[1].is_sparse),
        ):
            if value != expected:
                raise InputError(
                    f"partition {place} of {what} has {name}: {value}, and partition {first[0]} "
                    f"has {expected}; make all partitions alike"
                )
        if one.bad is not None:
            row, column, word = one.bad
            raise InputError(
                f"Input {what} contains {word}, the first in row {row} of partition {place} (row "
                f"{before + row} of all, counted from 0), column {column}; leave that row out, or "
                "fill the value in"
            )


def _require_same_length(
    lengths: Sequence[int], others: Sequence[int], what: str, name: str
) -> None:
    """Raise if rows and their labels or weights differ in number."""
    if sum(lengths) != sum(others):
        raise InputError(
            f"{what} has {sum(lengths)} rows in {len(lengths)} partitions "
            f"({listed(list(lengths), 3)}), and {name} has {sum(others)} in {len(others)} "
            f"({listed(list(others), 3)}); pass one for each row"
        )
