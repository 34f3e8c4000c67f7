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

from typing import TYPE_CHECKING, Any

import numba
import numpy as np

from fastlin.kernels.arguments import Parameters, Samples, StepOptions
from fastlin.kernels.blocking import MOST_SUMS, PANEL, REGISTERS, dense_blocking
from fastlin.kernels.interrupts import stop_word
from fastlin.kernels.jit import compiled
from fastlin.kernels.jit.barrier import MEETING_WORDS
from fastlin.kernels.jit.call_memory import Memory, aligned
from fastlin.kernels.jit.dense import gradient as gradients
from fastlin.kernels.jit.dense import logits as partial_logits
from fastlin.kernels.jit.dense import run as dense_run
from fastlin.kernels.jit.dense.layout import Arguments, Shape
from fastlin.kernels.jit.dense.tiles import N_POINTERS
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.launch import instruction_set, start
from fastlin.kernels.jit.matrix_unit import phases as unit_phases
from fastlin.kernels.jit.memory import words_of
from fastlin.kernels.jit.passes import logits_by, score_by
from fastlin.kernels.jit.step import NO_RATES, words_of_rates
from fastlin.kernels.threads import safe_n_threads

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray


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
    dtype: np.dtype[Any] = parameters.weights.dtype
    layout = _Layout(
        samples, parameters.weights, options.batch_size, len(order), n_threads, steps=True
    )
    shape = layout.shape(updates=True)
    rows = [parameters.intercept, parameters.intercept_velocity, parameters.intercept_average]
    intercept = np.zeros((layout.n_threads, 3, shape.k), dtype)
    for row, values in enumerate(rows):
        if values is not None:
            intercept[:, row] = values
    by_class = [parameters.weights, parameters.weights_velocity, parameters.weights_average]
    packed = [layout.packed(values) for values in by_class]
    arguments = layout.arguments(
        shape,
        packed,
        order=order,
        gain=options.gain,
        intercept=intercept,
    )
    rates = words_of_rates(options, parameters.weights_velocity is not None)
    layout.run(shape, arguments, rates, losses_out, options.nesterov)
    for held, values in zip(packed, by_class, strict=True):
        layout.unpack(held, values)
    for row, values in enumerate(rows):
        if values is not None:
            values[:] = intercept[0, row]


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    gradient = np.zeros(weights.shape)
    n = len(samples.rows)
    if n == 0:
        return 0.0, gradient, np.zeros(intercept.shape)
    layout = _Layout(samples, weights, n, n, n_threads, steps=True)
    shape = layout.shape(updates=False)
    # A run without updates: one batch of all rows, whose gradient is summed up.
    gradient_sum = aligned((shape.k_padded * layout.n_vectors * layout.lanes,), np.dtype(float))
    residual_total = np.zeros((layout.n_threads, shape.k_padded))
    arguments = layout.arguments(
        shape,
        [layout.packed(weights)],
        intercept=layout.for_threads(intercept),
        gradient_sum=gradient_sum,
        residual_total=residual_total,
    )
    loss_sum = np.zeros(1)
    layout.run(shape, arguments, NO_RATES, loss_sum)
    layout.unpack(gradient_sum, gradient)
    intercept_gradient = residual_total[0, : shape.k].copy()
    if samples.shift is not None:
        gradient -= np.outer(intercept_gradient, samples.shift)
    return float(loss_sum[0]), gradient, intercept_gradient


def _pass(
    samples: Samples,
    weights: FloatArray,
    intercept: FloatArray,
    logits_out: FloatArray,
    n_threads: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    n = len(samples.rows)
    n_panels = -(-n // PANEL)
    losses, n_correct = np.zeros(n_panels), np.zeros(n_panels, np.int64)
    if n == 0:
        return losses, n_correct
    layout = _Layout(samples, weights, PANEL, n, min(n_threads, n_panels), steps=False)
    shape = layout.shape(updates=False)
    arguments = layout.arguments(
        shape,
        [layout.packed(weights)],
        intercept=layout.for_threads(intercept),
        a_pass=True,
    )._replace(
        n_panels=n_panels,
        losses=layout.address(losses),
        n_correct=layout.address(n_correct),
        logits=layout.address(logits_out) if logits_out.size else 0,
    )
    start(dense_run.one_pass, layout.kind, words_of(shape, arguments), layout.n_threads)
    return losses, n_correct


score, logits = score_by(_pass), logits_by(_pass)


class _Layout(Memory):
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
        super().__init__(weights.dtype)
        self.rows, self.samples, self.weights = rows, samples, weights
        self.k, self.d = weights.shape
        self.batch_size, self.n_order, self.steps = batch_size, n_order, steps
        # Each thread needs a thread of Numba's: they wait for each other.
        of_numba = min(n_threads, numba.config.NUMBA_NUM_THREADS)
        self.blocking = dense_blocking(
            self.d,
            self.k,
            n_order,
            batch_size,
            (rows.dtype.name, weights.dtype.name),
            REGISTERS[instruction_set()],
            safe_n_threads(of_numba),
            steps=steps,
        )
        self.integers = self.blocking.matrix_unit
        self.block, self.n_blocks = self.blocking.block, self.blocking.n_blocks
        self.lanes, self.n_vectors = self.blocking.lanes, self.blocking.n_vectors
        self.n_threads = self.blocking.n_threads
        unit = "integers" if self.integers else "vectors"
        self.kind = Kind(rows.dtype.name, weights.dtype.name, self.block, self.lanes, unit)
        # For each packed lane the feature it holds, or -1: (n_vectors, lanes).
        features = np.arange(self.n_vectors * self.lanes).reshape(-1, self.lanes)
        if self.integers:
            features[features >= self.d] = -1
        elif self.d % self.lanes:
            last = features[-1].copy()
            if self.d > self.lanes:
                features[-1] = np.arange(self.d - self.lanes, self.d)
            features[-1][(features[-1] < last[0]) | (features[-1] >= self.d)] = -1
        self.features = features

    @property
    def phases(self) -> tuple[Any, Any, Any]:
        """The functions for a thread's part of phases A, B and C."""
        if self.integers:
            phases = unit_phases.integer_logits_phase, unit_phases.integer_gradient_phase
        else:
            phases = partial_logits.logits_phase, gradients.gradient_phase
        return phases[0], partial_logits.residual_phase, phases[1]

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
            k_padded=self.n_blocks * self.block,
            lanes=self.lanes,
            size=self.weights.itemsize,
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
        a_pass: bool = False,
    ) -> Arguments:
        """Allocate the arrays of a call; all on cache lines of their own, and zero.

        ``packed``: weights, velocity and average; ``intercept``: (n_threads, 3, k).
        """
        dtype, samples, copies = self.weights.dtype, self.samples, self.n_threads
        parts = copies if a_pass else 2 * shape.n_slices
        n_packed = shape.k_padded * self.n_vectors * self.lanes
        packed_features = aligned((2, self.n_vectors * self.lanes), dtype)
        for row, values in zip(packed_features, (samples.shift, gain), strict=True):
            if values is not None:
                held = self.features.ravel() >= 0
                row[held] = values[self.features.ravel()[held]]
        if residual_total is None:
            residual_total = np.zeros((copies, shape.k_padded))
        weights, velocity, average = (*map(self.address, packed), 0, 0)[:3]
        int64, bytes_ = np.dtype(np.int64), np.dtype(np.uint8)
        arguments = Arguments(
            rows=self.rows.ctypes.data,
            order=self.address(order, np.int64),
            labels=self.address(samples.labels if samples.has_labels else None, np.int32),
            sample_weight=self.address(samples.sample_weight, np.float64),
            weights=weights,
            velocity=velocity,
            average=average,
            gradient=self.zeros(n_packed if shape.updates and self.batch_size > PANEL else 0),
            gradient_sum=self.address(gradient_sum),
            features=self.address(packed_features),
            partial=self.zeros(parts, shape.k_padded, PANEL),
            offset=self.zeros(parts, shape.k_padded),
            n_parts=parts,
            residual=self.zeros(copies, shape.k_padded, PANEL),
            by_row=self.zeros(copies, 4, PANEL),
            pointers=self.zeros(copies, 2, N_POINTERS, dtype=int64),
            short_rows=self.zeros(
                copies if self.d < self.lanes else 0,
                2 * N_POINTERS,
                self.lanes,
                dtype=self.rows.dtype,
            ),
            sums=self.zeros(copies, MOST_SUMS * self.lanes),
            residual_sum=self.zeros(copies, shape.k_padded),
            residual_total=self.address(residual_total),
            intercept=self.address(intercept, dtype),
            panels=self.zeros(copies, 2, 5, dtype=int64),
            barrier=self.zeros(MEETING_WORDS, dtype=np.dtype(np.int32)),
            stop=self.address(stop_word()),
        )
        if not self.integers:
            return arguments
        own_bytes = unit_phases.operand_bytes(shape.n_slices, self.n_vectors, shape.k_padded)
        return arguments._replace(
            weight_digits=self.zeros(4 * n_packed, dtype=bytes_),
            weight_units=self.zeros(shape.n_slices, shape.k_padded),
            operands=self.zeros(copies, own_bytes, dtype=bytes_),
            operand_bytes=own_bytes,
        )

    def run(
        self,
        shape: Shape,
        arguments: Arguments,
        rates: tuple[NDArray[np.float64], NDArray[np.float64]],
        losses_out: NDArray[np.float64],
        nesterov: bool = False,
    ) -> None:
        """Run every batch of the call; the arrays: see :class:`.layout.Arguments`."""
        a, b, c = (compiled.address_of(phase, self.kind) for phase in self.phases)
        assert losses_out.flags.carray
        assert self.samples.has_labels, "this kernel needs the rows' labels"
        arguments = arguments._replace(
            schedule=self.address(rates[0]),
            n_steps=len(losses_out),
            constants=self.address(rates[1]),
            nesterov=nesterov,
            losses=self.address(losses_out),
            logits_phase=a,
            residual_phase=b,
            gradient_phase=c,
        )
        start(dense_run.run, self.kind, words_of(shape, arguments), self.n_threads)

    def for_threads(self, intercept: FloatArray) -> NDArray[Any]:
        """Return a copy of the intercept, and of velocity and average, for every thread."""
        shape = (self.n_threads, 3, self.k)
        return np.ascontiguousarray(np.broadcast_to(intercept, shape))

    def packed(self, weights: FloatArray | None) -> FloatArray | None:
        """Return a packed copy of weights ``(k, d)``."""
        if weights is None:
            return None
        out = aligned((self.n_blocks, self.n_vectors, self.block, self.lanes), weights.dtype)
        held = self.features.ravel() >= 0
        by_class = np.zeros((self.n_blocks * self.block, held.size), weights.dtype)
        by_class[: self.k, held] = weights[:, self.features.ravel()[held]]
        shape = (self.n_blocks, self.block, self.n_vectors, self.lanes)
        out[:] = by_class.reshape(shape).transpose(0, 2, 1, 3)
        return out.reshape(-1)

    def unpack(self, packed: NDArray[Any] | None, out: NDArray[Any] | None) -> None:
        """Copy packed weights back to ``(k, d)``."""
        if packed is None or out is None:
            return
        view = packed.reshape(self.n_blocks, self.n_vectors, self.block, self.lanes)
        by_class = view.transpose(0, 2, 1, 3).reshape(self.n_blocks * self.block, -1)
        held = self.features.ravel() >= 0
        out[:, self.features.ravel()[held]] = by_class[: self.k, held]
