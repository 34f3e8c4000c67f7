r"""Passes: a step on each block of rows, wherever the rows are, and sums of what the steps return.

Blocks start at the first row, and their size (:meth:`fastlin.rows.interface.Rows.rows_of_a_block`)
depends only on the number of features, the types and the form of the rows. Their sums are added in
pairs, by a fixed tree::

    0   1   2   3   4
     \ /     \ /    |
     0-1     2-3    |
        \   /       |
         0-3        |
            \      /
              0-4

So the bits of a result depend neither on the number of threads nor on where the rows are: in
memory, on disk, or on other machines. Whoever has some of the blocks adds up the nodes of the tree
that lie over them alone, and :class:`Tree` joins the nodes of all, in any order.

A step is a function of a module, ``step(block, *arguments)``, that keeps nothing between two calls,
so that it can be sent to another process by its name. ``block`` is a part of the samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np

from fastlin.rows.interface import Rows
from fastlin.rows.scratch import Scratch

Sums = TypeVar("Sums", bound=tuple[Any, ...])
Step = Callable[..., Any]

FLOAT64 = np.dtype(np.float64)


class Block(Protocol):
    """Rows with their labels and weights: :class:`fastlin.rows.samples.Samples`, or like them."""

    @property
    def rows(self) -> Rows:
        """The rows."""

    def part(self, rows: slice) -> Any:
        """Return some of them."""


class Passes(Protocol):
    """What can be done with all blocks of some samples."""

    def sum(self, step: Step, *arguments: Any) -> Any:
        """Return the sum, by the tree, of the tuples that a step returns."""

    def map(self, step: Step, *arguments: Any, own: Sequence[Any] | None = None) -> Iterator[Any]:
        """Iterate over what a step returns, in the order of the blocks.

        ``own`` holds one more argument for each block.
        """


@dataclass(frozen=True)
class Cut:
    """How samples are cut into blocks.

    Attributes
    ----------
    size : int
        Rows of a block.
    dtype : numpy.dtype or None
        The blocks' rows are in a form that kernels can read for weights of this type; with None
        they are as they are stored.
    """

    size: int
    dtype: np.dtype[Any] | None

    def blocks(self, samples: Any) -> Iterator[Any]:
        """Iterate over the blocks; there is at least one, which is empty if there are no rows.

        If rows had to be copied, the next block takes their memory.
        """
        scratch = Scratch()
        for first in range(0, max(1, len(samples.rows)), self.size):
            samples.rows.prefetch(first + self.size, first + 2 * self.size)
            place = slice(first, first + self.size)
            if self.dtype is None:
                yield samples.part(place)
            else:
                yield samples.block(place, self.dtype, scratch)

    def n_blocks(self, n_rows: int) -> int:
        """Return the number of blocks."""
        return max(1, -(-n_rows // self.size))

    def slices(self, n_rows: int) -> list[slice]:
        """Return the rows of each block."""
        starts = (place * self.size for place in range(self.n_blocks(n_rows)))
        return [slice(first, min(first + self.size, n_rows)) for first in starts]


def cut_of(rows: Rows, dtype: np.dtype[Any], as_stored: bool = False) -> Cut:
    """Return how a pass with weights of ``dtype`` cuts rows."""
    return Cut(rows.rows_of_a_block(dtype), None if as_stored else dtype)


def passes(samples: Block, dtype: np.dtype[Any], *, as_stored: bool = False) -> Passes:
    """Return the passes over samples, run by whatever has their rows.

    Parameters
    ----------
    samples : Samples
    dtype : numpy.dtype
        Type of the weights, which decides the size of a block.
    as_stored : bool
        Leave the rows in the type in which they are stored.
    """
    cut, executor = cut_of(samples.rows, dtype, as_stored), samples.rows.executor
    return Here(samples, cut) if executor is None else executor.passes(samples, cut)


@dataclass(frozen=True)
class Here:
    """Passes in this process."""

    samples: Any
    cut: Cut

    def sum(self, step: Step, *arguments: Any) -> Any:
        """See :class:`Passes`."""
        return pairwise_sum(step(block, *arguments) for block in self.cut.blocks(self.samples))

    def map(self, step: Step, *arguments: Any, own: Sequence[Any] | None = None) -> Iterator[Any]:
        """See :class:`Passes`."""
        for place, block in enumerate(self.cut.blocks(self.samples)):
            yield step(block, *arguments) if own is None else step(block, *arguments, own[place])


def pairwise_sum(parts: Iterable[Sums]) -> Sums:
    """Return the sum of tuples of numbers or arrays, by the module's tree.

    At most one sum of each height waits for its neighbour, so at any time about ``log2`` of the
    number of blocks are held.
    """
    tree = Tree()
    for place, part in enumerate(parts):
        tree.add(0, place, part)
    total: Sums = tree.total()
    return total


class Tree:
    """Nodes of the tree that have not been joined, by height and place.

    The node ``(height, place)`` is the sum of the blocks from ``place << height`` on, ``1 <<
    height`` of them. Two neighbours become one as soon as both are there, so whatever the order in
    which nodes come, the same numbers are added.
    """

    def __init__(self, nodes: Mapping[tuple[int, int], Any] | None = None) -> None:
        self.nodes: dict[tuple[int, int], Any] = {}
        for (height, place), value in (nodes or {}).items():
            self.add(height, place, value)

    def add(self, height: int, place: int, value: Any) -> None:
        """Add a node, and join it with its neighbour as long as that is there."""
        while (neighbour := (height, place ^ 1)) in self.nodes:
            other = self.nodes.pop(neighbour)
            value = _add(other, value) if place & 1 else _add(value, other)
            height, place = height + 1, place >> 1
        self.nodes[height, place] = value

    def total(self) -> Any:
        """Return the sum of all blocks, of which every one must have been added."""
        (_, total), *rest = sorted(self.nodes.items(), key=lambda node: node[0])
        for _, left in rest:
            total = _add(left, total)
        return total


def _add(left: Any, right: Any) -> Any:
    return tuple(a + b for a, b in zip(left, right, strict=True))


# ------------------------------------------------------------------ elsewhere


class Threaded(ABC):
    """An argument of steps that knows how many threads may run; each process has its own number."""

    @abstractmethod
    def with_threads(self, n_threads: int) -> Any:
        """Return the argument for so many threads."""


def run(
    samples: Any,
    cut: Cut,
    first: int,
    step: Step,
    arguments: Sequence[Any],
    own: Sequence[Any] | None,
    n_threads: int,
    *,
    adds: bool,
) -> dict[Any, Any]:
    """Run a step on some consecutive blocks, in the process that has them.

    Parameters
    ----------
    samples : Samples
        The rows of these blocks, with their labels and weights.
    cut : Cut
    first : int
        Place of the first of the blocks among all.
    step, arguments, own
        See :class:`Passes`; ``own`` has the arguments of these blocks.
    n_threads : int
        For the kernels.
    adds : bool
        Whether sums are wanted.

    Returns
    -------
    dict
        Nodes of the :class:`Tree`, or what the step returned for each block, by its place.
    """
    arguments = [
        argument.with_threads(n_threads) if isinstance(argument, Threaded) else argument
        for argument in arguments
    ]
    tree, found = Tree(), {}
    for place, block in enumerate(cut.blocks(samples)):
        more = () if own is None else (own[place],)
        result = step(block, *arguments, *more)
        if adds:
            tree.add(0, first + place, result)
        else:
            found[first + place] = result
    return tree.nodes if adds else found
