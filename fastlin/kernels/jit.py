"""The Numba backend: :mod:`fastlin.kernels.reference`'s functions over :mod:`.jit_loops`.

Same contract. What differs: sums are in another order, and the weights are copied into a packed
layout for the length of a call. This module lays out the memory of a call; packed weights are
``[class block][feature vector][class in block][lane]``, zero where there is no such class. The last
feature vector holds the last ``lanes`` features; the lanes that it shares with the one before are
zero and stay zero, since their gain and decay are. For a matrix unit
(:mod:`fastlin.kernels.integer_loops`) there are whole groups of vectors instead, zero at the end.
"""

from __future__ import annotations

import functools
import math
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
from llvmlite import binding as llvm

from fastlin.kernels import Backend, default_n_threads, integer_loops, integer_tiles, matrix_unit
from fastlin.kernels.arguments import CsrRows, Parameters, Samples, StepOptions
from fastlin.kernels.jit_loops import (
    Shape,
    Work,
    gradient_share,
    logits_share,
    one_pass,
    pass_share,
    residual_share,
    run,
    run_share,
)
from fastlin.kernels.meeting import MEETING_WORDS
from fastlin.kernels.threads import note_started_threads, safe_n_threads
from fastlin.kernels.tiles import (
    N_POINTERS,
    TILE,
    choose_block,
    kind,
    register_tiles,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastlin.kernels.arguments import FloatArray

VECTOR_BYTES = {"amx": 64, "avx512": 64, "avx2": 32, "baseline": 16}
WORK_OF_A_THREAD = 200_000
"""Products between two meetings of the threads that make one more thread worth its start."""

SPINS = "2000"
"""Times that a waiting thread looks again before it sleeps, some 50 microseconds."""

_workqueue = threading.Lock()


def load() -> Backend:
    """Return the Numba backend."""
    return Backend(
        name="numba",
        version=numba.__version__,
        n_threads=min(default_n_threads(), numba.config.NUMBA_NUM_THREADS),
        threading_layer=threading_layer(),
        instruction_set=instruction_set(),
        sgd_steps=sgd_steps,
        loss_gradient=loss_gradient,
        score=score,
        logits=logits,
    )


@functools.cache
def instruction_set() -> str:
    """Return which vectors LLVM may use here: ``"avx512"``, ``"avx2"`` or ``"baseline"``.

    Or ``"amx"``, a matrix unit beside the vectors of AVX-512.
    """
    features = numba.config.CPU_FEATURES
    if features is None:
        found = {name for name, has in llvm.get_host_cpu_features().items() if has}
    else:
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
        # Numba chooses at the first launch; there is no public way to ask for it sooner.
        from numba.np.ufunc.parallel import _launch_threads

        _launch_threads()
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
    if isinstance(samples.rows, CsrRows):
        from fastlin.kernels import jit_sparse

        jit_sparse.sgd_steps(samples, order, parameters, options, losses_out, n_threads)
        return
    if len(order) == 0:
        return
    dtype: np.dtype[Any] = parameters.weights.dtype
    layout = _Layout(
        samples, parameters.weights, options.batch_size, len(order), n_threads, steps=True
    )
    shape = layout.shape(updates=True)
    rows = [parameters.intercept, parameters.intercept_velocity, parameters.intercept_average]
    intercept = np.zeros((shape.n_threads, 3, shape.k), dtype)
    for row, values in enumerate(rows):
        if values is not None:
            intercept[:, row] = values
    by_class = [parameters.weights, parameters.weights_velocity, parameters.weights_average]
    packed = [layout.packed(values) for values in by_class]
    work = layout.work(
        shape,
        packed,
        order=np.require(order, np.int64, ["C", "W"]),
        features=[samples.shift, options.decay, options.gain],
        intercept=intercept,
    )
    schedule = np.zeros((2, len(losses_out)), dtype)
    schedule[0] = options.learning_rates
    if options.average_rates is not None:
        schedule[1] = options.average_rates
    constants = [options.momentum, options.intercept_decay, options.intercept_gain]
    _run(layout, shape, work, schedule, np.array(constants, dtype), options.nesterov, losses_out)
    for held, values in zip(packed, by_class, strict=True):
        layout.unpack(held, values)
    for row, values in enumerate(rows):
        if values is not None:
            values[:] = intercept[0, row]


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    if isinstance(samples.rows, CsrRows):
        from fastlin.kernels import jit_sparse

        return jit_sparse.loss_gradient(samples, weights, intercept, n_threads)
    gradient = np.zeros(weights.shape)
    n = len(samples.rows)
    if n == 0:
        return 0.0, gradient, np.zeros(intercept.shape)
    layout = _Layout(samples, weights, n, n, n_threads, steps=True)
    shape = layout.shape(updates=False)
    work = layout.work(shape, [layout.packed(weights)], intercept=_of_threads(intercept, shape))
    loss_sum = np.zeros(1)
    no_schedule, no_constants = np.zeros((2, 1), weights.dtype), np.zeros(3, weights.dtype)
    _run(layout, shape, work, no_schedule, no_constants, False, loss_sum)
    layout.unpack(work.gradient_sum, gradient)
    intercept_gradient = work.residual_total[: shape.k].copy()
    if samples.shift is not None:
        gradient -= np.outer(intercept_gradient, samples.shift)
    return float(loss_sum[0]), gradient, intercept_gradient


def score(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, int]:
    """See :func:`fastlin.kernels.reference.score`."""
    if isinstance(samples.rows, CsrRows):
        from fastlin.kernels import jit_sparse

        return jit_sparse.score(samples, weights, intercept, n_threads)
    nothing = np.empty((0, 0), weights.dtype)
    losses, n_correct = _pass(samples, weights, intercept, nothing, n_threads)
    return float(losses.sum()), int(n_correct.sum())


def logits(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> FloatArray:
    """See :func:`fastlin.kernels.reference.logits`."""
    if isinstance(samples.rows, CsrRows):
        from fastlin.kernels import jit_sparse

        return jit_sparse.logits(samples, weights, intercept, n_threads)
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
    layout = _Layout(samples, weights, TILE, n, min(n_threads, n_tiles), steps=False)
    shape = layout.shape(updates=False)
    work = layout.work(
        shape, [layout.packed(weights)], intercept=_of_threads(intercept, shape), a_pass=True
    )
    with _threads(shape.n_threads):
        arguments = (layout.kind, shape, work, losses, n_correct, logits_out)
        share = _address(pass_share, layout.kind, *arguments, 0)
        one_pass(share, *arguments)
    return losses, n_correct


def _run(
    layout: _Layout,
    shape: Shape,
    work: Work,
    schedule: FloatArray,
    constants: FloatArray,
    nesterov: bool,
    losses_out: NDArray[np.float64],
) -> None:
    kind, tile, factors = layout.kind, work.states[0], work.factors
    phase_a, phase_c = layout.phases_with_products
    shares = (
        _address(phase_a, kind, kind, shape, work, tile, 0),
        _address(residual_share, kind, kind, shape, work, tile, 1, 0),
        _address(phase_c, kind, kind, shape, work, tile, factors, False, 0),
    )
    arguments = (shares, kind, shape, work, schedule, constants, bool(nesterov), losses_out)
    share = _address(run_share, kind, *arguments, 0)
    with _threads(shape.n_threads):
        run(share, *arguments)


_addresses: dict[tuple[str, Any], int] = {}


def _address(function: Any, kind: Any, *arguments: Any) -> int:
    """Return where the machine code of a compiled function lies; its types follow from ``kind``."""
    key = (function.__name__, kind.dtype)
    if key not in _addresses:
        signature = tuple(numba.typeof(argument) for argument in arguments)
        function.compile(signature)
        result = function.overloads[signature]
        _addresses[key] = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
    return _addresses[key]


def _of_threads(intercept: FloatArray, shape: Shape) -> NDArray[Any]:
    return np.broadcast_to(intercept, (shape.n_threads, 3, shape.k))


@contextmanager
def _threads(n_threads: int) -> Iterator[None]:
    """Let Numba use that many threads."""
    if n_threads == 1:  # nothing is launched: right also in a forked child
        yield
        return
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


class _Layout:
    """Shapes and memory of one call."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int,
        n_order: int,
        n_threads: int,
        steps: bool,
    ) -> None:
        rows = samples.rows
        assert isinstance(rows, np.ndarray)
        if rows.strides[1] != rows.itemsize:
            rows = np.ascontiguousarray(rows)
        self.rows, self.samples, self.weights = rows, samples, weights
        self._kept: list[NDArray[Any]] = []
        vector_bytes = VECTOR_BYTES[instruction_set()]
        self.lanes = vector_bytes // weights.itemsize
        self.k, self.d = weights.shape
        self.n_vectors = -(-self.d // self.lanes)
        self.integers = (
            steps
            and instruction_set() == "amx"
            and matrix_unit.suits(rows.dtype, weights.dtype, batch_size, self.k)
        )
        self.block = choose_block(self.k, vector_bytes)
        if self.integers:
            self.block = integer_tiles.BLOCK
            self.n_vectors = -(-self.n_vectors // integer_tiles.GROUP) * integer_tiles.GROUP
        self.n_samples, self.n_wide = register_tiles(vector_bytes)[self.block]
        self.n_blocks = -(-self.k // self.block)
        self.n_slices = 4 if self.d >= 2048 else 2 if self.n_vectors >= 16 else 1
        if self.integers:
            self.n_slices = integer_loops.choose_slices(self.d, self.n_slices)
        self.batch_size, self.n_order = batch_size, n_order
        unit = "integers" if self.integers else "vectors"
        self.kind = kind(rows.dtype, weights.dtype, self.block, vector_bytes, unit)
        # Each thread needs a thread of Numba's: they wait for each other.
        of_numba = min(n_threads, numba.config.NUMBA_NUM_THREADS)
        self.n_threads = self._useful_threads(safe_n_threads(of_numba))
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

    def _useful_threads(self, n_threads: int) -> int:
        rows = min(self.batch_size, TILE, self.n_order)
        products = rows * self.d * (self.n_blocks * self.block + 16)
        parts, work = max(1, self.n_vectors // 2), WORK_OF_A_THREAD
        if self.integers:
            # Products cost less; and a slice belongs to one thread.
            parts, work = self.n_slices, 4 * work
        return int(max(1, min(products // work, parts, n_threads)))

    @property
    def phases_with_products(self) -> tuple[Any, Any]:
        """The functions for a thread's part of phases A and C."""
        if self.integers:
            return integer_loops.integer_logits_share, integer_loops.integer_gradient_share
        return logits_share, gradient_share

    def shape(self, updates: bool) -> Shape:
        """Return the sizes that the loops need."""
        has_tail = self.d % self.lanes != 0 and self.d > self.lanes
        return Shape(
            d=self.d,
            k=self.k,
            n_vectors=self.n_vectors,
            n_aligned=self.n_vectors - has_tail,
            n_slices=self.n_slices,
            n_threads=self.n_threads,
            block=self.block,
            n_blocks=self.n_blocks,
            k_padded=self.n_blocks * self.block,
            lanes=self.lanes,
            size=self.weights.itemsize,
            row_size=self.rows.itemsize,
            stride=self.rows.strides[0],
            n_wide=self.n_wide,
            n_samples=self.n_samples,
            n_order=self.n_order,
            batch_size=self.batch_size,
            updates=updates,
            shifted=self.samples.shift is not None,
        )

    def work(
        self,
        shape: Shape,
        packed: list[NDArray[Any] | None],
        intercept: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        features: Any = None,
        a_pass: bool = False,
    ) -> Work:
        """Allocate the arrays of a call; all on cache lines of their own, and zero.

        ``packed``: weights, velocity and average.
        """
        dtype, samples = self.weights.dtype, self.samples
        copies = shape.n_threads
        parts = copies if a_pass else 2 * shape.n_slices
        n_packed = shape.k_padded * self.n_vectors * self.lanes
        summed = not shape.updates and not a_pass
        kept = shape.updates and shape.batch_size > TILE
        packed_features = aligned((3, self.n_vectors * self.lanes), dtype)
        for row, values in zip(packed_features, features or [samples.shift], strict=False):
            if values is not None:
                held = self.features.ravel() >= 0
                row[held] = np.asarray(values, dtype)[self.features.ravel()[held]]
        weights, velocity, average = (*map(self._kept_at, packed), 0, 0)[:3]
        bytes_ = np.dtype(np.uint8)
        own_bytes = 0
        if self.integers:
            sizes = shape.n_slices, shape.n_vectors, shape.k_padded
            own_bytes = integer_loops.operand_bytes(*sizes)
        short = N_POINTERS if self.d < self.lanes else 0
        return Work(
            rows=self.rows.ctypes.data,
            order=np.empty(0, np.int64) if order is None else order,
            labels=np.require(samples.labels, np.int32, ["C", "W"]),
            sample_weight=(
                np.empty(0)
                if samples.sample_weight is None
                else np.require(samples.sample_weight, np.float64, ["C", "W"])
            ),
            weights=weights,
            velocity=velocity,
            average=average,
            gradient=aligned((n_packed if kept else 0,), dtype),
            gradient_sum=aligned((n_packed if summed else 0,), np.dtype(np.float64)),
            features=self._kept_at(packed_features),
            partial=self._kept_at(aligned((parts, shape.k_padded, TILE), dtype)),
            offset=aligned((parts, shape.k_padded), dtype),
            residual=aligned((copies * shape.k_padded, TILE), dtype),
            by_row=aligned((copies * 4, TILE), dtype),
            pointers=np.zeros((copies * 2, N_POINTERS), np.int64),
            short_rows=self._kept_at(aligned((copies * 2, short, self.lanes), self.rows.dtype)),
            sums=aligned((shape.n_threads, 24 * self.lanes), dtype),
            residual_sum=aligned((copies * shape.k_padded,), dtype),
            residual_total=np.zeros(copies * shape.k_padded),
            intercept=np.ascontiguousarray(intercept).reshape(copies * 3, shape.k),
            states=np.zeros((copies * 2, 5), np.int64),
            factors=np.zeros(copies * 3, dtype),
            meeting=self._kept_at(aligned((MEETING_WORDS,), np.dtype(np.int32))),
            weight_digits=self._kept_at(aligned((4 * n_packed if self.integers else 0,), bytes_)),
            weight_units=self._kept_at(aligned((shape.n_slices, shape.k_padded), dtype)),
            operands=self._kept_at(aligned((copies, own_bytes), bytes_)),
            operand_bytes=own_bytes,
        )

    def _kept_at(self, array: NDArray[Any] | None) -> int:
        """Return where an array lies, 0 for none; it lives as long as this layout."""
        if array is None:
            return 0
        self._kept.append(array)
        return int(array.ctypes.data)

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
