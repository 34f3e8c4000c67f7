"""The innermost loops of the Numba backend over sparse rows, as intrinsics over addresses.

A row's part between two features is a *segment*: the addresses of its columns and of its values,
and their number. Weights lie feature by feature, ``[feature][class]``, so that what is not zero in
a row touches one run of classes. All arrays are given by the address of their first element of
interest, an integer.

Every intrinsic's first argument is a :class:`.Kind`, whose Numba type alone matters.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import INT64, Vector, VectorUnit

CHAINS = 4
"""Sums that must be under way for one product not to wait for the one before."""

CACHE_LINE = 64


class _Kind(NamedTuple):
    double: bool
    column_bits: int
    block: int
    lanes: int
    weight: Any


def _read(kind_type: Any) -> _Kind:
    kind = kind_type.kind
    return _Kind(
        double=kind.double,
        column_bits=64 if kind.columns == "int64" else 32,
        block=kind.block,
        lanes=kind.class_lanes,
        weight=kind.weight,
    )


def _unit(builder: Any, of: _Kind) -> VectorUnit:
    return VectorUnit(builder, of.lanes, of.double)


def _load(unit: VectorUnit, address: ir.Value, offset: ir.Value | int = 0) -> Vector:
    """Load a vector from any address."""
    pointer = unit.pointer(address, unit.type, offset)
    return Vector(unit, unit.builder.load(pointer, align=unit.itemsize))


def _store(unit: VectorUnit, vector: Vector, address: ir.Value, offset: ir.Value | int = 0) -> None:
    """Store a vector to any address."""
    pointer = unit.pointer(address, unit.type, offset)
    unit.builder.store(vector.value, pointer, align=unit.itemsize)


def _column(unit: VectorUnit, of: _Kind, columns: ir.Value, index: ir.Value) -> ir.Value:
    """Return a column of a segment, as an int64."""
    builder = unit.builder
    offset = builder.mul(index, INT64(of.column_bits // 8))
    column = builder.load(unit.pointer(columns, ir.IntType(of.column_bits), offset))
    return column if of.column_bits == 64 else builder.sext(column, INT64)


def _touch(
    unit: VectorUnit, of: _Kind, weights: ir.Value, row_bytes: ir.Value, column: ir.Value
) -> None:
    """Ask for the weights of a feature, of one block of classes."""
    at = unit.builder.add(weights, unit.builder.mul(column, row_bytes))
    for byte in range(0, of.block * of.lanes * unit.itemsize, CACHE_LINE):
        unit.prefetch(at, byte, locality=3)


def _touch_ahead(
    unit: VectorUnit,
    of: _Kind,
    weights: ir.Value,
    row_bytes: ir.Value,
    ahead: tuple[ir.Value, ir.Value],
    index: ir.Value,
) -> None:
    """Ask for the weights of a column that is next, where one fills cache lines.

    Less is read so quickly that the processor itself sees far enough ahead. ``ahead``: address of
    the columns and their number.
    """
    builder = unit.builder
    if of.block * of.lanes * unit.itemsize >= CACHE_LINE:
        with builder.if_then(builder.icmp_signed("<", index, ahead[1])):
            _touch(unit, of, weights, row_bytes, _column(unit, of, ahead[0], index))


@intrinsic
def column_at(typingctx: Any, kind: Any, columns: Any, index: Any) -> Any:
    """Return one of the columns, as an int64."""
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _column(_unit(builder, of), of, args[1], args[2])

    return types.int64(kind, types.int64, types.int64), codegen


@intrinsic
def segment_logits(
    typingctx: Any,
    kind: Any,
    columns: Any,
    values: Any,
    count: Any,
    weights: Any,
    row_bytes: Any,
    factor: Any,
    adds: Any,
    out: Any,
    ahead: Any,
    n_ahead: Any,
) -> Any:
    """Logits of a block of classes from a segment, times ``factor``: ``out = factor * (V x)``.

    ``weights``: of the block's first class and feature 0; ``row_bytes`` from one feature to the
    next; ``adds``: to what ``out``, a number for each class of the block, holds already.
    On its way asks for the weights of ``n_ahead`` columns, at ``ahead``, that are next.
    """
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, columns, values, count, weights, row_bytes, factor, adds, out, ahead, n_ahead = args
        unit = _unit(builder, of)
        size = of.lanes * unit.itemsize
        n_chains = max(1, CHAINS // of.block)

        def one(index: ir.Value, sums: list[Vector]) -> list[Vector]:
            _touch_ahead(unit, of, weights, row_bytes, (ahead, n_ahead), index)
            feature = builder.mul(_column(unit, of, columns, index), row_bytes)
            at = builder.add(weights, feature)
            offset = builder.mul(index, INT64(unit.itemsize))
            x = unit.splat(unit.load_scalar(values, offset))
            return [
                unit.multiply_add(_load(unit, at, v * size), x, total)
                for v, total in enumerate(sums)
            ]

        def several(i: ir.Value, sums: list[Vector]) -> list[Vector]:
            first = builder.mul(i, INT64(n_chains))
            results = []
            for chain in range(n_chains):
                of_chain = sums[chain * of.block : (chain + 1) * of.block]
                results += one(builder.add(first, INT64(chain)), of_chain)
            return results

        n_several = builder.sdiv(count, INT64(n_chains))
        zeros = [unit.constant(0.0)] * (of.block * n_chains)
        sums = unit.loop(n_several, zeros, several)
        done = builder.mul(n_several, INT64(n_chains))
        sums[: of.block] = unit.loop(
            builder.sub(count, done),
            sums[: of.block],
            lambda i, rest: one(builder.add(done, i), rest),
        )
        for v in range(of.block):
            total = sums[v]
            for chain in range(1, n_chains):
                total = total + sums[chain * of.block + v]
            before = _load(unit, out, v * size)
            zero = unit.constant(0.0)
            start = Vector(unit, builder.select(adds, before.value, zero.value))
            _store(unit, unit.multiply_add(total, unit.splat(factor), start), out, v * size)
        return context.get_dummy_value()

    i64 = types.int64
    arguments = (kind, i64, i64, i64, i64, i64, of.weight, types.boolean, i64, i64, i64)
    return types.none(*arguments), codegen


@intrinsic
def add_products(
    typingctx: Any,
    kind: Any,
    columns: Any,
    values: Any,
    count: Any,
    residual: Any,
    factor: Any,
    gain: Any,
    gain_bytes: Any,
    sums: Any,
    row_bytes: Any,
    ahead: Any,
    n_ahead: Any,
) -> Any:
    """Add a row's ``factor * gain * residual x`` to the features of a segment.

    ``residual``: a block of classes; ``gain``: of feature 0, ``gain_bytes`` from one to the next;
    ``sums``: of the block's first class and feature 0, ``row_bytes`` from one feature to the next.
    On its way asks for the sums of ``n_ahead`` columns, at ``ahead``, that are next.
    """
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, columns, values, count, residual, factor, gain, gain_bytes, sums, *rest = args
        row_bytes, ahead, n_ahead = rest
        unit = _unit(builder, of)
        size = of.lanes * unit.itemsize
        by_class = [_load(unit, residual, v * size) * unit.splat(factor) for v in range(of.block)]

        def one(index: ir.Value, _: list[Vector]) -> list[Vector]:
            _touch_ahead(unit, of, sums, row_bytes, (ahead, n_ahead), index)
            column = _column(unit, of, columns, index)
            at = builder.add(sums, builder.mul(column, row_bytes))
            x = unit.load_scalar(values, builder.mul(index, INT64(unit.itemsize)))
            x = builder.fmul(x, unit.load_scalar(gain, builder.mul(column, gain_bytes)))
            for v, r in enumerate(by_class):
                total = unit.multiply_add(r, unit.splat(x), _load(unit, at, v * size))
                _store(unit, total, at, v * size)
            return []

        unit.loop(count, [], one)
        return context.get_dummy_value()

    i64 = types.int64
    arguments = (kind, i64, i64, i64, i64, of.weight, i64, i64, i64, i64, i64, i64)
    return types.none(*arguments), codegen


@intrinsic
def touch_segment(
    typingctx: Any, kind: Any, columns: Any, count: Any, weights: Any, row_bytes: Any
) -> Any:
    """Ask for the weights of a segment's features, of one block of classes, ahead of time."""
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, columns, count, weights, row_bytes = args
        unit = _unit(builder, of)

        def one(index: ir.Value, _: list[Vector]) -> list[Vector]:
            _touch_ahead(unit, of, weights, row_bytes, (columns, count), index)
            return []

        unit.loop(count, [], one)
        return context.get_dummy_value()

    return types.none(kind, *[types.int64] * 4), codegen


@intrinsic
def touch_bytes(typingctx: Any, kind: Any, address: Any, count: Any) -> Any:
    """Ask for ``count`` bytes that will be read soon."""
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, address, count = args
        unit = _unit(builder, of)

        def one(line: ir.Value, _: list[Vector]) -> list[Vector]:
            offset = builder.mul(line, INT64(CACHE_LINE))
            unit.prefetch(builder.add(address, offset), locality=3)
            return []

        lines = builder.sdiv(builder.add(count, INT64(CACHE_LINE - 1)), INT64(CACHE_LINE))
        unit.loop(lines, [], one)
        return context.get_dummy_value()

    return types.none(kind, types.int64, types.int64), codegen


@intrinsic
def row_logits(
    typingctx: Any,
    kind: Any,
    n_vectors: Any,
    n_slices: Any,
    slice_bytes: Any,
    partial: Any,
    intercept: Any,
    out: Any,
) -> Any:
    """One row's logits: the slices' parts and the intercept, summed up. Returns the largest."""
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, n_vectors, n_slices, slice_bytes, partial, intercept, out = args
        unit = _unit(builder, of)
        size = INT64(of.lanes * unit.itemsize)

        def one(v: ir.Value, largest: list[Vector]) -> list[Vector]:
            at = builder.mul(v, size)

            def add(s: ir.Value, sums: list[Vector]) -> list[Vector]:
                offset = builder.add(at, builder.mul(s, slice_bytes))
                return [sums[0] + _load(unit, partial, offset)]

            (z,) = unit.loop(n_slices, [_load(unit, intercept, at)], add)
            _store(unit, z, out, at)
            return [unit.largest(z, largest[0])]

        (largest,) = unit.loop(n_vectors, [unit.constant(float("-inf"))], one)
        return unit.first(unit.across(largest, unit.largest))

    return of.weight(kind, *[types.int64] * 6), codegen


@intrinsic
def mix(typingctx: Any, kind: Any, n_vectors: Any, arrays: Any, factors: Any) -> Any:
    """Replace the numbers ``x, y, z`` in three arrays by three linear maps of them.

    ``arrays``: their addresses, equal ones for those that there are not: the first is written last.
    ``factors``: ``(xx, xy, yx, yy, zx, zy, zz)``: the first becomes ``xx * x + xy * y``, and so on.
    """
    of = _read(kind)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, n_vectors, arrays, factors = args
        unit = _unit(builder, of)
        addresses = cgutils.unpack_tuple(builder, arrays)
        xx, xy, yx, yy, zx, zy, zz = (
            unit.splat(factor) for factor in cgutils.unpack_tuple(builder, factors)
        )

        def one(v: ir.Value, _: list[Vector]) -> list[Vector]:
            at = builder.mul(v, INT64(of.lanes * unit.itemsize))
            x, y, z = (_load(unit, address, at) for address in addresses)
            mixed = (x * xx + y * xy, x * yx + y * yy, x * zx + y * zy + z * zz)
            for address, value in reversed(list(zip(addresses, mixed, strict=True))):
                _store(unit, value, address, at)
            return []

        unit.loop(n_vectors, [], one)
        return context.get_dummy_value()

    addresses = types.UniTuple(types.int64, 3)
    return types.none(kind, types.int64, addresses, types.UniTuple(of.weight, 7)), codegen
