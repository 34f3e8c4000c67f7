"""The Numba backend over sparse rows: the kernels' functions over :mod:`.sparse.run`.

Same contract. This module lays out the memory of a call: weights lie feature by feature and are
copied into that order and back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fastlin.kernels.arguments import CsrRows, Parameters, Samples, StepOptions
from fastlin.kernels.blocking import SPARSE_PANEL, sparse_blocking
from fastlin.kernels.jit.call_memory import zeros_written
from fastlin.kernels.jit.calls import Call, of_intercept, of_weights, take_intercept
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.passes import score_and_logits
from fastlin.kernels.jit.sparse import run as sparse_run
from fastlin.kernels.jit.sparse.layout import ROWS_OF_A_GROUP, Arguments, Shape

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
    present = [array for array in of_weights(parameters) if array is not None]
    call = _Call(samples, parameters.weights, options.batch_size, len(order), n_threads)
    has_velocity, has_average = (array is not None for array in of_weights(parameters)[1:])
    shape = call.shape(
        updates=True, velocity=int(has_velocity), average=(1 + has_velocity) * has_average
    )
    intercept, state = call.intercepts(*of_intercept(parameters)), call.state(present)
    gain = options.gain if np.ptp(options.gain) else options.gain[:1]
    arguments = call.arguments(shape, intercept, state, order=order, gain=gain)
    call.run(sparse_run.run, shape, arguments, losses_out, (options, parameters))
    for array, weights in enumerate(present):
        for first in range(0, call.d, UNPACKED_AT_ONCE):
            part = slice(first, first + UNPACKED_AT_ONCE)
            weights[:, part] = state[part, array, : call.k].T
    take_intercept(parameters, intercept)


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    n = len(samples.rows)
    call = _Call(samples, weights, SPARSE_PANEL, n, n_threads, updates=False)
    shape = call.shape(updates=False)
    gradient = zeros_written(weights.shape)
    residual_sum = np.zeros((call.n_threads, shape.k_padded))
    arguments = call.arguments(
        shape,
        call.intercepts(intercept),
        call.state([weights]),
        gradient_out=gradient,
        residual_sum=residual_sum,
    )
    loss_sum = np.zeros(1)
    call.run(sparse_run.run, shape, arguments, loss_sum)
    return float(loss_sum[0]), gradient, residual_sum[0, : call.k].copy()


def _begin_pass(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[Call, Shape, Arguments]:
    n = len(samples.rows)
    call = _Call(samples, weights, SPARSE_PANEL, n, n_threads, a_pass=True, updates=False)
    shape = call.shape(updates=False)
    intercepts, state = call.intercepts(intercept), call.state([weights])
    return call, shape, call.arguments(shape, intercepts, state, a_pass=True)


score, logits = score_and_logits(_begin_pass, sparse_run.one_pass, SPARSE_PANEL)


class _Call(Call):
    """Shapes and memory of one call on sparse rows."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int,
        n_order: int,
        n_threads: int,
        a_pass: bool = False,
        updates: bool = True,
    ) -> None:
        super().__init__(samples, weights, n_threads)
        self.rows = cast(CsrRows, samples.rows)
        self.batch_size, self.n_order = min(batch_size, n_order), n_order
        self.blocking = sparse_blocking(
            self.rows,
            self.k,
            n_order,
            batch_size,
            self.registers,
            self.most_threads,
            steps=not a_pass,
            updates=updates,
        )
        self.k_padded = self.blocking.k_padded
        self.n_threads = self.blocking.n_threads
        self.row_lanes = self.registers.vector_bytes // weights.itemsize
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
            k_padded=self.k_padded,
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
            feature_bytes=n_arrays * self.k_padded * self.dtype.itemsize,
            velocity=velocity,
            average=average,
            updates=updates,
            in_place=updates and self.blocking.in_place,
        )

    def state(self, arrays: list[FloatArray]) -> NDArray[Any]:
        """Return arrays ``(k, d)`` feature by feature."""
        out = self.array(self.d, len(arrays), self.k_padded)
        for array, values in enumerate(arrays):
            out[:, array, : self.k] = values.T
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
        rows, k_padded = self.rows, shape.k_padded
        groups = -(-shape.batch_size // ROWS_OF_A_GROUP)
        capacity = self.n_threads * SPARSE_PANEL if a_pass else groups * ROWS_OF_A_GROUP
        n_parts = self.n_threads if a_pass else 2 * shape.n_slices
        kept = (shape.updates and not shape.in_place) or gradient_out is not None
        is_class = self.array(k_padded)
        is_class[: self.k] = 1
        if gain is None:
            gain = np.ones(1, self.dtype)
        if residual_sum is None:
            residual_sum = np.zeros((self.n_threads, k_padded))
        return Arguments(
            **self.common_arguments(order),
            values=self.address(rows.values),
            columns=self.address(rows.columns),
            row_starts=self.address(rows.row_starts, np.int64),
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
        )
