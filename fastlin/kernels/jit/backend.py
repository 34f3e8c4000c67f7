"""The Numba backend: :mod:`fastlin.kernels.reference`'s functions over :mod:`.jit_loops`.

Same contract. What differs: sums are in another order, and the weights are copied into a packed
layout for the length of a call. This module lays out the memory of a call; packed weights are
``[class block][feature vector][class in block][lane]``, zero where there is no such class. The last
feature vector holds the last ``lanes`` features; the lanes that it shares with the one before are
zero and stay zero, since their gain and decay are. For a matrix unit
(:mod:`fastlin.kernels.jit.matrix_unit.phases`) there are whole groups of vectors instead, zero at
the end.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numba
import numpy as np

from fastlin.kernels.arguments import CsrRows, DenseRows, Parameters, Samples, StepOptions
from fastlin.kernels.blocking import MOST_SUMS, PANEL, REGISTERS, dense_blocking
from fastlin.kernels.interrupts import interruptible, stop_word
from fastlin.kernels.jit import compiled
from fastlin.kernels.jit.barrier import MEETING_WORDS
from fastlin.kernels.jit.dense import phases as jit_loops
from fastlin.kernels.jit.dense.phases import Arguments, Shape
from fastlin.kernels.jit.dense.tiles import N_POINTERS
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.matrix_unit import detection as matrix_unit
from fastlin.kernels.jit.matrix_unit import phases as integer_loops
from fastlin.kernels.jit.memory import words_of
from fastlin.kernels.record import Backend, by_rows
from fastlin.kernels.threads import note_started_threads, safe_n_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray, Rows

P = ParamSpec("P")
R = TypeVar("R")

SPINS = "2000"
"""Times that a waiting thread looks again before it sleeps, some 50 microseconds."""

_workqueue = threading.Lock()


def load() -> Backend:
    """Return the Numba backend, or why there is none."""
    if numba.config.DISABLE_JIT:
        return Backend(
            name="numba",
            reason="NUMBA_DISABLE_JIT is set, so Numba compiles nothing",
            remedy="unset NUMBA_DISABLE_JIT",
        )
    try:
        layer = threading_layer()
    except Exception as error:  # whatever Numba raises for a layer that is missing or unknown
        return Backend(
            name="numba",
            reason=f"Numba starts no threads ({_first_line(error)})",
            remedy="unset NUMBA_THREADING_LAYER and NUMBA_THREADING_LAYER_PRIORITY, or set the "
            "first to omp",
        )
    try:
        compiled.address_of(jit_loops.launch)
    except Exception as error:  # Numba and LLVM raise errors of many types
        return Backend(
            name="numba",
            reason=f"Numba cannot compile kernels here ({_first_line(error)})",
            remedy="unset the variables NUMBA_* or install the versions of numba and llvmlite that "
            "fastlin declares, with: pip install --force-reinstall fastlin",
        )
    return Backend(
        name="numba",
        version=numba.__version__,
        n_threads=numba.config.NUMBA_NUM_THREADS,
        threading_layer=layer,
        instruction_set=instruction_set(),
        sgd_steps=interruptible(by_rows(_for_each_kind(sgd_steps))),
        loss_gradient=interruptible(by_rows(_for_each_kind(loss_gradient))),
        score=interruptible(by_rows(_for_each_kind(score))),
        logits=interruptible(by_rows(_for_each_kind(logits))),
    )


def _for_each_kind(dense: Callable[P, R]) -> dict[type[Rows], Callable[P, R]]:
    """Return a kernel of this module and that of the same name for sparse rows."""

    def sparse(*arguments: P.args, **options: P.kwargs) -> R:
        from fastlin.kernels.jit.sparse import kernels

        result: R = getattr(kernels, dense.__name__)(*arguments, **options)
        return result

    return {DenseRows: dense, CsrRows: sparse}


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].strip(" .:") if lines else type(error).__name__


@functools.cache
def instruction_set() -> str:
    """Return which vectors LLVM may use here: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Or ``"amx"``, a matrix unit beside the vectors of AVX-512.
    """
    _, features = compiled.processor()
    found = {name[1:] for name in features.split(",") if name.startswith("+")}
    if {"avx512f", "avx512bw", "avx512dq", "avx512vl"} <= found:
        has_unit = found >= matrix_unit.FEATURES and matrix_unit.wanted()
        return "amx" if has_unit and matrix_unit.permitted() else "avx512"
    return "avx2" if {"avx2", "fma"} <= found else "baseline"


def threading_layer() -> str:
    """Return the layer that starts Numba's threads: ``"omp"``, ``"tbb"`` or ``"workqueue"``."""
    # GNU OpenMP reads this when it is loaded, which is now. Its threads wait by spinning for
    # milliseconds; on a busy machine the one they wait for then finds no free core.
    ours = "GOMP_SPINCOUNT" not in os.environ and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ["GOMP_SPINCOUNT"] = SPINS
    try:
        numba.get_num_threads()  # at the latest now Numba chooses the layer, and starts it
        note_started_threads()
        return str(numba.threading_layer())
    finally:
        if ours:
            del os.environ["GOMP_SPINCOUNT"]


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
    schedule = np.zeros((2, len(losses_out)), dtype)
    schedule[0] = options.learning_rates
    if options.average_rates is not None:
        schedule[1] = options.average_rates
    constants = [options.momentum, options.intercept_decay, options.intercept_gain]
    arguments = layout.arguments(
        shape,
        packed,
        order=order,
        features=[samples.shift, np.full(shape.d, options.decay), options.gain],
        intercept=intercept,
    )
    layout.run(shape, arguments, schedule, np.array(constants, dtype), losses_out, options.nesterov)
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
    no_schedule, no_constants = np.zeros((2, 1), weights.dtype), np.zeros(3, weights.dtype)
    layout.run(shape, arguments, no_schedule, no_constants, loss_sum)
    layout.unpack(gradient_sum, gradient)
    intercept_gradient = residual_total[0, : shape.k].copy()
    if samples.shift is not None:
        gradient -= np.outer(intercept_gradient, samples.shift)
    return float(loss_sum[0]), gradient, intercept_gradient


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
    n = len(samples.rows)
    if not samples.has_labels:  # whose losses the pass computes all the same
        samples = replace(samples, labels=np.zeros(n, np.int32))
    out = np.empty((n, len(weights)), weights.dtype)
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
    n_tiles = -(-n // PANEL)
    losses, n_correct = np.zeros(n_tiles), np.zeros(n_tiles, np.int64)
    if n == 0:
        return losses, n_correct
    layout = _Layout(samples, weights, PANEL, n, min(n_threads, n_tiles), steps=False)
    shape = layout.shape(updates=False)
    arguments = layout.arguments(
        shape,
        [layout.packed(weights)],
        intercept=layout.for_threads(intercept),
        a_pass=True,
    )._replace(
        n_tiles=n_tiles,
        losses=layout.address(losses),
        n_correct=layout.address(n_correct),
        logits=layout.address(logits_out) if logits_out.size else 0,
    )
    start(jit_loops.one_pass, layout.kind, words_of(shape, arguments), layout.n_threads)
    return losses, n_correct


def start(body: Any, kind: Kind, arguments: NDArray[np.int64], n_threads: int) -> None:
    """Run a kernel on that many threads; ``arguments``: the words that it reads."""
    kernel = compiled.address_of(body, kind)
    if n_threads == 1:  # nothing is launched: right also in a forked child
        compiled.call(kernel, arguments.ctypes.data, 0, 1)
        return
    launch = compiled.address_of(jit_loops.launch)
    with _threads(n_threads):
        compiled.call(launch, kernel, arguments.ctypes.data, n_threads)


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let Numba use that many threads."""
    before = numba.get_num_threads()
    numba.set_num_threads(n_threads)
    try:
        if numba.threading_layer() == "workqueue":
            # Numba ends the process where two threads are in this layer at once.
            with _workqueue:
                yield
        else:
            yield
    finally:
        numba.set_num_threads(before)


class Memory:
    """The arrays of one call, which kernels get by their addresses.

    ``dtype``: of the weights.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._kept: list[NDArray[Any]] = []

    def zeros(self, *shape: int, dtype: np.dtype[Any] | None = None) -> int:
        """Return the address of zeros, 0 if there are none."""
        if 0 in shape:
            return 0
        array = aligned(shape, dtype or self.dtype)
        self._kept.append(array)
        return int(array.ctypes.data)

    def address(self, array: NDArray[Any] | None, dtype: Any = None) -> int:
        """Return where an array lies, C-ordered and aligned, 0 for None; it lives as long as this.

        It is copied if it is not of that type, C-ordered or aligned.
        """
        if array is None:
            return 0
        flags = array.flags
        if not (flags.c_contiguous and flags.aligned and dtype in (None, array.dtype)):
            array = np.require(array, dtype, ["C", "A"])
        self._kept.append(array)
        return int(array.ctypes.data)


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
        self.batch_size, self.n_order = batch_size, n_order
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
            phases = integer_loops.integer_logits_phase, integer_loops.integer_gradient_phase
        else:
            phases = jit_loops.logits_phase, jit_loops.gradient_phase
        return phases[0], jit_loops.residual_phase, phases[1]

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
        )

    def arguments(
        self,
        shape: Shape,
        packed: list[NDArray[Any] | None],
        intercept: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        features: Any = None,
        gradient_sum: NDArray[np.float64] | None = None,
        residual_total: NDArray[np.float64] | None = None,
        a_pass: bool = False,
    ) -> Arguments:
        """Allocate the arrays of a call; all on cache lines of their own, and zero.

        ``packed``: weights, velocity and average; ``intercept``: (n_threads, 3, k).
        """
        assert self.samples.has_labels, "this kernel needs the rows' labels"
        dtype, samples, copies = self.weights.dtype, self.samples, self.n_threads
        parts = copies if a_pass else 2 * shape.n_slices
        n_packed = shape.k_padded * self.n_vectors * self.lanes
        packed_features = aligned((3, self.n_vectors * self.lanes), dtype)
        for row, values in zip(packed_features, features or [samples.shift], strict=False):
            if values is not None:
                held = self.features.ravel() >= 0
                row[held] = np.asarray(values, dtype)[self.features.ravel()[held]]
        if residual_total is None:
            residual_total = np.zeros((copies, shape.k_padded))
        weights, velocity, average = (*map(self.address, packed), 0, 0)[:3]
        int64, bytes_ = np.dtype(np.int64), np.dtype(np.uint8)
        arguments = Arguments(
            rows=self.rows.ctypes.data,
            order=self.address(order, np.int64),
            labels=self.address(samples.labels, np.int32),
            sample_weight=self.address(samples.sample_weight, np.float64),
            weights=weights,
            velocity=velocity,
            average=average,
            gradient=self.zeros(n_packed if shape.updates and self.batch_size > PANEL else 0),
            gradient_sum=self.address(gradient_sum),
            features=self.address(packed_features),
            partial=self.zeros(parts, shape.k_padded, PANEL),
            offset=self.zeros(parts, shape.k_padded),
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
            states=self.zeros(copies, 2, 5, dtype=int64),
            factors=self.zeros(copies, 3),
            meeting=self.zeros(MEETING_WORDS, dtype=np.dtype(np.int32)),
            stop=self.address(stop_word()),
        )
        if not self.integers:
            return arguments
        own_bytes = integer_loops.operand_bytes(shape.n_slices, self.n_vectors, shape.k_padded)
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
        schedule: FloatArray,
        constants: FloatArray,
        losses_out: NDArray[np.float64],
        nesterov: bool = False,
    ) -> None:
        """Run every batch of the call; the arrays: see :class:`.jit_loops.Arguments`."""
        a, b, c = (compiled.address_of(phase, self.kind) for phase in self.phases)
        assert losses_out.flags.carray
        arguments = arguments._replace(
            schedule=self.address(schedule),
            n_steps=len(losses_out),
            constants=self.address(constants),
            nesterov=nesterov,
            losses=self.address(losses_out),
            logits_phase=a,
            residual_phase=b,
            gradient_phase=c,
        )
        start(jit_loops.run, self.kind, words_of(shape, arguments), self.n_threads)

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


def aligned(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return zeros that start on a cache line."""
    size = math.prod(shape) * dtype.itemsize
    block = np.zeros(size + 64, np.uint8)
    start = -block.ctypes.data % 64
    return block[start : start + size].view(dtype).reshape(shape)
