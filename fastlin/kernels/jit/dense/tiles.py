"""The innermost loops of the Numba backend, as intrinsics over addresses.

The same micro-kernels as the C backend's (``csrc/dense/tiles.h``), emitted for the types and the
number of classes at hand. All arrays are given by the address of their first element of interest,
an integer; all but rows are aligned to whole vectors. ``PANEL`` is the distance from one class to
the next wherever it says ``[class][row]``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.blocking import PANEL, ROW_STEP, Registers
from fastlin.kernels.jit import step
from fastlin.kernels.jit.emit import FeatureUnit, Flag, Integer, Number, emits
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.vectors import INT32, INT64, Vector

N_POINTERS = PANEL + ROW_STEP
"""Addresses of a panel's rows; those after the last repeat it, and are asked for ahead of time."""


class DenseUnit(FeatureUnit):
    """The vectors of a kind; rows' vectors take ``row_step`` bytes."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind)
        self.block, self.element, self.streamed = kind.block, kind.rows, kind.streamed
        self.row_step = kind.lanes * kind.row_bytes
        self.micro_kernel = Registers(self.size).micro_kernels[kind.block]


@emits
def logit_tile(
    unit: DenseUnit,
    rows: Integer,
    column: Integer,
    n_full: Integer,
    tail: Integer,
    weights: Integer,
    out: Integer,
) -> None:
    """Logits of a micro-kernel's rows for a block of classes, from a run of feature vectors.

    ``rows``: addresses of the rows, and behind them of the next ones, which are asked for ahead of
    time; ``column``: byte in a row at which the run starts; ``n_full`` vectors follow each other,
    and one more lies at byte ``tail`` unless that is negative; ``weights``: [vector][class][lane]
    of the run; ``out``: [class][row] at the first row.
    """
    builder, block, n_rows = unit.builder, unit.block, unit.micro_kernel.rows
    addresses = [unit.load_address(rows, row) for row in range(2 * n_rows)]
    starts = [builder.add(address, column) for address in addresses]

    def accumulate(xs: list[Vector], v: ir.Value, sums: list[Vector]) -> list[Vector]:
        of_vector = unit.item(weights, v, block * unit.size)
        results = []
        for c in range(block):
            w = unit.load(of_vector, c * unit.size)
            for row, x in enumerate(xs):
                results.append(unit.multiply_add(x, w, sums[c * n_rows + row]))
        return results

    def one_vector(v: ir.Value, sums: list[Vector]) -> list[Vector]:
        offset = unit.times(v, unit.row_step)
        xs = [unit.load_row(start, unit.element, offset) for start in starts[:n_rows]]
        for next_start in starts[n_rows:]:
            # From main memory to the second-level cache, for which there may be more requests.
            locality = 2 if unit.streamed else 3
            unit.prefetch(builder.add(next_start, offset), locality=locality)
        return accumulate(xs, v, sums)

    def the_tail(_: ir.Value, sums: list[Vector]) -> list[Vector]:
        xs = [unit.load_row(address, unit.element, tail) for address in addresses[:n_rows]]
        return accumulate(xs, n_full, sums)

    sums = unit.loop(n_full, [unit.constant(0.0)] * (block * n_rows), one_vector)
    has_tail = builder.zext(builder.icmp_signed(">=", tail, INT64(0)), INT64)
    sums = unit.loop(has_tail, sums, the_tail)
    # A vector of totals holds the rows of one class behind those of another, or a part of one's.
    for first in range(0, len(sums), unit.lanes):
        chunk = sums[first : first + unit.lanes]
        totals = unit.sum_each(chunk).value
        for lane in range(0, len(chunk), n_rows):
            lanes = list(range(lane, lane + min(n_rows, unit.lanes)))
            mask = ir.Constant(ir.VectorType(INT32, len(lanes)), lanes)
            part = builder.shuffle_vector(totals, totals, mask)
            c, row = divmod(first + lane, n_rows)
            pointer = unit.pointer(out, part.type, (c * PANEL + row) * unit.itemsize)
            builder.store(part, pointer, align=unit.itemsize)


def _gradient_tile(wide: bool) -> Any:
    @emits
    def gradient_tile(
        unit: DenseUnit,
        rows: Integer,
        next_rows: Integer,
        column: Integer,
        n_rows: Integer,
        residual: Integer,
        sums_out: Integer,
    ) -> None:
        """``residual^T x`` over the rows of a panel, for a block of classes and a few vectors.

        ``rows``, ``next_rows``: addresses of the panel's and the next panel's, which are asked for
        on the way, one cache line at a time; ``column``: byte in a row at which the vectors start;
        ``residual``: [class][row] of the block; ``sums_out``: [vector][class][lane].
        """
        builder, block = unit.builder, unit.block
        n_vectors = unit.micro_kernel.vectors if wide else 1

        def one_row(i: ir.Value, sums: list[Vector]) -> list[Vector]:
            row = builder.add(unit.load_address(rows, i), column)
            next_row = builder.add(unit.load_address(next_rows, i), column)
            for byte in range(0, n_vectors * unit.row_step, 64):
                unit.prefetch(next_row, byte)
            xs = [unit.load_row(row, unit.element, v * unit.row_step) for v in range(n_vectors)]
            of_row = unit.item(residual, i, unit.itemsize)
            results = list(sums)
            for c in range(block):
                r = unit.splat(unit.load_scalar(of_row, c * PANEL * unit.itemsize))
                for v, x in enumerate(xs):
                    index = v * block + c
                    results[index] = unit.multiply_add(x, r, sums[index])
            return results

        zeros = [unit.constant(0.0)] * (block * n_vectors)
        for index, total in enumerate(unit.loop(n_rows, zeros, one_row)):
            unit.store(total, sums_out, index * unit.size)

    return gradient_tile


wide_gradient_tile = _gradient_tile(wide=True)
narrow_gradient_tile = _gradient_tile(wide=False)


@emits
def add_logits(
    unit: FeatureUnit,
    n_slices: Integer,
    slice_bytes: Integer,
    partial: Integer,
    constant: Number,
    logits: Integer,
) -> None:
    """One class's logits of a vector of rows: the slices' parts and a constant, summed up."""
    builder = unit.builder

    def add(s: ir.Value, sums: list[Vector]) -> list[Vector]:
        offset = unit.times(builder.add(s, INT64(1)), slice_bytes)
        return [sums[0] + unit.load(partial, offset)]

    others = builder.sub(n_slices, INT64(1))
    (z,) = unit.loop(others, [unit.load(partial)], add)
    unit.store(z + unit.splat(constant), logits)


@emits
def sum_rows(unit: FeatureUnit, values: Integer, n_vectors: Integer) -> Number:
    """Return the sum of ``n_vectors`` vectors' lanes."""

    def add(i: ir.Value, sums: list[Vector]) -> list[Vector]:
        return [sums[0] + unit.load(values, unit.times(i, unit.size))]

    (total,) = unit.loop(n_vectors, [unit.constant(0.0)], add)
    return unit.sum(total)


@emits
def shift_logit(unit: DenseUnit, n_vectors: Integer, weights: Integer, shift: Integer) -> Number:
    """Return what the shift takes off a class's logit: ``weights . shift`` over some vectors.

    ``weights``: the class's, one vector in each block.
    """

    def add(v: ir.Value, sums: list[Vector]) -> list[Vector]:
        w = unit.load(weights, unit.times(v, unit.block * unit.size))
        return [unit.multiply_add(w, unit.load(shift, unit.times(v, unit.size)), sums[0])]

    (total,) = unit.loop(n_vectors, [unit.constant(0.0)], add)
    return unit.sum(total)


@emits
def descend(
    unit: DenseUnit,
    count: Integer,
    sums: Integer,
    at: Integer,
    arrays: tuple[Integer, Integer, Integer],
    features: tuple[Integer, Integer],
    residual_sum: Integer,
    factors: tuple[Number, Number, Number, Number],
    nesterov: Flag,
) -> None:
    """Step with ``count`` finished gradients of a micro-kernel, ``sums``: [vector][class].

    ``at``: byte of the first weights within each of ``arrays`` = (weights, velocity or 0, average
    or 0); ``features`` = (shift, gain) from the first vector on; ``residual_sum``: of the block's
    classes; ``factors`` = (learning rate, momentum, rate of the average, decay).
    """
    builder, block = unit.builder, unit.block
    weights, velocity, average = (builder.add(array, at) for array in arrays)
    has_velocity, has_average = (builder.icmp_signed("!=", array, INT64(0)) for array in arrays[1:])
    shift, gain = features
    rate, momentum, average_rate, decay = (unit.splat(factor) for factor in factors)
    # What is absent is read from the weights, and counts as zero.
    velocity = builder.select(has_velocity, velocity, weights)
    average = builder.select(has_average, average, weights)

    def one(i: ir.Value) -> None:
        here = unit.times(i, unit.size)
        lanes = unit.times(builder.sdiv(i, INT64(block)), unit.size)
        of_class = unit.times(builder.srem(i, INT64(block)), unit.itemsize)
        w, v, mean = (unit.load(address, here) for address in (weights, velocity, average))
        v = unit.select(has_velocity, v, unit.constant(0.0))
        r = unit.splat(unit.load_scalar(residual_sum, of_class))
        total = unit.load(sums, here)
        gradient = unit.load(gain, lanes) * (total - r * unit.load(shift, lanes))
        gradient = unit.multiply_add(decay, w, gradient)
        rates = rate, momentum, average_rate
        w, v, mean = step.descend(unit, gradient, (w, v, mean), rates, nesterov)
        unit.store(w, weights, here)
        with builder.if_then(has_velocity):
            unit.store(v, velocity, here)
        with builder.if_then(has_average):
            unit.store(mean, average, here)

    unit.each(count, one)


@emits
def copy_bytes(unit: FeatureUnit, to: Integer, source: Integer, count: Integer) -> None:
    """Copy ``count`` bytes."""
    pointers = (unit.pointer(address, ir.IntType(8)) for address in (to, source))
    cgutils.raw_memcpy(unit.builder, *pointers, count, 1)
