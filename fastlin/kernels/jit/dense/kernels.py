"""The Numba kernels for dense rows: the memory of a call, over :mod:`.dense.run`.

Their contract is that of :mod:`fastlin.kernels.reference`. What differs: sums are in another order,
and the weights are copied into a packed layout for the length of a call, whose memory is laid out
here. Packed weights are
``[class block][feature vector][class in block][lane]``, zero where there is no such class. The last
feature vector holds the last ``lanes`` features; the lanes that it shares with the one before are
zero and stay zero, since their gain and decay are. For a matrix unit
(:mod:`fastlin.kernels.jit.matrix_unit.phases`) there are whole groups of vectors instead, zero at
the end.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.kernels.arguments import Parameters, Samples, StepOptions
from fastlin.kernels.blocking import MOST_SUMS, PANEL, dense_blocking
from fastlin.kernels.jit import compiled
from fastlin.kernels.jit.calls import Call, of_intercept, of_weights, take_intercept
from fastlin.kernels.jit.dense import run as dense_run
from fastlin.kernels.jit.dense.gradient import gradient_phase
from fastlin.kernels.jit.dense.layout import Arguments, Shape
from fastlin.kernels.jit.dense.logits import all_logits_phase, logits_phase, residual_phase
from fastlin.kernels.jit.dense.tiles import N_POINTERS
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.matrix_unit import phases as unit_phases
from fastlin.kernels.jit.passes import score_and_logits
from fastlin.rows.interface import type_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray

PRODUCTS = logits_phase, gradient_phase
UNIT_PRODUCTS = unit_phases.integer_logits_phase, unit_phases.integer_gradient_phase


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
    call = _Call(samples, parameters.weights, options.batch_size, len(order), n_threads, steps=True)
    shape = call.shape(updates=True)
    packed = [call.packed(values) for values in of_weights(parameters)]
    intercept = call.intercepts(*of_intercept(parameters))
    arguments = call.arguments(shape, packed, intercept, order=order, gain=options.gain)
    call.run(dense_run.run, shape, arguments, losses_out, (options, parameters))
    for held, values in zip(packed, of_weights(parameters), strict=True):
        call.unpack(held, values)
    take_intercept(parameters, intercept)


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    gradient = np.zeros(weights.shape)
    n = len(samples.rows)
    if n == 0:
        return 0.0, gradient, np.zeros(intercept.shape)
    call = _Call(samples, weights, n, n, n_threads, steps=True)
    shape = call.shape(updates=False)
    # A run without updates: one batch of all rows, whose gradient is summed up.
    float64 = np.dtype(float)
    gradient_sum = call.array(shape.k_padded * call.n_vectors * call.lanes, dtype=float64)
    residual_total = call.array(call.n_threads, shape.k_padded, dtype=float64)
    arguments = call.arguments(
        shape,
        [call.packed(weights)],
        call.intercepts(intercept),
        gradient_sum=gradient_sum,
        residual_total=residual_total,
    )
    loss_sum = np.zeros(1)
    call.run(dense_run.run, shape, arguments, loss_sum)
    call.unpack(gradient_sum, gradient)
    intercept_gradient = residual_total[0, : shape.k].copy()
    if samples.shift is not None:
        gradient -= np.outer(intercept_gradient, samples.shift)
    return float(loss_sum[0]), gradient, intercept_gradient


def _begin_pass(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[Call, Shape, Arguments]:
    call = _Call(samples, weights, PANEL, len(samples.rows), n_threads, steps=False)
    shape = call.shape(updates=False)
    return call, shape, call.arguments(shape, [call.packed(weights)], call.intercepts(intercept))


score, logits = score_and_logits(_begin_pass, dense_run.one_pass, PANEL)


@functools.lru_cache(maxsize=256)
def _features(d: int, n_vectors: int, lanes: int, integers: bool) -> NDArray[np.int64]:
    """Return for each packed lane the feature that it holds, or -1, ``(n_vectors, lanes)``."""
    features = np.arange(n_vectors * lanes).reshape(-1, lanes)
    if integers:
        features[features >= d] = -1
    elif d % lanes:
        last = features[-1].copy()
        if d > lanes:
            features[-1] = np.arange(d - lanes, d)
        features[-1][(features[-1] < last[0]) | (features[-1] >= d)] = -1
    features.flags.writeable = False
    return features


class _Call(Call):
    """Shapes and memory of one call on dense rows."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int,
        n_order: int,
        n_threads: int,
        steps: bool,
    ) -> None:
        rows = samples.rows.values
        if rows.strides[1] != rows.itemsize or not rows.flags.aligned:
            rows = np.require(rows, requirements=["C", "A"])
        super().__init__(samples, weights, n_threads)
        self.rows = rows
        self.batch_size, self.n_order, self.steps = batch_size, n_order, steps
        types = type_name(rows.dtype), type_name(weights.dtype)
        self.blocking = dense_blocking(
            self.d,
            self.k,
            n_order,
            batch_size,
            types,
            self.registers,
            self.most_threads,
            steps=steps,
        )
        self.integers = self.blocking.matrix_unit
        self.block, self.n_blocks = self.blocking.block, self.blocking.n_blocks
        self.k_padded = self.blocking.k_padded
        self.lanes, self.n_vectors = self.blocking.lanes, self.blocking.n_vectors
        self.n_threads = self.blocking.n_threads
        unit = "integers" if self.integers else "vectors"
        self.product_kind = Kind(*types, self.block, self.lanes, unit, streamed=not steps)
        self.kind = self.product_kind.without_rows
        self.features = _features(self.d, self.n_vectors, self.lanes, self.integers)

    def shape(self, updates: bool) -> Shape:
        """Return the sizes that the loops need."""
        has_tail = self.d % self.lanes != 0 and self.d > self.lanes
        return Shape(
            d=self.d,
            k=self.k,
            n_vectors=self.n_vectors,
            n_aligned=self.n_vectors - has_tail,
            n_slices=self.blocking.n_slices,
            block=self.block,
            n_blocks=self.n_blocks,
            k_padded=self.k_padded,
            lanes=self.lanes,
            size=self.dtype.itemsize,
            row_size=self.rows.itemsize,
            stride=self.rows.strides[0],
            n_wide=self.blocking.micro_kernel.vectors,
            n_samples=self.blocking.micro_kernel.rows,
            n_rows=len(self.rows),
            n_order=self.n_order,
            batch_size=self.batch_size,
            updates=updates,
            shifted=self.samples.shift is not None,
            residual_shared=self.steps and self.blocking.shares_residuals,
        )

    def arguments(
        self,
        shape: Shape,
        packed: list[NDArray[Any] | None],
        intercept: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        gain: FloatArray | None = None,
        gradient_sum: NDArray[np.float64] | None = None,
        residual_total: NDArray[np.float64] | None = None,
    ) -> Arguments:
        """Allocate the arrays of a call; the parameters: see :class:`.layout.Arguments`.

        ``packed``: weights, and if there are any velocity and average.
        """
        copies, k_padded = self.n_threads, shape.k_padded
        logits, gradient = UNIT_PRODUCTS if self.integers else PRODUCTS
        phases = {"logits_phase": logits if self.steps else all_logits_phase}
        if self.steps:
            phases["gradient_phase"] = gradient
        addresses = {
            word: compiled.address_of(body, self.product_kind) for word, body in phases.items()
        }
        if self.steps:
            addresses["residual_phase"] = compiled.address_of(residual_phase, self.kind)
        n_parts = shape.n_slices * (2 if self.steps else copies)
        n_packed = k_padded * self.n_vectors * self.lanes
        weights, velocity, average = (*map(self.address, packed), 0, 0)[:3]
        int64, bytes_, row_type = np.dtype(np.int64), np.dtype(np.uint8), self.rows.dtype
        n_short = copies if self.d < self.lanes else 0
        arguments = Arguments(
            **self.common_arguments(order),
            **addresses,
            rows=self.rows.ctypes.data,
            weights=weights,
            velocity=velocity,
            average=average,
            gradient=self.zeros(n_packed if shape.updates and self.batch_size > PANEL else 0),
            gradient_sum=self.address(gradient_sum),
            features=self.by_feature(self.samples.shift, gain),
            partial=self.zeros(n_parts, k_padded, PANEL),
            offset=self.zeros(n_parts, k_padded),
            n_parts=n_parts,
            residual=self.zeros(copies, k_padded, PANEL),
            by_row=self.zeros(copies, 4, PANEL),
            pointers=self.zeros(copies, 2, N_POINTERS, dtype=int64),
            short_rows=self.zeros(n_short, 2 * N_POINTERS, self.lanes, dtype=row_type),
            sums=self.zeros(copies, MOST_SUMS * self.lanes),
            residual_sum=self.zeros(copies, k_padded),
            residual_total=self.address(residual_total)
            or self.zeros(copies, k_padded, dtype=np.dtype(float)),
            intercept=self.address(intercept),
            panels=self.zeros(copies, 2, 5, dtype=int64),
        )
        if not self.integers:
            return arguments
        own_bytes = unit_phases.operand_bytes(shape.n_slices, self.n_vectors, k_padded)
        return arguments._replace(
            weight_digits=self.zeros(4 * n_packed, dtype=bytes_),
            weight_quanta=self.zeros(shape.n_slices, k_padded),
            operands=self.zeros(copies, own_bytes, dtype=bytes_),
            operand_bytes=own_bytes,
        )

    def by_feature(self, *values: FloatArray | None) -> int:
        """Return the address of some rows, each a number of each feature, in packed order."""
        if all(row is None for row in values):
            return self.zeros(len(values), self.features.size)
        out, features = self.array(len(values), self.features.size), self.features.ravel()
        held = features >= 0
        for row, of_features in zip(out, values, strict=True):
            if of_features is not None:
                row[held] = of_features[features[held]]
        return self.address(out)

    def packed(self, weights: FloatArray | None) -> FloatArray | None:
        """Return a packed copy of weights ``(k, d)``."""
        if weights is None:
            return None
        out = self.array(self.k_padded * self.n_vectors * self.lanes)
        for held, values in self._parts(out, weights):
            held[:] = values
        return out

    def unpack(self, packed: NDArray[Any] | None, out: NDArray[Any] | None) -> None:
        """Copy packed weights back to ``(k, d)``."""
        if packed is None or out is None:
            return
        for held, values in self._parts(packed, out):
            values[:] = held

    def _parts(
        self, packed: NDArray[Any], weights: NDArray[Any]
    ) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
        """Yield views of the same weights in both layouts; inner loops over lanes are fast."""
        blocks = packed.reshape(self.n_blocks, self.n_vectors, self.block, self.lanes)
        blocks = blocks.transpose(0, 2, 1, 3)
        whole, n_left = divmod(self.d, self.lanes)
        full = self.k // self.block * self.block
        for first, stop, n_classes in (
            (0, full, self.block),
            (full, self.k, self.k - full),
        ):
            if first == stop:
                continue
            n_blocks = (stop - first) // n_classes
            held = blocks[first // self.block :][:n_blocks, :n_classes]
            values = weights[first:stop].reshape(n_blocks, n_classes, self.d)
            vectors = values[:, :, : whole * self.lanes]
            yield held[:, :, :whole], vectors.reshape(n_blocks, n_classes, whole, self.lanes)
            if n_left:
                lane = int(np.argmax(self.features[whole] >= 0))
                lanes = slice(lane, lane + n_left)
                yield held[:, :, whole, lanes], values[:, :, whole * self.lanes :]
