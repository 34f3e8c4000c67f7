"""The Numba backend over sparse rows: the kernels' functions over :mod:`.jit_sparse_loops`.

Same contract. This module lays out the memory of a call: weights lie feature by feature and are
copied into that order and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from fastlin.kernels.arguments import CsrRows, Parameters, Samples, StepOptions
from fastlin.kernels.interrupts import stop_word
from fastlin.kernels.jit import backend as jit
from fastlin.kernels.jit.barrier import MEETING_WORDS
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.memory import words_of
from fastlin.kernels.jit.sparse import phases as jit_sparse_loops
from fastlin.kernels.jit.sparse.phases import GROUP, PARTS, TILE, SparseArguments, SparseShape
from fastlin.kernels.jit.sparse.tiles import choose_blocks
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
    gain = options.gain if np.ptp(options.gain) else options.gain[:1]
    state = layout.state(present)
    schedule = np.zeros((2, len(losses_out)))
    schedule[0] = options.learning_rates
    if options.average_rates is not None:
        schedule[1] = options.average_rates
    constants = [
        options.momentum,
        options.decay_of_all,
        options.intercept_decay,
        options.intercept_gain,
    ]
    arguments = layout.arguments(shape, intercept, state, order=order, gain=gain)
    layout.run(shape, arguments, schedule, constants, losses_out, options.nesterov)
    for array, weights in enumerate(present):
        for first in range(0, layout.d, UNPACKED_AT_ONCE):
            part = slice(first, first + UNPACKED_AT_ONCE)
            weights[:, part] = state[part, array, : layout.k].T
    for row, values in enumerate(rows):
        if values is not None:
            values[:] = intercept[0, row, : layout.k]


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    layout = _Layout(samples, weights, TILE, len(samples.rows), n_threads)
    shape = layout.shape(updates=False)
    gradient = np.zeros(weights.shape)
    residual_sum = np.zeros((layout.n_threads, shape.k_padded))
    arguments = layout.arguments(
        shape,
        layout.intercepts([intercept]),
        layout.state([weights]),
        gradient_out=gradient,
        residual_sum=residual_sum,
    )
    loss_sum = np.zeros(1)
    layout.run(shape, arguments, np.zeros((2, 1)), [0.0] * 4, loss_sum)
    return float(loss_sum[0]), gradient, residual_sum[0, : layout.k].copy()


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
    arguments = layout.arguments(
        shape, layout.intercepts([intercept]), layout.state([weights]), a_pass=True
    )._replace(
        n_tiles=n_tiles,
        losses=layout.address(losses),
        n_correct=layout.address(n_correct),
        logits=layout.address(logits_out) if logits_out.size else 0,
    )
    words = words_of(shape, arguments)
    jit.start(jit_sparse_loops.one_pass, layout.kind, words, layout.n_threads)
    return losses, n_correct


class _Layout(jit.Memory):
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
        super().__init__(weights.dtype)
        self.samples, self.rows = samples, samples.rows
        self.k, self.d = weights.shape
        most_lanes = jit.VECTOR_BYTES[jit.instruction_set()] // weights.itemsize
        self.blocks = choose_blocks(self.k, most_lanes)
        self.kind = Kind(
            self.dtype.name,
            self.dtype.name,
            self.blocks.block,
            most_lanes,
            columns=self.rows.columns.dtype.name,
            class_lanes=self.blocks.lanes,
        )
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
            n_rows=len(self.rows),
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

    def arguments(
        self,
        shape: SparseShape,
        intercept: NDArray[Any],
        state: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        gain: FloatArray | None = None,
        gradient_out: NDArray[np.float64] | None = None,
        residual_sum: NDArray[np.float64] | None = None,
        a_pass: bool = False,
    ) -> SparseArguments:
        """Allocate the arrays of a call; all on cache lines of their own, and zero."""
        samples, rows, k_padded = self.samples, self.rows, shape.k_padded
        capacity = self.n_threads * TILE if a_pass else -(-shape.batch_size // GROUP) * GROUP
        tiles = (1, self.n_threads) if a_pass else (2, shape.n_slices)
        kept = (shape.updates and not shape.in_place) or gradient_out is not None
        is_class = jit.aligned((k_padded,), self.dtype)
        is_class[: self.k] = 1
        if gain is None:
            gain = np.ones(1, self.dtype)
        if residual_sum is None:
            residual_sum = np.zeros((self.n_threads, k_padded))
        return SparseArguments(
            values=self.address(rows.values),
            columns=self.address(rows.columns),
            row_starts=self.address(rows.row_starts, np.int64),
            order=self.address(order, np.int64),
            labels=self.address(samples.labels, np.int32),
            sample_weight=self.address(samples.sample_weight, np.float64),
            bounds=self.address(self.bounds),
            state=self.address(state),
            n_arrays=state.shape[1],
            gain=self.address(gain, self.dtype),
            n_gain=len(gain),
            gradient=self.zeros(self.d if kept else 0, k_padded),
            gradient_out=self.address(gradient_out),
            partial=self.zeros(*tiles, TILE, k_padded),
            residual=self.zeros(capacity, k_padded),
            by_row=self.zeros(4, capacity),
            capacity=capacity,
            is_class=self.address(is_class),
            intercept=self.address(intercept),
            residual_sum=self.address(residual_sum),
            meeting=self.zeros(MEETING_WORDS, dtype=np.dtype(np.int32)),
            stop=self.address(stop_word()),
        )

    def run(
        self,
        shape: SparseShape,
        arguments: SparseArguments,
        schedule: NDArray[np.float64],
        constants: list[float],
        losses_out: NDArray[np.float64],
        nesterov: bool = False,
    ) -> None:
        """Run every batch of the call; the arrays: see :class:`.SparseArguments`."""
        assert losses_out.flags.carray
        arguments = arguments._replace(
            schedule=self.address(schedule),
            n_steps=len(losses_out),
            constants=self.address(np.array(constants, np.float64)),
            nesterov=nesterov,
            losses=self.address(losses_out),
        )
        jit.start(jit_sparse_loops.run, self.kind, words_of(shape, arguments), self.n_threads)
