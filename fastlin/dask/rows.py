"""Rows on the workers of a cluster, for the solvers like any other rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from fastlin.dask import tasks
from fastlin.dask.shards import Shards
from fastlin.dask.tasks import View
from fastlin.kernels import DenseRows
from fastlin.rows.conversion import as_rows
from fastlin.rows.interface import Rows
from fastlin.rows.passes import Cut, Step, Tree
from fastlin.rows.samples import Samples


@dataclass
class Fetched:
    """Rows that the client has, so that none is sent twice.

    Attributes
    ----------
    indices : (m,)
        In ascending order.
    rows : (m, d) array, CSR matrix or None
        As they are stored.
    """

    indices: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rows: Any = None

    def add(self, indices: NDArray[np.int64], rows: Any) -> None:
        """Add rows that are not here yet."""
        together = np.concatenate([self.indices, indices])
        order = np.argsort(together, kind="stable")
        found = rows if self.rows is None else tasks.joined([self.rows, rows])
        in_order = bool((np.diff(together) > 0).all())
        self.indices, self.rows = together[order], found if in_order else found[order]


class RemoteRows(Rows):
    """Rows in shards on the workers.

    Parameters
    ----------
    shards : Shards
    like : Rows
        Rows of the same kind and type, none of them.
    values_of_a_row : float
    factors : (k,) or None
        Factor of each class in the rows' weights.
    """

    lie_in_memory = False

    def __init__(
        self,
        shards: Shards,
        like: Rows,
        values_of_a_row: float,
        factors: NDArray[np.float64] | None = None,
    ) -> None:
        self.shards, self.like, self.factors = shards, like, factors
        self.values, self._values_of_a_row = like.values, values_of_a_row
        self.view = View(None, None)
        self._fetched = Fetched()

    @property
    def can_be_shifted(self) -> bool:  # type: ignore[override]  # of a class, elsewhere
        """See :class:`~fastlin.rows.interface.Rows`."""
        return self.like.can_be_shifted

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.like.dtype if self.view.dtype is None else self.view.dtype

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return self.shards.n_rows, self.like.shape[1]

    @property
    def values_of_a_row(self) -> float:
        """See :class:`~fastlin.rows.interface.Rows`."""
        return self._values_of_a_row

    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the same as for rows in memory."""
        return self.like.rows_of_a_block(dtype)

    def part(self, rows: slice | NDArray[np.int64]) -> Rows:
        """Fetch some rows."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        if not len(rows):
            return self.view.seen(self.like)
        places = self._fetch(rows)
        return self.view.seen(as_rows(self._fetched.rows[places]))

    def here(self) -> Rows:
        """Fetch all rows."""
        return self.part(slice(None))

    def kept(self, rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Fetch some rows, for reading them many times."""
        return self.part(rows), np.arange(len(rows))

    def for_weights(self, dtype: np.dtype[Any]) -> Rows:
        """Return rows of which each block is converted when it is used."""
        kept = self.like.for_weights(dtype)
        return self if kept.dtype == self.dtype else self._seen(dtype, self.view.row_shift)

    def minus(self, shift: NDArray[np.float64], dtype: np.dtype[Any]) -> Rows:
        """Return rows of which each block is shifted when it is used."""
        return self._seen(dtype, shift)

    def _seen(self, dtype: np.dtype[Any], shift: NDArray[np.float64] | None) -> RemoteRows:
        other = RemoteRows(self.shards, self.like, self._values_of_a_row, self.factors)
        other.view, other._fetched = View(dtype, shift), self._fetched
        return other

    def _fetch(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Fetch what of some rows is not here; return the places of all among the fetched."""
        fetched, size = self._fetched, self.shards.size
        missing = np.setdiff1d(rows, fetched.indices)
        if len(missing):
            places, starts = np.unique(missing // size, return_index=True)
            lots = np.split(missing, starts[1:])
            chosen = {int(n): lot - n * size for n, lot in zip(places, lots, strict=True)}
            pieces: dict[int, Any] = {}
            for group, found in self.shards.each(
                "fastlin-pick",
                tasks.pick,
                list(chosen),
                lambda group: ([chosen[place] for place in group],),
            ):
                pieces.update(zip(group, found, strict=True))
            fetched.add(missing, tasks.joined([pieces[place] for place in sorted(pieces)]))
        return np.searchsorted(fetched.indices, rows)

    # ------------------------------------------------------------------ passes

    @property
    def executor(self) -> RemoteRows:  # type: ignore[override]  # no attribute: a circle would live on
        """These rows, whose workers run passes."""
        return self

    def passes(self, samples: Samples, cut: Cut) -> RemotePasses:
        """Return the passes over samples with these rows."""
        view = replace(
            self.view,
            has_labels=samples.has_labels,
            has_weights=samples.sample_weight is not None,
            renumbering=samples.renumbering,
            factors=self.factors,
            weight_divisor=samples.weight_divisor,
            shift=samples.shift,
        )
        return RemotePasses(self.shards, view, cut)

    # ------------------------------------------------------------------ never asked of these rows

    @property
    def matrix(self) -> Any:
        """All rows, fetched."""
        return self.here().matrix

    def to_array(self) -> NDArray[Any]:
        """Return all rows, fetched."""
        return self.here().to_array()

    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> Rows:
        """See :class:`~fastlin.rows.interface.Rows`; the rows are fetched."""
        return self.here().scaled(dtype, shift, scale, factors)

    def squared(self) -> Rows:
        """Return the square of each value, fetched."""
        return self.here().squared()

    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row."""
        return self.here().squared_norms()

    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row."""
        return self.here().largest()

    def ranges(self) -> NDArray[np.float64]:
        """Return the largest value of each feature less its least."""
        return self.here().ranges()

    def checksum(self) -> int:
        """Return a checksum of all values."""
        return self.here().checksum()


class RemotePasses:
    """Passes over all shards: one task for each worker; see :class:`fastlin.rows.passes.Passes`."""

    def __init__(self, shards: Shards, view: View, cut: Cut) -> None:
        assert shards.size % cut.size == 0, "shards consist of whole blocks"
        self.shards, self.view, self.cut = shards, view, cut

    def sum(self, step: Step, *arguments: Any) -> Any:
        """See :class:`fastlin.rows.passes.Passes`."""
        tree = Tree()
        for part in self._run(step, arguments, None, adds=True):
            for (height, place), value in part.items():
                tree.add(height, place, value)
        return tree.total()

    def map(self, step: Step, *arguments: Any, own: Sequence[Any] | None = None) -> Iterator[Any]:
        """See :class:`fastlin.rows.passes.Passes`."""
        parts = self._run(step, arguments, own, adds=False)
        found = dict(itertools.chain.from_iterable(part.items() for part in parts))
        for place in sorted(found):
            yield found.pop(place)

    def _run(
        self, step: Step, arguments: Sequence[Any], own: Sequence[Any] | None, adds: bool
    ) -> list[dict[Any, Any]]:
        shards, blocks = self.shards, self.shards.size // self.cut.size
        sent = [shards.sent(argument) for argument in arguments]

        def arguments_of(group: Sequence[int]) -> tuple[Any, ...]:
            mine = None
            if own is not None:
                mine = [own[place * blocks : (place + 1) * blocks] for place in group]
            return group, self.view, self.cut, blocks, shards.backend, step, sent, mine, adds

        name = f"fastlin-{step.__name__.removesuffix('_of').replace('_', '-')}"
        places = range(len(shards.futures))
        parts = [part for _, part in shards.each(name, tasks.run_on_shards, places, arguments_of)]
        shards.require_alike(parts)
        return [part.found for part in parts]


def like_rows(dtype: np.dtype[Any], n_features: int, is_sparse: bool) -> Rows:
    """Return no rows, of a type and form."""
    if is_sparse:
        return as_rows(csr_array((0, n_features), dtype=dtype))
    return DenseRows(np.empty((0, n_features), dtype))
