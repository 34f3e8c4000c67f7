"""The Numba kernels for dense rows of many classes: the memory of a call, over :mod:`.run`.

Their contract is that of :mod:`fastlin.kernels.reference`; sums are in another order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.kernels.arguments import Parameters, Samples, StepOptions
from fastlin.kernels.blocking import PANEL, dense_blocking
from fastlin.kernels.jit import compiled
from fastlin.kernels.jit.call_memory import BLOCK
from fastlin.kernels.jit.calls import Call, of_intercept, of_weights, take_intercept
from fastlin.kernels.jit.many_classes import run as many_run
from fastlin.kernels.jit.many_classes.gradient import gradient_phase
from fastlin.kernels.jit.many_classes.layout import (
    BUNDLE,
    MOST_ROWS,
    MOST_WIDE,
    N_WORDS,
    Arguments,
    Shape,
    kinds,
)
from fastlin.kernels.jit.many_classes.logits import logits_phase
from fastlin.kernels.jit.many_classes.residuals import residual_phase
from fastlin.kernels.jit.many_classes.rows import gather_phase
from fastlin.kernels.jit.many_classes.tiles import group_of
from fastlin.kernels.jit.many_classes.weights import N_ARRAYS, pack_phase
from fastlin.kernels.jit.passes import score_and_logits
from fastlin.rows.interface import type_name

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
    call = _Call(samples, parameters.weights, options.batch_size, len(order), n_threads)
    # Arrays that the kernel can write to, which are those of the caller if it can.
    given = of_weights(parameters)
    written = [None if a is None else a if a.flags.carray else a.copy() for a in given]
    intercept = call.intercepts(*of_intercept(parameters))
    arguments = call.arguments(written, intercept, order=order, gain=options.gain)
    shape = call.shape(updates=True)
    call.run(many_run.run, shape, arguments, losses_out, (options, parameters))
    for array, values in zip(given, written, strict=True):
        if array is not None and values is not array:
            array[...] = values
    take_intercept(parameters, intercept)


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """See :func:`fastlin.kernels.reference.loss_gradient`."""
    gradient, by_intercept = np.zeros(weights.shape), np.zeros(intercept.shape)
    n = len(samples.rows)
    if n == 0:
        return 0.0, gradient, by_intercept
    call = _Call(samples, weights, n, n, n_threads)
    # A run without updates: one batch of all rows, whose gradient is summed up.
    arguments = call.arguments([weights], call.intercepts(intercept))._replace(
        gradient_sum=call.zeros(call.n_packed, dtype=np.dtype(float)),
        gradient_out=call.address(gradient),
        intercept_gradient=call.address(by_intercept),
    )
    loss_sum = np.zeros(1)
    call.run(many_run.run, call.shape(updates=False), arguments, loss_sum)
    return float(loss_sum[0]), gradient, by_intercept


def _begin_pass(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int
) -> tuple[Call, Shape, Arguments]:
    call = _Call(samples, weights, None, len(samples.rows), n_threads)
    arguments = call.arguments([weights], call.intercepts(intercept))
    return call, call.shape(updates=False), arguments


score, logits = score_and_logits(_begin_pass, many_run.one_pass, PANEL)


class _Call(Call):
    """Shapes and memory of one call; ``batch_size``: None for a pass."""

    def __init__(
        self,
        samples: Samples,
        weights: FloatArray,
        batch_size: int | None,
        n_order: int,
        n_threads: int,
    ) -> None:
        rows = samples.rows.values
        if rows.strides[1] != rows.itemsize or not rows.flags.aligned:
            rows = np.require(rows, requirements=["C", "A"])
        super().__init__(samples, weights, n_threads)
        self.rows, self.n_order, self.a_pass = rows, n_order, batch_size is None
        self.batch_size = batch_size or n_order
        types = type_name(rows.dtype), type_name(weights.dtype)
        blocking = dense_blocking(
            self.d,
            self.k,
            n_order,
            self.batch_size,
            types,
            self.registers,
            self.most_threads,
            steps=not self.a_pass,
        )
        self.lanes, self.n_threads = blocking.lanes, blocking.n_threads
        self.kinds = kinds(*types, self.lanes)
        self.kind = self.kinds["any"]
        self.n_vectors = -(-self.k // self.lanes)
        self.n_slices = -(-self.n_vectors // MOST_WIDE)
        self.k_padded = self.n_vectors * self.lanes
        self.group = group_of(self.registers.vector_bytes)
        self.d_padded = -(-self.d // self.group) * self.group
        self.n_packed = self.k_padded * self.d_padded
        # An odd number of blocks: at a large power of two caches would hold only a few bundles.
        n_blocks = self.d_padded // self.group | 1
        self.bundle_bytes = n_blocks * self.group * BUNDLE * self.dtype.itemsize
        n_rows = PANEL if self.a_pass else min(self.batch_size, n_order)
        n_panels = -(-n_rows // MOST_ROWS)
        whole = max(BUNDLE, self.lanes)
        self.panel = -(-n_rows // (n_panels * whole)) * whole
        self.panel_bytes = self.panel // BUNDLE * self.bundle_bytes

    def shape(self, updates: bool) -> Shape:
        """Return the sizes that the loops need."""
        return Shape(
            d=self.d,
            k=self.k,
            d_padded=self.d_padded,
            panel=self.panel,
            bundle_bytes=self.bundle_bytes,
            n_vectors=self.n_vectors,
            n_slices=self.n_slices,
            lanes=self.lanes,
            size=self.dtype.itemsize,
            group=self.group,
            row_bytes=self.d * self.rows.itemsize,
            stride=self.rows.strides[0],
            n_rows=len(self.rows),
            n_order=self.n_order,
            batch_size=self.batch_size,
            updates=updates,
            shifted=self.samples.shift is not None,
            a_pass=self.a_pass,
        )

    def arguments(
        self,
        weights: list[FloatArray | None],
        intercept: NDArray[Any],
        order: NDArray[np.int64] | None = None,
        gain: FloatArray | None = None,
    ) -> Arguments:
        """Allocate the arrays of a call; the parameters: see :class:`.layout.Arguments`.

        ``weights``: weights, and if there are any velocity and average, all (k, d).
        """
        copies = self.n_threads
        of_pass, n_panels = (copies, copies) if self.a_pass else (1, 2)
        int64, classes = np.dtype(np.int64), self.k_padded
        given = np.zeros(N_ARRAYS, np.int64)
        given[: len(weights)] = [self.address(array) for array in weights]
        several = not self.a_pass and self.batch_size > self.panel
        n_numbers = (np.count_nonzero(given) + several) * self.n_packed
        n_numbers += of_pass * classes * self.panel
        self.reserve(int(n_numbers) * self.dtype.itemsize + n_panels * self.panel_bytes + BLOCK)
        packed = np.array([self.zeros(self.n_packed) if a else 0 for a in given], np.int64)
        is_class = np.arange(classes) < self.k
        return Arguments(
            **self.common_arguments(order),
            **self.phases(),
            rows=self.rows.ctypes.data,
            zero_row=self.zeros(self.d, dtype=self.rows.dtype),
            given=self.address(given),
            packed=self.address(packed),
            weights=int(packed[0]),
            velocity=int(packed[1]),
            average=int(packed[2]),
            gradient=self.zeros(self.n_packed if several else 0),
            gradient_sum=0,
            gradient_out=0,
            intercept_gradient=0,
            shift=self.by_feature(self.samples.shift),
            gain=self.by_feature(gain),
            panels=self.zeros(n_panels, self.panel_bytes, dtype=np.dtype(np.uint8)),
            panel_bytes=self.panel_bytes,
            residual=self.zeros(of_pass, classes, self.panel),
            row_losses=self.zeros(self.panel),
            offset=self.zeros(of_pass, classes),
            intercept=self.address(intercept),
            is_class=self.address(is_class.astype(self.dtype)),
            places=self.address(self.places()),
            bias=self.zeros(copies, classes),
            of_row=self.zeros(copies, classes),
            sums=self.zeros(copies, self.group * MOST_WIDE * self.lanes),
            residual_sum=self.zeros(copies, classes),
            pointers=self.zeros(copies, self.panel, dtype=int64),
            words=self.zeros(copies, N_WORDS, dtype=int64),
        )

    def slice_bounds(self) -> NDArray[np.int64]:
        """Return the first vector of each slice, and the number of vectors."""
        bounds: NDArray[np.int64] = np.arange(self.n_slices + 1) * self.n_vectors // self.n_slices
        return bounds

    def places(self) -> NDArray[np.int64]:
        """Return where each vector's logits lie: see :class:`.layout.Arguments`."""
        bounds = self.slice_bounds()
        widths = np.diff(bounds)
        first, width = np.repeat(bounds[:-1], widths), np.repeat(widths, widths)
        begin = first * self.panel + np.arange(self.n_vectors) - first
        return np.stack([begin, width], axis=1) * self.registers.vector_bytes

    def phases(self) -> dict[str, int]:
        """Return the addresses of the compiled phases."""
        words = {
            "pack": (pack_phase, "any"),
            "gather": (gather_phase, "rows"),
        }
        widths = set(np.diff(self.slice_bounds()).tolist())
        for width, word in ((MOST_WIDE - 1, "narrow"), (MOST_WIDE, "wide")):
            if width in widths:
                words[f"{word}_logits"] = logits_phase, word
                if not self.a_pass:
                    words[f"{word}_gradient"] = gradient_phase, word
        if not self.a_pass:
            words["residuals"] = residual_phase, "any"
        absent = {"narrow_logits": 0, "wide_logits": 0}
        return absent | {
            word: compiled.address_of(body, self.kinds[kind])
            for word, (body, kind) in words.items()
        }

    def by_feature(self, values: FloatArray | None) -> int:
        """Return the address of a copy of numbers (d), zeros behind them or in their place."""
        padded = np.zeros(self.d_padded, self.dtype)
        if values is not None:
            padded[: self.d] = values
        return self.address(padded)
