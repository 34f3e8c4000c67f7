"""The interface of rows, which the rest of the package uses for every form of storage."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.scratch import Scratch

FloatArray: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"

WEIGHT_TYPES = {
    "uint8": ("float32", "float64"),
    "int8": ("float32", "float64"),
    "float16": ("float32", "float64"),
    "float32": ("float32", "float64"),
    "float64": ("float64",),
}
"""Types of weights for which there are kernels, by type of rows; the first is the default. All hold
the numbers of the rows exactly."""

ROW_TYPES = tuple(WEIGHT_TYPES)
"""Types in which kernels read rows without a copy."""


@functools.cache
def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a type, which NumPy spells anew each time, in microseconds."""
    return dtype.name


class Executor(Protocol):
    """Runs steps where the rows are, if that is in other processes."""

    def passes(self, samples: Any, cut: Any) -> Any:
        """Return the passes over samples that are cut into blocks; see ``fastlin.rows.passes``."""


class Rows(ABC):
    """``n`` rows of ``d`` features, which are read and never written.

    Solvers use only this interface and do not ask how rows are stored. Backends choose a kernel by
    the class, in ``fastlin.kernels.record``.

    Attributes
    ----------
    values : array
        The stored values.
    can_be_shifted : bool
        Whether numbers may be subtracted from the features. Sparse rows cannot be shifted, because
        that would fill in their zeros.
    executor : Executor or None
        What runs passes over all rows; None if this process does.
    """

    values: NDArray[Any]
    can_be_shifted: ClassVar[bool]
    executor: Executor | None = None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    @property
    @abstractmethod
    def values_of_a_row(self) -> float:
        """Mean number of stored values of a row."""

    @property
    def products_of_a_row(self) -> float:
        """Mean cost of a row for a kernel, in multiply-adds for each class."""
        return self.values_of_a_row

    @property
    def bytes_of_a_float64_row(self) -> int:
        """Mean memory of a row with float64 values."""
        return 8 * int(self.values_of_a_row)

    @abstractmethod
    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the number of rows of a block of a full pass with weights of ``dtype``.

        The number decides how the sums of ``fastlin.solvers.full_pass`` round, so it depends on
        nothing but ``d``, the weights' type and the form of the rows.
        """

    @abstractmethod
    def part(self, rows: slice | NDArray[np.int64]) -> Rows:
        """Return some rows: a view for a slice, copies in the given order for indices ``(m,)``."""

    def block(self, rows: slice, dtype: np.dtype[Any], scratch: Scratch) -> Rows:
        """Return some rows in a form that kernels can read for weights of ``dtype``.

        If they have to be copied, they lie in ``scratch`` until that is used again.
        """
        return self.part(rows).for_weights(dtype)

    def blocks(self, size: int) -> Iterator[tuple[slice, Rows]]:
        """Iterate over the rows, ``size`` at a time; yields the place and a view of each block."""
        for first in range(0, len(self), size):
            place = slice(first, min(first + size, len(self)))
            yield place, self.part(place)

    def pieces(self) -> Iterator[tuple[slice, Rows]]:
        """Iterate over parts that kernels can read, in order; yields the place of each.

        What the rows of a part lie in may be used again for the next part.
        """
        yield slice(0, len(self)), self

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """First row and stop of each run of rows that lies in one piece of memory or one file."""
        return [(0, len(self))]

    lie_in_memory: ClassVar[bool] = True
    """Whether rows far from one another are read as fast as neighbours."""

    def near(self, order: NDArray[np.int64]) -> tuple[Rows, slice | None, NDArray[np.int64]]:
        """Return rows that kernels can read and that hold the rows of ``order``, in its order.

        Returns
        -------
        rows : Rows
        place : slice or None
            Which rows those are; None if they are copies of the rows of ``order``.
        order : (m,)
            The places of the rows in ``rows``.
        """
        return self, slice(0, len(self)), order

    def here(self) -> Rows:
        """Return the rows in this process, for problems so small that it does everything."""
        return self

    def kept(self, rows: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        """Return rows that can be read many times, and the places of some ``rows`` there."""
        return self, rows

    def prefetch(self, first: int, stop: int) -> None:  # noqa: B027  # memory needs none
        """Begin to read some rows that will be needed soon."""

    @abstractmethod
    def minus(self, shift: NDArray[np.float64], dtype: np.dtype[Any]) -> Rows:
        """Return the rows less a shift ``(d,)``, in a type, with a single rounding."""

    @abstractmethod
    def for_weights(self, dtype: np.dtype[Any]) -> Rows:
        """Return the rows in a form that kernels can read for weights of ``dtype``.

        The rows are copied only if kernels cannot read them in place.
        """

    @property
    @abstractmethod
    def matrix(self) -> Any:
        """The rows ``(n, d)`` as a NumPy or SciPy array, which has ``@`` and ``.T``."""

    @abstractmethod
    def to_array(self) -> NDArray[Any]:
        """Return the rows as a dense array, ``(n, d)``."""

    @abstractmethod
    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> Rows:
        """Return ``(u - shift) * scale`` times each row's factor, computed in ``dtype``.

        ``shift`` and ``scale`` are ``(d,)``, ``factors`` is ``(n,)``. If all three are None, the
        values may be shared.
        """

    @abstractmethod
    def checksum(self) -> int:
        """Return a checksum of all values, in 32 bits."""

    @abstractmethod
    def squared(self) -> Rows:
        """Return the square of each value."""

    @abstractmethod
    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""

    @abstractmethod
    def ranges(self) -> NDArray[np.float64]:
        """Return the largest value of each feature less its least, ``(d,)``."""

    @abstractmethod
    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
