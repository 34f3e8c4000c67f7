"""How rows of many classes change places, as intrinsics over addresses.

Rows come into a panel, weights into slices, and a row's logits out of the slices and back.
"""

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir

from fastlin.kernels.jit.emit import ClassUnit, FeatureUnit, Integer, Number, emits
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.many_classes.layout import BUNDLE
from fastlin.kernels.jit.vectors import INT64, Vector, VectorUnit


class RowUnit(FeatureUnit):
    """The vectors of rows that are gathered."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind)
        self.kind, self.row_bytes, self.element = kind, kind.row_bytes, kind.rows


# ------------------------------------------------------------------ a row of all classes


@emits
def take_row(
    unit: ClassUnit,
    n_vectors: Integer,
    places: Integer,
    logits: Integer,
    row: Integer,
    bias: Integer,
    out: Integer,
) -> Number:
    """Copy a row's sums to ``out`` (classes), the bias added, and return the largest.

    ``places``: of each vector of classes where that of row 0 begins in ``logits``, and the bytes
    from one row to the next.
    """
    builder = unit.builder

    def one_vector(v: ir.Value, largest: list[Vector]) -> list[Vector]:
        at, place = unit.times(v, unit.size), unit.times(v, 2)
        begin, of_row = (
            unit.load_address(places, builder.add(place, INT64(word))) for word in range(2)
        )
        z = unit.load(logits, builder.add(begin, builder.mul(row, of_row)))
        z += unit.load(bias, at)
        unit.store(z, out, at)
        return [unit.largest(z, largest[0])]

    (largest,) = unit.loop(n_vectors, [unit.constant(-math.inf)], one_vector)
    return unit.first(unit.across(largest, unit.largest))


@emits
def put_row(
    unit: ClassUnit,
    n_vectors: Integer,
    places: Integer,
    row: Integer,
    source: Integer,
    residual: Integer,
) -> None:
    """Copy a row's residuals (classes) to where they lie by slices; see :func:`take_row`."""
    builder = unit.builder

    def one_vector(v: ir.Value) -> None:
        place = unit.times(v, 2)
        begin, of_row = (
            unit.load_address(places, builder.add(place, INT64(word))) for word in range(2)
        )
        at = builder.add(begin, builder.mul(row, of_row))
        unit.store(unit.load(source, unit.times(v, unit.size)), residual, at)

    unit.each(n_vectors, one_vector)


# ------------------------------------------------------------------ layouts


def in_turn(unit: VectorUnit, vectors: list[Vector]) -> list[Vector]:
    """Lay the lanes of vectors, a power of two, in turn: [vector][lane] as [lane][vector]."""
    half, n = unit.lanes // 2, len(vectors)
    lower = [i // 2 + i % 2 * unit.lanes for i in range(unit.lanes)]
    upper = [lane + half for lane in lower]
    done = 1
    while done < n:
        pairs = [(vectors[i], vectors[i + n // 2]) for i in range(n // 2)]
        vectors = [unit.shuffle(a, b, lanes) for a, b in pairs for lanes in (lower, upper)]
        done *= 2
    return vectors


@emits
def interleave(unit: RowUnit, d: Integer, rows: Integer, out: Integer) -> None:
    """Widen the rows of a bundle and lay them in turn: ``out`` [feature][row].

    ``rows``: their addresses.
    """
    builder = unit.builder
    addresses = [unit.load_address(rows, row) for row in range(BUNDLE)]

    def copy(to: VectorUnit, first: ir.Value) -> None:
        offset = builder.mul(first, INT64(unit.row_bytes))
        block = [to.load_row(address, unit.element, offset) for address in addresses]
        address = unit.item(out, first, BUNDLE * unit.itemsize)
        if to.lanes > 1:
            block = in_turn(to, block)
        for i, vector in enumerate(block):
            pointer = to.pointer(address, to.type, i * to.size)
            builder.store(vector.value, pointer, align=to.itemsize)

    lanes = INT64(unit.lanes)
    with builder.if_else(builder.icmp_signed("<", d, lanes)) as (short, long):
        with short:
            one = VectorUnit(builder, 1, unit.kind.double)
            unit.each(d, lambda j: copy(one, j))
        with long:
            # The last features overlap those before.
            last = builder.sub(d, lanes)
            n_vectors = builder.sdiv(builder.add(d, INT64(unit.lanes - 1)), lanes)

            def one_vector(v: ir.Value) -> None:
                first = builder.mul(v, lanes)
                is_over = builder.icmp_signed(">", first, last)
                copy(unit, builder.select(is_over, last, first))

            unit.each(n_vectors, one_vector)


@emits
def transpose(
    unit: ClassUnit, source: Integer, source_stride: Integer, to: Integer, to_stride: Integer
) -> None:
    """Transpose a block of ``lanes`` by ``lanes`` weights; strides in bytes, at any address."""
    block = []
    for i in range(unit.lanes):
        pointer = unit.pointer(source, unit.type, unit.times(INT64(i), source_stride))
        block.append(Vector(unit, unit.builder.load(pointer, align=unit.itemsize)))
    for i, vector in enumerate(in_turn(unit, block)):
        pointer = unit.pointer(to, unit.type, unit.times(INT64(i), to_stride))
        unit.builder.store(vector.value, pointer, align=unit.itemsize)
