"""The Numba backend over sparse rows: the kernels' functions over :mod:`.jit_sparse_loops`.

Same contract. This module lays out the memory of a call: weights lie feature by feature and are
copied into that order and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from fastlin.kernels import jit
from fastlin.kernels.arguments import CsrRows, Parameters, Samples, StepOptions
from fastlin.kernels.jit_sparse_loops import (
    GROUP,
    PARTS,
    TILE,
    SparseShape,
    SparseWork,
    one_pass,
    pass_share,
    run,
    run_share,
)
from fastlin.kernels.meeting import MEETING_WORDS
from fastlin.kernels.sparse_tiles import choose_blocks, sparse_kind
from fastlin.kernels.threads import safe_n_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray

WORK_OF_A_THREAD = 50_000
"""Products between two meetings of the threads that make one more thread worth its start."""

COST_OF_A_VALUE = 16
"""Products that take as long as reading a stored value and finding its feature's weights."""

MOST_SLICES = 8
PRODUCTS_OF_A_SLICE = 1000
"""Products of a row that are worth a slice of the features of their own, on average."""

MOST_ROWS_IN_PLACE = 256
"""Rows of a batch that may change the weights one by one, though each addition rounds."""

MOST_VALUES_IN_PLACE = 1.0
"""Stored values of a batch for each feature up to which more rows do: else every step visits many
features that it has no gradient for."""

VALUES_BETWEEN_FLUSHES = 32
"""Stored values for each feature between two additions of the gradient so far to the result."""

UNPACKED_AT_ONCE = 256
"""Features whose weights stay in the cache while one class after the other is copied."""

ROWS_LOOKED_AT = 256
"""Rows that tell how the stored values spread over the features."""


def sgd_steps(
    samples: Samples,
    order: NDArray[np.int64],
    parameters: Parameters,
    options: StepOptions,
    losses_out: NDArray[np.float64],
    n_threads: int = 1,
) -> None:
    """See :func:`fastlin.kernels.reference.sgd_steps`."""
    if len(order) == 0:
        return
    arrays = [parameters.weights, parameters.weights_velocity, parameters.weights_average]
    present = [array for array in arrays if array is not None]
    layout = _Layout(samples, parameters.weights, options.batch_size, len(order), n_threads)
    has_velocity, has_average = (array is not None for array in arrays[1:])
    shape = layout.shape(
        updates=True, velocity=int(has_velocity), average=(1 + has_velocity) * has_average
    )
    rows = [parameters.intercept, parameters.intercept_velocity, parameters.intercept_average]
    intercept = layout.intercepts(rows)
    gain = np.require(options.gain, requirements=["C", "W"])
    work = layout.work(
        shape,
        intercept,
        order=np.require(order, np.int64, ["C", "W"]),
        state=layout.state(present),
        gain=gain if np.ptp(gain) else gain[:1],
    )
    schedule = np.zeros((2, len(losses_out)))
    schedule[0] = options.learning_rates
    if options.average_rates is not None:
        schedule[1] = options.average_rates
    constants = (
        float(options.momentum),
        options.decay_of_all,
        float(options.intercept_decay),
        float(options.intercept_gain),
    )
    _run(layout, shape, work, schedule, constants, options.nesterov, losses_out)
    for array, weights in enumerate(present):
        for first in range(0, layout.d, UNPACKED_AT_ONCE):
            part = slice(first, first + UNPACKED_AT_ONCE)
            weights[:, part] = work.state[part, array, : layout.k].T
    for row, values in enumerate(rows):
        if values is not None:
            values[:] = intercept[0, row, : layout.k]


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    layout = _Layout(samples, weights, TILE, len(samples.rows), n_threads)
    shape = layout.shape(updates=False)
    work = layout.work(shape, layout.intercepts([intercept]), state=layout.state([weights]))
    loss_sum = np.zeros(1)
    _run(layout, shape, work, np.zeros((2, 1)), (0.0, 0.0, 0.0, 0.0), False, loss_sum)
    return float(loss_sum[0]), work.gradient_out, work.residual_sum[0, : layout.k].copy()


def score(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, int]:
    """See :func:`fastlin.kernels.reference.score`."""
    nothing = np.empty((0, 0), weights.dtype)
    losses, n_correct = _pass(samples, weights, intercept, nothing, n_threads)
    return float(losses.sum()), int(n_correct.sum())


def logits(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> FloatArray:
    """See :func:`fastlin.kernels.reference.logits`."""
    out = np.empty((len(samples.rows), len(weights)), weights.dtype)
    _pass(samples, weights, intercept, out, n_threads)
    return out


def _pass(
    samples: Samples,
    weights: FloatArray,
    intercept: FloatArray,
    logits_out: FloatArray,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n = len(samples.rows)
    n_tiles = -(-n // TILE)
    losses, n_correct = np.zeros(n_tiles), np.zeros(n_tiles, np.int64)
    if n == 0:
        return losses, n_correct
    layout = _Layout(samples, weights, TILE, n, min(n_threads, n_tiles))
    shape = layout.shape(updates=False)
    work = layout.work(
        shape, layout.intercepts([intercept]), state=layout.state([weights]), a_pass=True
    )
    with jit._threads(shape.n_threads):
        arguments = (layout.kind, shape, work, losses, n_correct, logits_out)
        share = jit._address(pass_share, layout.kind, *arguments, 0)
        one_pass(share, *arguments)
    return losses, n_correct


def _run(
    layout: _Layout,
    shape: SparseShape,
    work: SparseWork,
    schedule: NDArray[np.float64],
    constants: tuple[float, float, float, float],
    nesterov: bool,
    losses_out: NDArray[np.float64],
) -> None:
    arguments = (layout.kind, shape, work, schedule, constants, bool(nesterov), losses_out)
    share = jit._address(run_share, layout.kind, *arguments, 0)
    with jit._threads(shape.n_threads):
        run(share, *arguments)


class _Layout:
    """Shapes and memory of one call."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int,
        n_order: int,
        n_threads: int,
    ) -> None:
        assert isinstance(samples.rows, CsrRows)
        self.samples, self.rows, self.dtype = samples, samples.rows, weights.dtype
        self.k, self.d = weights.shape
        most_lanes = jit.VECTOR_BYTES[jit.instruction_set()] // weights.itemsize
        self.blocks = choose_blocks(self.k, most_lanes)
        self.kind = sparse_kind(self.rows.columns.dtype, weights.dtype, self.blocks, most_lanes)
        self.row_lanes = most_lanes
        self.batch_size, self.n_order = min(batch_size, n_order), n_order
        self.bounds = self._bounds()
        of_numba = min(n_threads, numba.config.NUMBA_NUM_THREADS)
        self.n_threads = self._useful_threads(safe_n_threads(of_numba))

    def _bounds(self) -> NDArray[np.int64]:
        """Return the first feature of each part of each slice, and ``d``.

        Some rows tell, always the same: the sums over the slices must not depend on anything else.
        """
        n = len(self.rows)
        chosen = np.unique(np.linspace(0, max(n - 1, 0), min(n, ROWS_LOOKED_AT)).astype(np.int64))
        columns = np.sort(self.rows.part(chosen).columns)
        values_of_a_row = len(columns) / max(1, len(chosen))
        n_slices = 1
        products = values_of_a_row * (self.blocks.k_padded + COST_OF_A_VALUE)
        while n_slices < MOST_SLICES and products >= 2 * n_slices * PRODUCTS_OF_A_SLICE:
            n_slices *= 2
        bounds = np.zeros(n_slices * PARTS + 1, np.int64)
        if len(columns):
            where = np.arange(len(bounds)) * len(columns) // len(bounds)
            bounds[1:] = columns[where[1:]]
        bounds[-1] = self.d
        self.n_slices, self.values_of_a_row = n_slices, values_of_a_row
        return bounds

    def _useful_threads(self, n_threads: int) -> int:
        of_a_value = self.blocks.k_padded + COST_OF_A_VALUE
        products = self.batch_size * self.values_of_a_row * of_a_value
        return int(max(1, min(products // WORK_OF_A_THREAD, n_threads)))

    def shape(self, updates: bool, velocity: int = 0, average: int = 0) -> SparseShape:
        """Return the sizes that the loops need."""
        n_arrays = 1 + (velocity > 0) + (average > 0)
        values_of_a_batch = max(1.0, self.batch_size * self.values_of_a_row)
        flush_interval = 1 + int(VALUES_BETWEEN_FLUSHES * self.d / values_of_a_batch)
        return SparseShape(
            d=self.d,
            k=self.k,
            k_padded=self.blocks.k_padded,
            lanes=self.row_lanes,
            block=self.blocks.block,
            block_bytes=self.blocks.block * self.blocks.lanes * self.dtype.itemsize,
            n_blocks=self.blocks.n_blocks,
            size=self.dtype.itemsize,
            column_size=self.rows.columns.itemsize,
            n_slices=self.n_slices,
            n_threads=self.n_threads,
            n_order=self.n_order,
            batch_size=self.batch_size,
            flush_interval=flush_interval,
            feature_bytes=n_arrays * self.blocks.k_padded * self.dtype.itemsize,
            velocity=velocity,
            average=average,
            updates=updates,
            in_place=updates
            and (
                self.batch_size <= MOST_ROWS_IN_PLACE
                or values_of_a_batch <= MOST_VALUES_IN_PLACE * self.d
            ),
        )

    def state(self, arrays: list[FloatArray]) -> NDArray[Any]:
        """Return arrays ``(k, d)`` feature by feature."""
        out = jit.aligned((self.d, len(arrays), self.blocks.k_padded), self.dtype)
        for array, values in enumerate(arrays):
            out[:, array, : self.k] = values.T
        return out

    def intercepts(self, rows: list[FloatArray | None]) -> NDArray[Any]:
        """Return each thread's copies of the intercept, its velocity and its average."""
        out = jit.aligned((self.n_threads, 3, self.blocks.k_padded), self.dtype)
        out[:, 0, self.k :] = -np.inf
        for row, values in enumerate(rows):
            if values is not None:
                out[:, row, : self.k] = values
        return out

    def work(
        self,
        shape: SparseShape,
        intercept: NDArray[Any],
        state: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        gain: FloatArray | None = None,
        a_pass: bool = False,
    ) -> SparseWork:
        """Allocate the arrays of a call; all on cache lines of their own, and zero."""
        samples, rows, dtype, k_padded = self.samples, self.rows, self.dtype, shape.k_padded
        n_rows = self.n_threads * TILE if a_pass else -(-shape.batch_size // GROUP) * GROUP
        tiles = (1, self.n_threads) if a_pass else (2, shape.n_slices)
        summed = not shape.updates and not a_pass
        kept = (shape.updates and not shape.in_place) or summed
        is_class = jit.aligned((k_padded,), dtype)
        is_class[: self.k] = 1
        return SparseWork(
            values=rows.values.ctypes.data,
            columns=rows.columns.ctypes.data,
            row_starts=rows.row_starts.astype(np.int64),
            order=np.empty(0, np.int64) if order is None else order,
            labels=np.require(samples.labels, np.int32, ["C", "W"]),
            sample_weight=(
                np.empty(0)
                if samples.sample_weight is None
                else np.require(samples.sample_weight, np.float64, ["C", "W"])
            ),
            bounds=self.bounds,
            state=state,
            gain=np.ones(1, dtype) if gain is None else gain,
            gradient=jit.aligned((self.d if kept else 0, k_padded), dtype),
            gradient_out=np.zeros((self.k, self.d if summed else 0)),
            partial=jit.aligned((*tiles, TILE, k_padded), dtype),
            residual=jit.aligned((n_rows, k_padded), dtype),
            by_row=jit.aligned((4, n_rows), dtype),
            is_class=is_class,
            intercept=intercept,
            residual_sum=np.zeros((self.n_threads, k_padded)),
            meeting=jit.aligned((MEETING_WORDS,), np.dtype(np.int32)),
        )
