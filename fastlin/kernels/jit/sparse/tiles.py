"""The innermost loops of the Numba backend over sparse rows, as intrinsics over addresses.

A row's part between two features is a *segment*: the addresses of its columns and of its values,
and their number. Weights lie feature by feature, ``[feature][class]``, so that what a row stores
touches one run of classes for each value. All arrays are given by the address of their first
element of interest, an integer.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastlin.kernels.jit.emit import ClassUnit, Flag, Integer, Number, emits
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.vectors import INT64, Vector

CHAINS = 4
"""Sums that must be under way for one product not to wait for the one before."""

CACHE_LINE = 64


class SparseUnit(ClassUnit):
    """The vectors of classes of a kind, ``block`` of them at a time, at any address."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind)
        self.alignment = self.itemsize
        self.block, self.block_bytes = kind.block, kind.block * self.size
        self.column_type = ir.IntType(64 if kind.columns == "int64" else 32)

    def column(self, columns: ir.Value, index: ir.Value) -> ir.Value:
        """Return a column of a segment, as an int64."""
        offset = self.times(index, self.column_type.width // 8)
        column = self.builder.load(self.pointer(columns, self.column_type, offset))
        return column if self.column_type == INT64 else self.builder.sext(column, INT64)

    def touch_ahead(
        self,
        weights: ir.Value,
        row_bytes: ir.Value,
        ahead: tuple[ir.Value, ir.Value],
        index: ir.Value,
    ) -> None:
        """Ask for the weights of a column that is next, if they fill cache lines.

        Fewer are read so quickly that the processor itself sees far enough ahead. ``ahead``:
        address of the columns and their number.
        """
        columns, n_columns = ahead
        if self.block_bytes >= CACHE_LINE:
            with self.builder.if_then(self.builder.icmp_signed("<", index, n_columns)):
                of_feature = self.item(weights, self.column(columns, index), row_bytes)
                for byte in range(0, self.block_bytes, CACHE_LINE):
                    self.prefetch(of_feature, byte, locality=3)


@emits
def column_at(unit: SparseUnit, columns: Integer, index: Integer) -> Integer:
    """Return one of the columns, as an int64."""
    return unit.column(columns, index)


@emits
def segment_logits(
    unit: SparseUnit,
    columns: Integer,
    values: Integer,
    count: Integer,
    weights: Integer,
    row_bytes: Integer,
    factor: Number,
    adds: Flag,
    out: Integer,
    ahead: Integer,
    n_ahead: Integer,
) -> None:
    """Logits of a block of classes from a segment, times ``factor``: ``out = factor * (V x)``.

    ``weights``: of the block's first class and feature 0; ``row_bytes`` from one feature to the
    next; ``adds``: to what ``out``, a number for each class of the block, holds already.
    On its way asks for the weights of ``n_ahead`` columns, at ``ahead``, that are next.
    """
    builder, block = unit.builder, unit.block
    n_chains = max(1, CHAINS // block)

    def one(index: ir.Value, sums: list[Vector]) -> list[Vector]:
        unit.touch_ahead(weights, row_bytes, (ahead, n_ahead), index)
        of_feature = unit.item(weights, unit.column(columns, index), row_bytes)
        x = unit.splat(unit.load_scalar(values, unit.times(index, unit.itemsize)))
        return [
            unit.multiply_add(unit.load(of_feature, v * unit.size), x, total)
            for v, total in enumerate(sums)
        ]

    def several(i: ir.Value, sums: list[Vector]) -> list[Vector]:
        first = unit.times(i, n_chains)
        results = []
        for chain in range(n_chains):
            of_chain = sums[chain * block : (chain + 1) * block]
            results += one(builder.add(first, INT64(chain)), of_chain)
        return results

    def rest(i: ir.Value, sums: list[Vector]) -> list[Vector]:
        return one(builder.add(done, i), sums)

    n_several = builder.sdiv(count, INT64(n_chains))
    sums = unit.loop(n_several, [unit.constant(0.0)] * (block * n_chains), several)
    done = unit.times(n_several, n_chains)
    sums[:block] = unit.loop(builder.sub(count, done), sums[:block], rest)
    for v in range(block):
        total = sums[v]
        for chain in range(1, n_chains):
            total = total + sums[chain * block + v]
        start = unit.select(adds, unit.load(out, v * unit.size), unit.constant(0.0))
        unit.store(unit.multiply_add(total, unit.splat(factor), start), out, v * unit.size)


@emits
def add_products(
    unit: SparseUnit,
    columns: Integer,
    values: Integer,
    count: Integer,
    residual: Integer,
    factor: Number,
    gain: Integer,
    gain_bytes: Integer,
    sums: Integer,
    row_bytes: Integer,
    ahead: Integer,
    n_ahead: Integer,
) -> None:
    """Add a row's ``factor * gain * residual x`` to the features of a segment.

    ``residual``: a block of classes; ``gain``: of feature 0, ``gain_bytes`` from one to the next;
    ``sums``: of the block's first class and feature 0, ``row_bytes`` from one feature to the next.
    On its way asks for the sums of ``n_ahead`` columns, at ``ahead``, that are next.
    """
    block = [unit.load(residual, v * unit.size) * unit.splat(factor) for v in range(unit.block)]

    def one(index: ir.Value) -> None:
        unit.touch_ahead(sums, row_bytes, (ahead, n_ahead), index)
        column = unit.column(columns, index)
        of_feature = unit.item(sums, column, row_bytes)
        x = unit.load_scalar(values, unit.times(index, unit.itemsize))
        x = unit.builder.fmul(x, unit.load_scalar(gain, unit.times(column, gain_bytes)))
        for v, r in enumerate(block):
            before = unit.load(of_feature, v * unit.size)
            total = unit.multiply_add(r, unit.splat(x), before)
            unit.store(total, of_feature, v * unit.size)

    unit.each(count, one)


@emits
def touch_segment(
    unit: SparseUnit, columns: Integer, count: Integer, weights: Integer, row_bytes: Integer
) -> None:
    """Ask for the weights of a segment's features, of one block of classes, ahead of time."""
    unit.each(count, lambda i: unit.touch_ahead(weights, row_bytes, (columns, count), i))


@emits
def touch_bytes(unit: SparseUnit, address: Integer, count: Integer) -> None:
    """Ask for ``count`` bytes that will be read soon."""
    builder = unit.builder
    lines = builder.sdiv(builder.add(count, INT64(CACHE_LINE - 1)), INT64(CACHE_LINE))
    unit.each(lines, lambda i: unit.prefetch(unit.item(address, i, CACHE_LINE), locality=3))


@emits
def row_logits(
    unit: SparseUnit,
    n_vectors: Integer,
    n_slices: Integer,
    slice_bytes: Integer,
    partial: Integer,
    intercept: Integer,
    out: Integer,
) -> Number:
    """One row's logits: the slices' parts and the intercept, summed up. Returns the largest."""

    def one(v: ir.Value, largest: list[Vector]) -> list[Vector]:
        at = unit.times(v, unit.size)

        def add(s: ir.Value, sums: list[Vector]) -> list[Vector]:
            offset = unit.item(at, s, slice_bytes)
            return [sums[0] + unit.load(partial, offset)]

        (z,) = unit.loop(n_slices, [unit.load(intercept, at)], add)
        unit.store(z, out, at)
        return [unit.largest(z, largest[0])]

    (largest,) = unit.loop(n_vectors, [unit.constant(float("-inf"))], one)
    return unit.first(unit.across(largest, unit.largest))


@emits
def mix(
    unit: SparseUnit,
    n_vectors: Integer,
    arrays: tuple[Integer, Integer, Integer],
    factors: tuple[Number, Number, Number, Number, Number, Number, Number],
) -> None:
    """Replace the numbers ``x, y, z`` in three arrays by three linear maps of them.

    ``arrays``: their addresses, equal ones for those that there are not: the first is written last.
    ``factors``: ``(xx, xy, yx, yy, zx, zy, zz)``: the first becomes ``xx * x + xy * y``, and so on.
    """
    xx, xy, yx, yy, zx, zy, zz = (unit.splat(factor) for factor in factors)

    def one(v: ir.Value) -> None:
        at = unit.times(v, unit.size)
        x, y, z = (unit.load(address, at) for address in arrays)
        mixed = (x * xx + y * xy, x * yx + y * yy, x * zx + y * zy + z * zz)
        for address, value in reversed(list(zip(arrays, mixed, strict=True))):
            unit.store(value, address, at)

    unit.each(n_vectors, one)
