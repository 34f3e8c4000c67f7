"""The innermost loops of the Numba backend, as intrinsics over addresses.

The same register tiles as the C backend's (``csrc/kernels.h``), emitted for the types and the
number of classes at hand. All arrays are given by the address of their first element of interest,
an integer; all but rows are aligned to whole vectors. ``PANEL`` is the distance from one class to
the next wherever it says ``[class][row]``.

Every intrinsic's first argument is a :class:`.Kind`, whose Numba type alone matters.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.blocking import PANEL, ROW_STEP, MicroKernel, Registers
from fastlin.kernels.jit import step
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import INT64, Vector, VectorUnit

N_POINTERS = PANEL + ROW_STEP
"""Addresses of a panel's rows; those after the last repeat it, and are touched ahead of time."""


def _tile(of: Kind) -> MicroKernel:
    """Return a kind's micro-kernel."""
    return Registers(of.lanes * (8 if of.double else 4)).micro_kernels[of.block]


def _unit(builder: Any, of: Kind) -> VectorUnit:
    return VectorUnit(builder, of.lanes, of.double)


@intrinsic
def logit_tile(
    typingctx: Any,
    kind: Any,
    rows: Any,
    column: Any,
    n_full: Any,
    tail: Any,
    weights: Any,
    out: Any,
) -> Any:
    """Logits of a register tile's rows for a block of classes, from a run of feature vectors.

    ``rows``: addresses of the rows; ``column``: byte in a row where the run starts; ``n_full``
    vectors follow each other, and one more lies at byte ``tail`` unless that is negative;
    ``weights``: [vector][class][lane] of the run; ``out``: [class][row] at the first row.
    """
    of: Kind = kind.kind
    n_samples = _tile(of).rows

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, rows, column, n_full, tail, weights, out = args
        unit = _unit(builder, of)
        vector_bytes = of.lanes * unit.itemsize
        addresses = [
            builder.load(unit.pointer(rows, INT64, 8 * sample)) for sample in range(2 * n_samples)
        ]
        starts = [builder.add(address, column) for address in addresses]
        next_starts = starts[n_samples:]
        del addresses[n_samples:], starts[n_samples:]

        def accumulate(xs: list[Vector], at: ir.Value, sums: list[Vector]) -> list[Vector]:
            results = []
            for c in range(of.block):
                w = unit.load(at, c * vector_bytes)
                for s, x in enumerate(xs):
                    results.append(unit.multiply_add(x, w, sums[c * n_samples + s]))
            return results

        def one_vector(v: ir.Value, sums: list[Vector]) -> list[Vector]:
            offset = builder.mul(v, INT64(of.lanes * of.row_bytes))
            xs = [unit.load_row(start, of.row_bytes, offset) for start in starts]
            for next_start in next_starts:
                unit.prefetch(builder.add(next_start, offset), locality=3)
            at = builder.add(weights, builder.mul(v, INT64(of.block * vector_bytes)))
            return accumulate(xs, at, sums)

        sums = unit.loop(n_full, [unit.constant(0.0)] * (of.block * n_samples), one_vector)

        def the_tail(_: ir.Value, sums: list[Vector]) -> list[Vector]:
            xs = [unit.load_row(address, of.row_bytes, tail) for address in addresses]
            at = builder.add(weights, builder.mul(n_full, INT64(of.block * vector_bytes)))
            return accumulate(xs, at, sums)

        has_tail = builder.zext(builder.icmp_signed(">=", tail, INT64(0)), INT64)
        sums = unit.loop(has_tail, sums, the_tail)
        for first in range(0, len(sums), of.lanes):
            chunk = sums[first : first + of.lanes]
            totals = unit.sum_each(chunk).value
            for i in range(0, len(chunk), n_samples):
                lanes = [i + s for s in range(n_samples)]
                if n_samples > of.lanes:
                    lanes = lanes[: of.lanes]
                mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes)
                part = builder.shuffle_vector(totals, totals, mask)
                index = first + i
                where = (index // n_samples * PANEL + index % n_samples) * unit.itemsize
                builder.store(part, unit.pointer(out, part.type, where), align=unit.itemsize)
        return context.get_dummy_value()

    return types.none(kind, *[types.int64] * 6), codegen


def _gradient_tile(wide: bool) -> Any:
    @intrinsic
    def gradient_tile(
        typingctx: Any,
        kind: Any,
        rows: Any,
        next_rows: Any,
        column: Any,
        n_rows: Any,
        residual: Any,
        sums_out: Any,
    ) -> Any:
        """``residual^T x`` over the rows of a tile, for a block of classes and a few vectors.

        ``residual``: [class][row] of the block; ``sums_out``: [vector][class][lane]. Touches the
        next tile's rows on its way, one cache line at a time.
        """
        of: Kind = kind.kind
        n_vectors = _tile(of).vectors if wide else 1

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, rows, next_rows, column, n_rows, residual, sums_out = args
            unit = _unit(builder, of)
            step = of.lanes * of.row_bytes

            def one_row(i: ir.Value, sums: list[Vector]) -> list[Vector]:
                entry = builder.mul(i, INT64(8))
                row = builder.add(builder.load(unit.pointer(rows, INT64, entry)), column)
                next_row = builder.add(builder.load(unit.pointer(next_rows, INT64, entry)), column)
                for byte in range(0, n_vectors * step, 64):
                    unit.prefetch(next_row, byte)
                xs = [unit.load_row(row, of.row_bytes, v * step) for v in range(n_vectors)]
                at = builder.add(residual, builder.mul(i, INT64(unit.itemsize)))
                results = list(sums)
                for c in range(of.block):
                    r = unit.splat(unit.load_scalar(at, c * PANEL * unit.itemsize))
                    for v, x in enumerate(xs):
                        index = v * of.block + c
                        results[index] = unit.multiply_add(x, r, sums[index])
                return results

            zeros = [unit.constant(0.0)] * (of.block * n_vectors)
            for index, total in enumerate(unit.loop(n_rows, zeros, one_row)):
                unit.store(total, sums_out, index * of.lanes * unit.itemsize)
            return context.get_dummy_value()

        return types.none(kind, *[types.int64] * 6), codegen

    return gradient_tile


wide_gradient_tile = _gradient_tile(wide=True)
narrow_gradient_tile = _gradient_tile(wide=False)


@intrinsic
def add_logits(
    typingctx: Any,
    kind: Any,
    n_slices: Any,
    slice_bytes: Any,
    partial: Any,
    constant: Any,
    logits: Any,
) -> Any:
    """One class's logits of a vector of rows: the slices' parts and a constant, summed up."""
    of: Kind = kind.kind

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, n_slices, slice_bytes, partial, constant, logits = args
        unit = _unit(builder, of)

        def add(s: ir.Value, sums: list[Vector]) -> list[Vector]:
            offset = builder.mul(builder.add(s, INT64(1)), slice_bytes)
            return [sums[0] + unit.load(partial, offset)]

        others = builder.sub(n_slices, INT64(1))
        (z,) = unit.loop(others, [unit.load(partial)], add)
        unit.store(z + unit.splat(constant), logits)
        return context.get_dummy_value()

    arguments = [types.int64, types.int64, types.int64, of.weight, types.int64]
    return types.none(kind, *arguments), codegen


@intrinsic
def sum_rows(typingctx: Any, kind: Any, values: Any, n_vectors: Any) -> Any:
    """Return the sum of ``n_vectors`` vectors' lanes."""
    of: Kind = kind.kind

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, values, n_vectors = args
        unit = _unit(builder, of)
        size = INT64(of.lanes * unit.itemsize)

        def add(i: ir.Value, sums: list[Vector]) -> list[Vector]:
            return [sums[0] + unit.load(values, builder.mul(i, size))]

        (total,) = unit.loop(n_vectors, [unit.constant(0.0)], add)
        return unit.sum(total)

    return of.weight(kind, types.int64, types.int64), codegen


@intrinsic
def shift_logit(typingctx: Any, kind: Any, n_vectors: Any, weights: Any, shift: Any) -> Any:
    """Return what the shift takes off a class's logit: ``weights . shift`` over some vectors.

    ``weights``: the class's, one vector in each block.
    """
    of: Kind = kind.kind

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, n_vectors, weights, shift = args
        unit = _unit(builder, of)
        size = of.lanes * unit.itemsize

        def add(v: ir.Value, sums: list[Vector]) -> list[Vector]:
            w = unit.load(weights, builder.mul(v, INT64(of.block * size)))
            return [unit.multiply_add(w, unit.load(shift, builder.mul(v, INT64(size))), sums[0])]

        (total,) = unit.loop(n_vectors, [unit.constant(0.0)], add)
        return unit.sum(total)

    return of.weight(kind, types.int64, types.int64, types.int64), codegen


@intrinsic
def descend(
    typingctx: Any,
    kind: Any,
    count: Any,
    sums: Any,
    at: Any,
    arrays: Any,
    features: Any,
    residual_sum: Any,
    factors: Any,
    nesterov: Any,
) -> Any:
    """Step with ``count`` finished gradients of a register tile, ``sums``: [vector][class].

    ``at``: byte of the first weights within each of ``arrays`` = (weights, velocity or 0, average
    or 0); ``features`` = (shift, gain) from the tile's first vector on; ``residual_sum``: of the
    block's classes; ``factors`` = (learning rate, momentum, rate of the average, decay).
    """
    of: Kind = kind.kind

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, count, sums, at, arrays, features, residual_sum, factors, nesterov = args
        unit = _unit(builder, of)
        size = of.lanes * unit.itemsize
        weights, velocity, average = (
            builder.add(base, at) for base in cgutils.unpack_tuple(builder, arrays)
        )
        has_velocity, has_average = (
            builder.icmp_signed("!=", builder.extract_value(arrays, i), INT64(0)) for i in (1, 2)
        )
        shift, gain = cgutils.unpack_tuple(builder, features)
        rate, momentum, average_rate, decay = (
            unit.splat(f) for f in cgutils.unpack_tuple(builder, factors)
        )
        # What is absent is read from the weights, and counts as zero.
        velocity = builder.select(has_velocity, velocity, weights)
        average = builder.select(has_average, average, weights)

        def one(i: ir.Value, _: list[Vector]) -> list[Vector]:
            here = builder.mul(i, INT64(size))
            lanes = builder.mul(builder.sdiv(i, INT64(of.block)), INT64(size))
            of_class = builder.mul(builder.srem(i, INT64(of.block)), INT64(unit.itemsize))
            w, v, mean = (unit.load(address, here) for address in (weights, velocity, average))
            v = unit.select(has_velocity, v, unit.constant(0.0))
            r = unit.splat(unit.load_scalar(residual_sum, of_class))
            total = unit.load(sums, here)
            gradient = unit.load(gain, lanes) * (total - r * unit.load(shift, lanes))
            gradient = unit.multiply_add(decay, w, gradient)
            w, v, mean = step.descend(
                unit, gradient, (w, v, mean), (rate, momentum, average_rate), nesterov
            )
            unit.store(w, weights, here)
            with builder.if_then(has_velocity):
                unit.store(v, velocity, here)
            with builder.if_then(has_average):
                unit.store(mean, average, here)
            return []

        unit.loop(count, [], one)
        return context.get_dummy_value()

    addresses = types.UniTuple(types.int64, 3)
    arguments = [
        types.int64,
        types.int64,
        types.int64,
        addresses,
        types.UniTuple(types.int64, 2),
        types.int64,
        types.UniTuple(of.weight, 4),
        types.boolean,
    ]
    return types.none(kind, *arguments), codegen


@intrinsic
def copy_bytes(typingctx: Any, kind: Any, to: Any, source: Any, count: Any) -> Any:
    """Copy ``count`` bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, to, source, count = args
        byte = ir.IntType(8).as_pointer()
        to, source = (builder.inttoptr(address, byte) for address in (to, source))
        cgutils.raw_memcpy(builder, to, source, count, 1)
        return context.get_dummy_value()

    return types.none(kind, *[types.int64] * 3), codegen
