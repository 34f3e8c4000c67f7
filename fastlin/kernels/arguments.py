"""What every kernel of every backend receives: the samples, the parameters, the options of a step.

Legend, here and in all kernels: ``n`` rows, ``d`` features, ``k`` classes (``k == 1`` is the
sigmoid with labels 0 and 1, ``k > 1`` the softmax), ``m`` positions of an epoch's order,
``s`` steps.

A kernel sees a row ``u`` as it lies in memory and works on ``u - shift``. Scaling is folded into
the weights: for ``x = (u - shift) * scale`` and the model ``W x + b`` the kernels hold
``V = W * scale``, since ``V (u - shift) = W x``. A gradient step of rate ``r`` on ``W`` is the
step ``r * scale**2`` on ``V`` (chain rule, twice), which is what ``gain`` says; the penalty
``l2 * sum(W**2)`` shrinks ``V`` and ``W`` alike, which is what ``decay`` says. So no scaled copy
of the data ever exists.

Rows may be sparse: of every row only the features that are not zero are stored (:class:`CsrRows`).
Then there is no ``shift``, which would make zeros into other numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastlin.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

    FloatArray = NDArray[np.float32] | NDArray[np.float64]

ROW_TYPES = ("uint8", "float32", "float64")
"""Types in which rows are read where they lie."""

WEIGHT_TYPES = {"uint8": ("float32", "float64"), "float32": ("float32",), "float64": ("float64",)}
"""Types of the weights that the kernels have for each type of rows; the first is the default."""


@dataclass(frozen=True)
class CsrRows:
    """Rows of which only what is not zero is stored: SciPy's compressed sparse rows, ``z`` in all.

    Row ``i`` holds ``values[s]`` in feature ``columns[s]`` for
    ``row_starts[i] <= s < row_starts[i + 1]``, and zeros elsewhere. The columns of a row ascend and
    each occurs once; a row may be empty. Kernels rely on it, and on all columns being below ``d``.

    Attributes
    ----------
    values : (z,) float32 or float64
        Contiguous and aligned, of the weights' type.
    columns : (z,) int32 or int64
        Contiguous and aligned.
    row_starts : (n + 1,) of the columns' type
        Contiguous and aligned; from 0 on it never falls.
    n_features : int
        ``d``.
    """

    values: FloatArray
    columns: NDArray[np.int32] | NDArray[np.int64]
    row_starts: NDArray[np.int32] | NDArray[np.int64]
    n_features: int

    def __len__(self) -> int:
        return len(self.row_starts) - 1

    @property
    def shape(self) -> tuple[int, int]:
        """``(n, d)``."""
        return len(self), self.n_features

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.values.dtype

    def to_scipy(self) -> csr_array:
        """Return the rows as SciPy's array ``(n, d)`` over the same memory."""
        from scipy.sparse import csr_array

        # Unlike csr_matrix, which would copy 64-bit columns that 32 bits can hold.
        return csr_array((self.values, self.columns, self.row_starts), shape=self.shape)

    def part(self, rows: NDArray[np.int64]) -> CsrRows:
        """Return copies of some rows, in the order given."""
        lengths = np.diff(self.row_starts)[rows]
        row_starts = np.zeros(len(rows) + 1, self.row_starts.dtype)
        np.cumsum(lengths, out=row_starts[1:])
        where = np.repeat(self.row_starts[rows] - row_starts[:-1], lengths)
        where += np.arange(len(where), dtype=where.dtype)
        return CsrRows(self.values[where], self.columns[where], row_starts, self.n_features)


Rows: TypeAlias = "NDArray[Any] | CsrRows"


@dataclass(frozen=True)
class Samples:
    """Rows and labels: read by kernels, never written.

    Attributes
    ----------
    rows : (n, d) uint8, float32 or float64, or CsrRows
        Each row contiguous; rows may be any constant number of bytes apart, forwards or backwards,
        and at any address, be it a multiple of an element's size or not.
    labels : (n,) int32
        Class of each row, ``0 .. k - 1``; 0 or 1 where ``k == 1``.
    sample_weight : (n,) float64 or None
        Factor of each row's loss and gradient; None is 1.
    shift : (d,) of the weights' type or None
        Subtracted from every row; None is 0. Sparse rows have none.
    """

    rows: Rows
    labels: NDArray[np.int32]
    sample_weight: NDArray[np.float64] | None = None
    shift: FloatArray | None = None

    def __post_init__(self) -> None:
        assert self.shift is None or not isinstance(self.rows, CsrRows), "sparse rows have no shift"


@dataclass
class Parameters:
    """What training changes, in place. All float32 or all float64, C-ordered.

    Attributes
    ----------
    weights : (k, d)
        ``V`` of the module's text.
    intercept : (k,)
        ``b``, of the shifted rows.
    weights_velocity, intercept_velocity : (k, d) and (k,) or None
        Running sums of momentum; None without momentum.
    weights_average, intercept_average : (k, d) and (k,) or None
        Running averages of the two; None without averaging.
    """

    weights: FloatArray
    intercept: FloatArray
    weights_velocity: FloatArray | None = None
    intercept_velocity: FloatArray | None = None
    weights_average: FloatArray | None = None
    intercept_average: FloatArray | None = None

    def to_return(self) -> tuple[FloatArray, FloatArray]:
        """Return the weights and intercept that training is for: the averages, if there are any."""
        if self.weights_average is not None and self.intercept_average is not None:
            return self.weights_average, self.intercept_average
        return self.weights, self.intercept


@dataclass(frozen=True)
class StepOptions:
    """What stays fixed over a run of steps.

    Attributes
    ----------
    batch_size : int
        Rows of a step; the last step of a run may have fewer.
    learning_rates : (s,) float64
        Rate of each step.
    decay : (d,) of the weights' type
        Coefficient of the penalty's gradient, ``2 * l2``, for each feature; with sparse rows the
        same number for all of them.
    gain : (d,) of the weights' type
        ``scale**2`` for each feature.
    intercept_decay : float
        ``2 * l2`` where the intercept is penalised, else 0.
    intercept_gain : float
        Factor of the intercept's gradient; 0 where it is not trained.
    momentum : float
        Factor of the velocity, in [0, 1).
    nesterov : bool
        Look ahead by one velocity step.
    average_rates : (s,) float64 or None
        Share of each step's result in the running averages; None without averaging.
    """

    batch_size: int
    learning_rates: NDArray[np.float64]
    decay: FloatArray
    gain: FloatArray
    intercept_decay: float = 0.0
    intercept_gain: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    average_rates: NDArray[np.float64] | None = None

    @property
    def decay_of_all(self) -> float:
        """The decay that all features have, as steps on sparse rows need it."""
        if not (self.decay == self.decay[0]).all():
            raise InputError(
                f"features have decays from {self.decay.min():g} to {self.decay.max():g}; steps on "
                "sparse rows need the same for all, so pass one number or dense rows"
            )
        return float(self.decay[0])
