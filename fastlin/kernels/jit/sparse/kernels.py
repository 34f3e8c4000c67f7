"""The Numba backend over sparse rows: the kernels' functions over :mod:`.sparse.run`.

Same contract. This module lays out the memory of a call: weights lie feature by feature and are
copied into that order and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numba
import numpy as np

from fastlin.kernels.arguments import CsrRows, Parameters, Samples, StepOptions
from fastlin.kernels.blocking import REGISTERS, SPARSE_PANEL, sparse_blocking
from fastlin.kernels.interrupts import stop_word
from fastlin.kernels.jit.barrier import MEETING_WORDS
from fastlin.kernels.jit.call_memory import Memory, aligned
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.launch import instruction_set, start
from fastlin.kernels.jit.memory import words_of
from fastlin.kernels.jit.passes import logits_by, score_by
from fastlin.kernels.jit.sparse import run as sparse_run
from fastlin.kernels.jit.sparse.layout import ROWS_OF_A_GROUP, Arguments, Shape
from fastlin.kernels.jit.step import NO_RATES, words_of_rates
from fastlin.kernels.threads import safe_n_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray

UNPACKED_AT_ONCE = 256
"""Features whose weights stay in the cache while one class after the other is copied."""


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
    arguments = layout.arguments(shape, intercept, state, order=order, gain=gain)
    rates = words_of_rates(options, has_velocity)
    layout.run(shape, arguments, rates, losses_out, options.nesterov)
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
    layout = _Layout(samples, weights, SPARSE_PANEL, len(samples.rows), n_threads)
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
    layout.run(shape, arguments, NO_RATES, loss_sum)
    return float(loss_sum[0]), gradient, residual_sum[0, : layout.k].copy()


def _pass(
    samples: Samples,
    weights: FloatArray,
    intercept: FloatArray,
    logits_out: FloatArray,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n = len(samples.rows)
    n_panels = -(-n // SPARSE_PANEL)
    losses, n_correct = np.zeros(n_panels), np.zeros(n_panels, np.int64)
    if n == 0:
        return losses, n_correct
    layout = _Layout(samples, weights, SPARSE_PANEL, n, min(n_threads, n_panels))
    shape = layout.shape(updates=False)
    arguments = layout.arguments(
        shape, layout.intercepts([intercept]), layout.state([weights]), a_pass=True
    )._replace(
        n_panels=n_panels,
        losses=layout.address(losses),
        n_correct=layout.address(n_correct),
        logits=layout.address(logits_out) if logits_out.size else 0,
    )
    words = words_of(shape, arguments)
    start(sparse_run.one_pass, layout.kind, words, layout.n_threads)
    return losses, n_correct


score, logits = score_by(_pass), logits_by(_pass)


class _Layout(Memory):
    """Shapes and memory of one call."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int,
        n_order: int,
        n_threads: int,
    ) -> None:
        super().__init__(weights.dtype)
        self.samples, self.rows = samples, cast(CsrRows, samples.rows)
        self.k, self.d = weights.shape
        self.batch_size, self.n_order = min(batch_size, n_order), n_order
        registers = REGISTERS[instruction_set()]
        of_numba = min(n_threads, numba.config.NUMBA_NUM_THREADS)
        self.blocking = sparse_blocking(
            self.rows, self.k, n_order, batch_size, registers, safe_n_threads(of_numba)
        )
        self.n_threads = self.blocking.n_threads
        self.row_lanes = registers.vector_bytes // weights.itemsize
        self.kind = Kind(
            self.dtype.name,
            self.dtype.name,
            self.blocking.block,
            self.row_lanes,
            columns=self.rows.columns.dtype.name,
            class_lanes=self.blocking.lanes,
        )

    def shape(self, updates: bool, velocity: int = 0, average: int = 0) -> Shape:
        """Return the sizes that the loops need."""
        n_arrays = 1 + (velocity > 0) + (average > 0)
        return Shape(
            d=self.d,
            k=self.k,
            k_padded=self.blocking.k_padded,
            lanes=self.row_lanes,
            block=self.blocking.block,
            block_bytes=self.blocking.block * self.blocking.lanes * self.dtype.itemsize,
            n_blocks=self.blocking.n_blocks,
            size=self.dtype.itemsize,
            column_size=self.rows.columns.itemsize,
            n_slices=self.blocking.n_slices,
            n_rows=len(self.rows),
            n_order=self.n_order,
            batch_size=self.batch_size,
            flush_interval=self.blocking.flush_interval,
            feature_bytes=n_arrays * self.blocking.k_padded * self.dtype.itemsize,
            velocity=velocity,
            average=average,
            updates=updates,
            in_place=updates and self.blocking.in_place,
        )

    def state(self, arrays: list[FloatArray]) -> NDArray[Any]:
        """Return arrays ``(k, d)`` feature by feature."""
        out = aligned((self.d, len(arrays), self.blocking.k_padded), self.dtype)
        for array, values in enumerate(arrays):
            out[:, array, : self.k] = values.T
        return out

    def intercepts(self, rows: list[FloatArray | None]) -> NDArray[Any]:
        """Return each thread's copies of the intercept, its velocity and its average."""
        out = aligned((self.n_threads, 3, self.blocking.k_padded), self.dtype)
        out[:, 0, self.k :] = -np.inf
        for row, values in enumerate(rows):
            if values is not None:
                out[:, row, : self.k] = values
        return out

    def arguments(
        self,
        shape: Shape,
        intercept: NDArray[Any],
        state: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        gain: FloatArray | None = None,
        gradient_out: NDArray[np.float64] | None = None,
        residual_sum: NDArray[np.float64] | None = None,
        a_pass: bool = False,
    ) -> Arguments:
        """Allocate the arrays of a call; all on cache lines of their own, and zero."""
        samples, rows, k_padded = self.samples, self.rows, shape.k_padded
        groups = -(-shape.batch_size // ROWS_OF_A_GROUP)
        capacity = self.n_threads * SPARSE_PANEL if a_pass else groups * ROWS_OF_A_GROUP
        n_parts = self.n_threads if a_pass else 2 * shape.n_slices
        kept = (shape.updates and not shape.in_place) or gradient_out is not None
        is_class = aligned((k_padded,), self.dtype)
        is_class[: self.k] = 1
        if gain is None:
            gain = np.ones(1, self.dtype)
        if residual_sum is None:
            residual_sum = np.zeros((self.n_threads, k_padded))
        return Arguments(
            values=self.address(rows.values),
            columns=self.address(rows.columns),
            row_starts=self.address(rows.row_starts, np.int64),
            order=self.address(order, np.int64),
            labels=self.address(samples.labels if samples.has_labels else None, np.int32),
            sample_weight=self.address(samples.sample_weight, np.float64),
            bounds=self.address(np.array(self.blocking.bounds, np.int64)),
            state=self.address(state),
            n_arrays=state.shape[1],
            gain=self.address(gain, self.dtype),
            n_gain=len(gain),
            gradient=self.zeros(self.d if kept else 0, k_padded),
            gradient_out=self.address(gradient_out),
            partial=self.zeros(n_parts, SPARSE_PANEL, k_padded),
            n_parts=n_parts,
            residual=self.zeros(capacity, k_padded),
            by_row=self.zeros(4, capacity),
            capacity=capacity,
            is_class=self.address(is_class),
            intercept=self.address(intercept),
            residual_sum=self.address(residual_sum),
            barrier=self.zeros(MEETING_WORDS, dtype=np.dtype(np.int32)),
            stop=self.address(stop_word()),
        )

    def run(
        self,
        shape: Shape,
        arguments: Arguments,
        rates: tuple[NDArray[np.float64], NDArray[np.float64]],
        losses_out: NDArray[np.float64],
        nesterov: bool = False,
    ) -> None:
        """Run every batch of the call; the arrays: see :class:`.Arguments`."""
        assert losses_out.flags.carray
        assert self.samples.has_labels, "this kernel needs the rows' labels"
        arguments = arguments._replace(
            schedule=self.address(rates[0]),
            n_steps=len(losses_out),
            constants=self.address(rates[1]),
            nesterov=nesterov,
            losses=self.address(losses_out),
        )
        start(sparse_run.run, self.kind, words_of(shape, arguments), self.n_threads)
