"""What rows are to the rest of the package: one interface, whatever form they are stored in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

    from numpy.typing import NDArray

FloatArray: TypeAlias = "NDArray[np.float32] | NDArray[np.float64]"

ROW_TYPES = ("uint8", "float32", "float64")
"""Types in which kernels read rows without a copy."""

WEIGHT_TYPES = {"uint8": ("float32", "float64"), "float32": ("float32",), "float64": ("float64",)}
"""Types of the weights that the kernels have for each type of rows; the first is the default."""


class Rows(ABC):
    """``n`` rows of ``d`` features: read, never written.

    Solvers use this interface alone and do not ask how rows are stored. Backends choose a kernel by
    the class, in ``fastlin.kernels.record``.

    Attributes
    ----------
    values : array
        The stored values.
    can_be_shifted : bool
        Whether a number may be subtracted from each feature. Sparse rows cannot be shifted, since
        that would fill in their zeros.
    """

    values: NDArray[Any]
    can_be_shifted: ClassVar[bool]

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
        """Values that are stored for a row on average."""

    @property
    @abstractmethod
    def products_of_a_row(self) -> float:
        """Multiply-adds of a class that cost as much as a row costs a kernel on average."""

    @property
    @abstractmethod
    def bytes_of_a_float64_row(self) -> int:
        """Memory that a row takes on average if its values are float64."""

    @abstractmethod
    def rows_of_a_block(self, dtype: np.dtype[Any]) -> int:
        """Return the rows of a block of a pass over all rows by weights of ``dtype``.

        The number decides how the sums of ``fastlin.solvers.full_pass`` round, so it depends on
        ``d``, the weights' type and the form of the rows alone.
        """

    @abstractmethod
    def part(self, rows: slice | NDArray[np.int64]) -> Self:
        """Return some rows: a view for a slice, copies in the order given for indices ``(m,)``."""

    def blocks(self, size: int) -> Iterator[tuple[slice, Self]]:
        """Go over the rows, ``size`` at a time; gives where a block lies and a view of it."""
        for first in range(0, len(self), size):
            place = slice(first, min(first + size, len(self)))
            yield place, self.part(place)

    @abstractmethod
    def for_weights(self, dtype: np.dtype[Any]) -> Self:
        """Return the rows as kernels can read them if the weights are of ``dtype``.

        They stay where they are if they can be read there, else they are copied.
        """

    @property
    @abstractmethod
    def matrix(self) -> Any:
        """The rows ``(n, d)`` as something with ``@`` and ``.T``: an array of NumPy or SciPy."""

    @abstractmethod
    def to_array(self) -> NDArray[Any]:
        """Return the rows with all their zeros, ``(n, d)``."""

    @abstractmethod
    def scaled(
        self,
        dtype: np.dtype[Any],
        shift: NDArray[Any] | None = None,
        scale: NDArray[Any] | None = None,
        factors: NDArray[np.float64] | None = None,
    ) -> Self:
        """Return ``(u - shift) * scale`` times each row's factor, computed in ``dtype``.

        ``shift`` and ``scale`` are ``(d,)``, ``factors`` is ``(n,)``. If all three are None, the
        values may be shared.
        """

    @abstractmethod
    def squared(self) -> Self:
        """Return the square of each value."""

    @abstractmethod
    def squared_norms(self) -> NDArray[np.float64]:
        """Return the sum of squares of each row, ``(n,)``."""

    @abstractmethod
    def largest(self) -> NDArray[np.float64]:
        """Return the largest absolute value of each row, ``(n,)``."""
