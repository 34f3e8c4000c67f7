"""Shards of rows on the workers: who has them, and one task for each worker that does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np

from fastlin.dask import tasks
from fastlin.dask.tasks import Part
from fastlin.dask.watching import Watch
from fastlin.errors import ClusterError

MOST_INLINE = 2**18
"""Bytes of an argument that are sent with each task; a larger one becomes a task of its own."""


class Shards:
    """The futures of the shards, each of them on some worker.

    Attributes
    ----------
    futures : list of distributed.Future
    size : int
        Rows of each shard but the last.
    n_rows : int
    backend : str
    watch : Watch
    """

    def __init__(
        self, futures: list[Any], size: int, n_rows: int, backend: str, watch: Watch
    ) -> None:
        self.futures, self.size, self.n_rows = futures, size, n_rows
        self.backend, self.watch = backend, watch
        self._owners: dict[str, Sequence[str]] = {}
        self._first: Part | None = None

    def groups(self, places: Sequence[int]) -> list[list[int]]:
        """Divide shards by the workers that hold them now; those that no worker has, evenly.

        A worker that has died is not asked for: the scheduler computes its shards again.
        """
        client = self.watch.client

        async def who() -> Any:
            return await client.who_has(self.futures), await client.scheduler.ncores()

        found = self.watch.within(min(5.0, self.watch.timeout), who)
        n_workers = 1
        if found is not None:  # otherwise as they were
            self._owners, n_workers = dict(found[0]), max(1, len(found[1]))
        groups: dict[Any, list[int]] = defaultdict(list)
        homeless = []
        for place in places:
            owners = self._owners.get(self.futures[place].key, ())
            if owners:
                groups[min(owners, key=lambda one: (len(groups[one]), str(one)))].append(place)
            else:
                homeless.append(place)
        share = -(-len(homeless) // n_workers) if homeless else 1
        divided = [homeless[first : first + share] for first in range(0, len(homeless), share)]
        return [group for group in [*groups.values(), *divided] if group]

    def each(
        self,
        name: str,
        function: Any,
        places: Sequence[int],
        arguments: Any,
    ) -> list[tuple[list[int], Any]]:
        """Run a function on each worker's shards.

        ``arguments`` returns, for the places of some shards, what the function gets after them.
        Returns the places, and what the function returned, for each group.
        """
        client, token = self.watch.client, uuid4().hex
        groups = self.groups(places)
        futures = [
            client.submit(
                function,
                [self.futures[place] for place in group],
                *arguments(group),
                key=f"{name}-{token}-{number}",
                pure=False,
            )
            for number, group in enumerate(groups)
        ]
        return list(zip(groups, self.watch.results(futures), strict=True))

    def sent(self, argument: Any) -> Any:
        """Return an argument, or if it is large a task that returns it.

        A task can be run again if its worker dies, unlike data that was scattered.
        """
        if not isinstance(argument, np.ndarray) or argument.nbytes <= MOST_INLINE:
            return argument
        key = f"fastlin-weights-{uuid4().hex}"
        return self.watch.client.submit(tasks.same, argument, key=key, pure=False)

    def require_alike(self, parts: Sequence[Part]) -> None:
        """Raise if two workers' results differ in what their bits depend on."""
        self._first = self._first or parts[0]
        for part in parts:
            require_alike(self._first.worker, self._first.identity, part.worker, part.identity)

    def close(self) -> None:
        """Let the workers forget the rows."""
        self.futures = []


def require_alike(
    worker: str, identity: dict[str, str], other: str, identity_of_other: dict[str, str]
) -> None:
    """Raise if two processes differ in what the bits of a pass depend on."""
    for name, value in identity.items():
        theirs = identity_of_other.get(name)
        if theirs != value:
            raise ClusterError(
                f"{name} is {value} on {worker} and {theirs} on {other}, so that results would "
                "depend on who computes them; install the same on all, or name a backend= that "
                "all have, or set FASTLIN_ISA alike"
            )
