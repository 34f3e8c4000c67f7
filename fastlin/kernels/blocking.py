"""How a kernel's work is cut: classes into blocks, features into slices, rows into panels, threads.

Decided once, here, for the C and the Numba backend; kernels take these numbers and decide nothing
of it again. Everything but the number of threads follows from the shape, the types and the vector
registers alone, so the order of all sums does too, and so do the bits: one thread and sixteen
threads give the same ones.

A kernel works on a *panel* of rows at a time, few enough to stay in a core's cache from the logits
to the gradient. A *slice* of the features is what one thread works on between two barriers. A
*micro-kernel* is the innermost loop: its sums, of a *block* of classes, stay in vector registers.
(The words are those of Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
Functionality", 2015.)

Longer than most files: the rules for dense and for sparse rows share the registers and the threads,
and whoever changes one number should see the others.
"""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import CsrRows

# ------------------------------------------------------------------ registers

PANEL = 128
"""Dense rows of a panel. 128 rows of 784 bytes or floats (100 or 400 kB) stay in the second-level
cache between the two readings; twice as many do not with float64."""

ROW_STEP = 8
"""Threads split a panel between multiples of this many rows: of all micro-kernels' rows at once."""


class MicroKernel(NamedTuple):
    """The innermost loops for one block: their sums must leave registers for the operands.

    ``rows`` at once for the logits, with one sum for each class and row; ``vectors`` of features at
    once for the gradient, with one sum for each class and vector.
    """

    rows: int
    vectors: int


OF_32_REGISTERS = {
    1: MicroKernel(8, 8),
    2: MicroKernel(8, 8),
    3: MicroKernel(8, 8),
    4: MicroKernel(4, 4),
    5: MicroKernel(4, 4),
    6: MicroKernel(4, 4),
    8: MicroKernel(2, 2),
    10: MicroKernel(2, 2),
}
"""Micro-kernels by classes of a block: at most 24 sums, so that 8 registers are left."""

OF_16_REGISTERS = {
    1: MicroKernel(8, 8),
    2: MicroKernel(4, 4),
    3: MicroKernel(4, 4),
    4: MicroKernel(2, 2),
    5: MicroKernel(2, 2),
    6: MicroKernel(2, 2),
}
"""The same with at most 12 sums, so that 4 registers are left."""

MOST_SUMS = 24
"""Sums of the largest micro-kernel, in vectors."""


@dataclass(frozen=True)
class Registers:
    """What an instruction set offers the kernels.

    Attributes
    ----------
    vector_bytes : int
        Size of a vector register: 64, 32 or 16.
    matrix_unit : bool
        Whether a matrix unit multiplies bytes (AMX).
    """

    vector_bytes: int
    matrix_unit: bool = False

    @property
    def n_registers(self) -> int:
        """The number of vector registers."""
        # AVX-512 has 32 registers and what came before it 16; NEON has 32 from the start.
        many = self.vector_bytes == 64 or platform.machine() in ("aarch64", "arm64")
        return 32 if many else 16

    @property
    def micro_kernels(self) -> dict[int, MicroKernel]:
        """The micro-kernels, by the number of classes of a block."""
        return OF_32_REGISTERS if self.n_registers == 32 else OF_16_REGISTERS


REGISTERS = {
    "amx": Registers(64, matrix_unit=True),
    "avx512": Registers(64),
    "avx2": Registers(32),
    "baseline": Registers(16),
}
"""By the names that backends give their instruction sets."""


# ------------------------------------------------------------------ threads

WORK_OF_A_THREAD = 200_000
"""Products between two barriers that are worth one more thread: some 10 microseconds of work,
several times what a barrier costs."""

COST_OF_A_FEATURE = 16
"""Products that take as long as loading and converting one feature of a row."""

UNIT_SPEED = 4
"""How many times faster a matrix unit is, all in all: its products are sixteen times as fast, but
laying out the operands is not."""


def useful_threads(
    work: float, whole_work: float, work_of_a_start: float, most: int, n_slices: int
) -> int:
    """Return how many threads have enough to do, and about as much of it each.

    A thread that shares a slice works on no other. So with fewer threads than slices, those with
    the most slices decide, and with more, those that share a slice with the fewest: seven threads
    take as long over four slices as four do.

    Parameters
    ----------
    work : float
        Work between two barriers, as a multiple of what is worth a thread.
    whole_work : float
        Work of the whole call, in any unit.
    work_of_a_start : float
        Work, in the same unit, that takes as long as starting a thread; 0 if a backend keeps its
        threads from one call to the next.
    most : int
        No more than this.
    n_slices : int
        Slices that they divide; 1 if they divide the work in another way.
    """
    if work_of_a_start:
        most = min(most, 1 + int(whole_work / work_of_a_start))
    n_threads = max(1, min(int(work), most))
    if n_threads < n_slices:
        slices_of_a_thread = -(-n_slices // n_threads)
        return -(-n_slices // slices_of_a_thread)
    threads_of_a_slice = min(int(work / n_slices + 0.5), most // n_slices)
    return n_slices * max(1, threads_of_a_slice)


# ------------------------------------------------------------------ dense rows

MANY_FEATURES, SOME_VECTORS = 2048, 16
"""From how many features on four slices, and from how many vectors on two slices, are worth their
barrier; fewer features stay whole."""

VECTORS_OF_A_BOUND = 8
"""Slices start at multiples of this many vectors, the most that a micro-kernel takes at once."""

FEATURES_OF_A_UNIT_SLICE = 1024
"""Features of a slice on a matrix unit, where one slice belongs to one thread."""

FEATURES_THAT_FIT = 32_768
"""Features over which 32 bits hold a sum of products of bytes: 255 * 128 * 32768 < 2^31."""

MANY_UNIT_SLICES = 64
"""From here on slices grow, since each of them has partial logits of its own."""

UNIT_BLOCK = 4
"""Classes whose four digits each fill the 16 columns of a tile register."""

VECTORS_OF_A_UNIT = 4
"""Vectors of 16 features in the 64 bytes of a tile register's row."""

UNIT_CLASSES, UNIT_PRODUCTS = 8, 1024
"""Classes, and rows times classes, from which on a matrix unit is worth laying out its operands."""

MANY_CLASSES, MOST_PADDED = 32, 1.25
"""Classes from which on vectors hold classes rather than features, and how many times as many the
vectors may have lanes: a lane without a class takes as long as one with a class."""

MANY_CLASSES_OF_A_PASS, MOST_PADDED_OF_A_PASS = 64, 1.04
"""The same in a pass, which gains less by it: it has no gradient to add up over a large batch."""

NARROWEST = 16
"""Bytes of the narrowest vectors."""

RESIDUALS_OF_ONE = 8192
"""Logits of a panel up to which every thread computes all residuals itself, sooner than the threads
could share them and meet at one more barrier."""


@dataclass(frozen=True)
class DenseBlocking:
    """How a call on dense rows is cut; ``n_...`` are numbers of things.

    Attributes
    ----------
    matrix_unit : bool
        Whether a matrix unit multiplies, rather than vectors.
    lanes : int
        Features of a vector.
    block, n_blocks : int
        Classes of a block; the last block may be filled up.
    n_vectors : int
        Vectors of features, the last one filled up or overlapping the one before.
    n_slices : int
        Slices of the features; bits depend on it.
    classes_in_lanes : bool
        Whether vectors hold classes rather than features, as many classes let them.
    shares_residuals : bool
        Whether several threads share the residuals of a panel.
    n_threads : int
        Threads that have enough to do; bits do not depend on it.
    micro_kernel : MicroKernel
        The innermost loops of vectors for this block.
    """

    matrix_unit: bool
    lanes: int
    block: int
    n_blocks: int
    n_vectors: int
    n_slices: int
    classes_in_lanes: bool
    shares_residuals: bool
    n_threads: int
    micro_kernel: MicroKernel

    @property
    def k_padded(self) -> int:
        """Classes, with those that only fill the last block."""
        return self.block * self.n_blocks

    @property
    def slice_bounds(self) -> NDArray[np.int64]:
        """The first vector of each slice, and the number of vectors: ``(n_slices + 1,)``."""
        bounds = np.arange(self.n_slices + 1) * self.n_vectors // self.n_slices
        bounds[:-1] -= bounds[:-1] % VECTORS_OF_A_BOUND
        return bounds


def choose_block(n_classes: int, micro_kernels: dict[int, MicroKernel]) -> int:
    """Return the number of classes of a block whose padding costs least; of equal ones the most."""

    def cost(block: int) -> float:
        # A narrow micro-kernel loads more for each product.
        return -(-n_classes // block) * block * (1 + 1 / block)

    return min(sorted(micro_kernels, reverse=True), key=cost)


def suits_matrix_unit(row_type: str, weight_type: str, n_rows: int, n_classes: int) -> bool:
    """Return whether steps of so many rows hold enough products for a matrix unit."""
    of_types = (row_type, weight_type) == ("uint8", "float32")
    return of_types and n_classes >= UNIT_CLASSES and n_rows * n_classes >= UNIT_PRODUCTS


def suits_lanes(
    types: tuple[str, str], n_classes: int, registers: Registers, *, steps: bool
) -> bool:
    """Return whether vectors should hold classes rather than features, unless a unit multiplies."""
    row_type, weight_type = types
    lanes = registers.vector_bytes // np.dtype(weight_type).itemsize
    n_padded = -(-n_classes // lanes) * lanes
    least, most = (
        (MANY_CLASSES, MOST_PADDED) if steps else (MANY_CLASSES_OF_A_PASS, MOST_PADDED_OF_A_PASS)
    )
    if n_classes < least or n_padded > most * n_classes:
        return False
    # The narrowest vectors gain nothing by it, but that narrow rows are widened only once.
    return registers.vector_bytes > NARROWEST or row_type != weight_type


def holds_classes(
    types: tuple[str, str], n_classes: int, batch_size: int, registers: Registers, *, steps: bool
) -> bool:
    """Return whether vectors hold classes in a call; see :func:`dense_blocking`."""
    if not suits_lanes(types, n_classes, registers, steps=steps):
        return False
    return not (steps and uses_matrix_unit(types, n_classes, batch_size, registers))


def uses_matrix_unit(
    types: tuple[str, str], n_classes: int, batch_size: int, registers: Registers
) -> bool:
    """Return whether a matrix unit multiplies in a call that computes gradients."""
    return registers.matrix_unit and suits_matrix_unit(*types, batch_size, n_classes)


@functools.lru_cache(maxsize=256)  # ten microseconds, of sixty for the prediction of a row
def dense_blocking(
    n_features: int,
    n_classes: int,
    n_rows: int,
    batch_size: int,
    types: tuple[str, str],
    registers: Registers,
    n_threads: int,
    *,
    steps: bool,
    work_of_a_start: float = 0,
) -> DenseBlocking:
    """Cut a call on dense rows.

    Parameters
    ----------
    n_features, n_classes : int
        ``d`` and ``k``; ``k == 1`` is the sigmoid.
    n_rows, batch_size : int
        Rows that the call reads, and rows between two steps: all of them if it makes no step.
    types : tuple of str
        Types of the rows and of the weights.
    registers : Registers
        Of the instruction set.
    n_threads : int
        Threads that there may be.
    steps : bool
        Whether the call computes gradients, rather than logits alone.
    work_of_a_start : float, optional
        Products that take as long as starting a thread.
    """
    lanes = registers.vector_bytes // np.dtype(types[1]).itemsize
    n_vectors = -(-n_features // lanes)
    unit = steps and uses_matrix_unit(types, n_classes, batch_size, registers)
    block = choose_block(n_classes, registers.micro_kernels)
    n_slices = 4 if n_features >= MANY_FEATURES else 2 if n_vectors >= SOME_VECTORS else 1
    if unit:
        block = UNIT_BLOCK
        n_vectors = -(-n_vectors // VECTORS_OF_A_UNIT) * VECTORS_OF_A_UNIT
        if n_features >= 4 * FEATURES_OF_A_UNIT_SLICE:
            n_slices = min(
                n_features // FEATURES_OF_A_UNIT_SLICE,
                n_features // FEATURES_THAT_FIT + MANY_UNIT_SLICES,
            )
    n_blocks = -(-n_classes // block)
    classes_in_lanes = holds_classes(types, n_classes, batch_size, registers, steps=steps)
    most_threads = n_threads  # that divide classes, rows and features
    if not classes_in_lanes:
        # Threads that share a slice take two vectors of features each, at least.
        most_threads = min(n_threads, n_slices if unit else max(1, n_vectors // 2))
    products_of_a_row = n_features * (n_blocks * block + COST_OF_A_FEATURE)
    speed = UNIT_SPEED if unit else 1
    rows = min(batch_size, PANEL, n_rows)
    return DenseBlocking(
        matrix_unit=unit,
        lanes=lanes,
        block=block,
        n_blocks=n_blocks,
        n_vectors=n_vectors,
        n_slices=n_slices,
        classes_in_lanes=classes_in_lanes,
        shares_residuals=n_blocks * block * PANEL > RESIDUALS_OF_ONE,
        n_threads=useful_threads(
            rows * products_of_a_row / (speed * WORK_OF_A_THREAD),
            n_rows * products_of_a_row / speed,
            work_of_a_start,
            most_threads,
            n_slices if steps and not classes_in_lanes else 1,
        ),
        micro_kernel=registers.micro_kernels[block],
    )


# ------------------------------------------------------------------ sparse rows

SPARSE_PANEL = 256
"""Sparse rows between two barriers at most, so that their partial logits stay in the cache."""

PARTS = 16
"""Ranges of features in a slice, which threads share where they may."""

MOST_CLASS_VECTORS = 4
"""Vectors of classes of a block: their sums, and products under way, stay in registers."""

WORK_OF_A_SPARSE_THREAD = 50_000
"""The same on sparse rows, whose products take longer."""

COST_OF_A_VALUE = 16
"""Products that take as long as reading a stored value and finding its feature's weights."""

MOST_SLICES = 8
"""Slices at most, since each has partial logits of its own."""

PRODUCTS_OF_A_SLICE = 2000
"""Products of a row that are worth a slice of the features of their own, on average."""

MOST_ROWS_IN_PLACE = 256
"""Rows of a batch that may change the weights one by one, though each addition rounds."""

MOST_VALUES_IN_PLACE = 1.0
"""Stored values of a batch for each feature up to which more rows do: else every step visits many
features that it has no gradient for."""

VALUES_BETWEEN_FLUSHES = 32
"""Stored values for each feature between two additions of the gradient so far to the result."""

ROWS_LOOKED_AT = 256
"""Rows that tell how the stored values spread over the features."""


@dataclass(frozen=True)
class SparseBlocking:
    """How a call on sparse rows is cut; ``n_...`` are numbers of things.

    Attributes
    ----------
    lanes, block, n_blocks : int
        Classes lie in ``n_blocks`` blocks of ``block`` vectors of ``lanes`` classes; the last is
        filled up.
    bounds : tuple of int
        First feature of each of the ``PARTS`` parts of each slice, and ``d``; bits depend on it.
    in_place : bool
        Whether each row of a batch changes the weights at once, rather than a gradient.
    flush_interval : int
        Panels of rows between two additions of the gradient so far to the result.
    n_threads : int
        Threads that have enough to do; bits do not depend on it.
    """

    lanes: int
    block: int
    n_blocks: int
    bounds: tuple[int, ...]
    in_place: bool
    flush_interval: int
    n_threads: int

    @property
    def k_padded(self) -> int:
        """Classes, with those that only fill the last block."""
        return self.lanes * self.block * self.n_blocks

    @property
    def n_slices(self) -> int:
        """Slices of the features."""
        return len(self.bounds) // PARTS


def sparse_blocking(
    rows: CsrRows,
    n_classes: int,
    n_order: int,
    batch_size: int,
    registers: Registers,
    n_threads: int,
    *,
    work_of_a_start: float = 0,
    steps: bool = True,
    updates: bool = True,
) -> SparseBlocking:
    """Cut a call on sparse rows; the parameters are those of :func:`dense_blocking`.

    ``n_order``: rows that it reads; ``updates``: whether batches change the weights. Then no thread
    shares a slice with another: if the two cores have no cache in common, they take twice as long
    as one, because each of them reads the weights that the other one has just written.
    """
    n_features = rows.n_features
    most_lanes = registers.vector_bytes // rows.dtype.itemsize
    lanes = min(most_lanes, 1 << (n_classes - 1).bit_length())
    n_vectors = -(-n_classes // lanes)
    n_blocks = -(-n_vectors // MOST_CLASS_VECTORS)
    block = -(-n_vectors // n_blocks)
    cost_of_a_row = rows.values_of_a_row * (lanes * block * n_blocks + COST_OF_A_VALUE)
    batch_size = min(batch_size, n_order)
    values_of_a_batch = max(1.0, batch_size * rows.values_of_a_row)
    n_slices = 1
    if steps and updates:
        worth = cost_of_a_row / PRODUCTS_OF_A_SLICE
        while n_slices < MOST_SLICES and 2 * n_slices <= worth:
            n_slices *= 2
        n_threads = min(n_threads, n_slices)
    n_threads = useful_threads(
        batch_size * cost_of_a_row / WORK_OF_A_SPARSE_THREAD,
        n_order * cost_of_a_row,
        work_of_a_start,
        n_threads,
        n_slices,
    )
    if steps and n_slices * n_threads > 1:
        bounds = _feature_bounds(rows, n_slices * PARTS)
    else:  # nothing is divided, so a look at the columns would be wasted
        bounds = (0,) * PARTS + (n_features,)
    return SparseBlocking(
        lanes=lanes,
        block=block,
        n_blocks=n_blocks,
        bounds=bounds,
        in_place=batch_size <= MOST_ROWS_IN_PLACE
        or values_of_a_batch <= MOST_VALUES_IN_PLACE * n_features,
        flush_interval=1 + int(VALUES_BETWEEN_FLUSHES * n_features / values_of_a_batch),
        n_threads=n_threads,
    )


def _feature_bounds(rows: CsrRows, n_parts: int) -> tuple[int, ...]:
    """Return the bounds of parts of the features that hold about as many stored values each.

    They are counted in some evenly spaced rows, always the same.
    """
    n = len(rows)
    chosen = np.unique(np.linspace(0, max(n - 1, 0), min(n, ROWS_LOOKED_AT)).astype(np.int64))
    columns = np.sort(rows.part(chosen).columns).astype(np.int64)
    bounds = np.zeros(n_parts + 1, np.int64)
    if len(columns):
        bounds[1:] = columns[(np.arange(1, len(bounds)) * len(columns)) // len(bounds)]
    bounds[-1] = rows.n_features
    return tuple(bounds.tolist())
