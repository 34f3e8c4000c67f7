"""Products on a matrix unit (Intel AMX), as intrinsics.

The unit multiplies bytes (see :mod:`.operands`) and sums them up in 32-bit integers, exactly. What
it leaves, 1024 bytes for each tile register, is then joined: each product's digits into a float.

=====================  ===================================================================
products of phase A    [block][tile register][row][class][digit]
products of phase C    [block][tile register][class][digit][feature]
=====================  ===================================================================
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.blocking import PANEL, UNIT_BLOCK
from fastlin.kernels.jit.emit import Integer, emits
from fastlin.kernels.jit.matrix_unit.operands import BYTE, TILE_BYTES, VECTOR_BYTES, MatrixUnit
from fastlin.kernels.jit.vectors import INT64, Vector

ABREAST = 3
"""Blocks of classes that are multiplied together: six sums, and two registers for operands."""

OF_DIGITS, OF_ROWS = 2 * ABREAST, 2 * ABREAST + 1
"""The tile registers of the operands; those before hold sums."""

Factor = tuple[Integer, Integer, Integer, Integer]
"""Where a factor lies, and bytes from one of a register's 16 rows to the next, from one register to
the next of those that are summed over, and to the next that has a result of its own."""


@emits
def configure_tiles(unit: MatrixUnit) -> None:
    """Give all eight tile registers 16 rows of 64 bytes."""
    palette, rows, bytes_of_row = 1, [16] * 8, [VECTOR_BYTES, 0] * 8
    shapes = [palette, *[0] * 15, *bytes_of_row, *[0] * 16, *rows, *[0] * 8]
    constant = ir.Constant(ir.ArrayType(BYTE, 64), shapes)
    where = cgutils.global_constant(unit.builder, "tile_shapes", constant)
    unit.tile("ldtilecfg", unit.builder.bitcast(where, BYTE.as_pointer()))


@emits
def release_tiles(unit: MatrixUnit) -> None:
    """Leave the tile registers, so that the system need not save them."""
    unit.tile("tilerelease")


def _products(of_rows_by_digits: bool) -> Any:
    @emits
    def products(
        unit: MatrixUnit,
        digits: Factor,
        rows: Factor,
        n_blocks: Integer,
        n_inner: Integer,
        out: Integer,
    ) -> None:
        """Multiply up to three blocks' digits with two tile registers of rows.

        ``n_inner`` registers of each factor are summed over.
        """
        builder = unit.builder
        digits_at, digits_row, digits_next, digits_other = digits
        rows_at, rows_row, rows_next, rows_other = rows

        def at_least(n: int) -> ir.Value:
            # LLVM would compile a loop for each number of blocks, and unroll them all.
            blocks = unit.opaque(n_blocks, "r", anew=True)
            return builder.icmp_signed(">=", blocks, INT64(n))

        def multiply(total: int) -> None:
            if of_rows_by_digits:
                unit.tile("tdpbusd", total, OF_ROWS, OF_DIGITS)
            else:
                unit.tile("tdpbsud", total, OF_DIGITS, OF_ROWS)

        def load(register: int, address: ir.Value) -> None:
            row_bytes = digits_row if register == OF_DIGITS else rows_row
            unit.tile("tileloadd64", register, unit.pointer(address, BYTE), row_bytes)

        def one(i: ir.Value) -> None:
            first = unit.item(digits_at, i, digits_next)
            second = builder.add(first, digits_other)
            third = builder.add(second, digits_other)
            some_rows = unit.item(rows_at, i, rows_next)
            others = builder.add(some_rows, rows_other)
            # Sums 0 and 1 are of the first block, 2 and 3 of the second, 4 and 5 of the third.
            load(OF_DIGITS, first)
            load(OF_ROWS, some_rows)
            multiply(0)
            load(OF_ROWS, others)
            multiply(1)
            with builder.if_then(at_least(2)):
                load(OF_DIGITS, second)
                multiply(3)
                load(OF_ROWS, some_rows)
                multiply(2)
            with builder.if_then(at_least(3)):
                load(OF_DIGITS, third)
                multiply(4)
                load(OF_ROWS, others)
                multiply(5)

        def store(register: int) -> None:
            address = unit.pointer(out, BYTE, register * TILE_BYTES)
            unit.tile("tilestored64", register, address, INT64(VECTOR_BYTES))

        for register in range(2 * ABREAST):
            unit.tile("tilezero", register)
        unit.each(n_inner, one)
        store(0)
        store(1)
        for n in range(2, ABREAST + 1):
            with builder.if_then(at_least(n)):
                store(2 * n - 2)
                store(2 * n - 1)

    return products


logit_products = _products(of_rows_by_digits=True)
gradient_products = _products(of_rows_by_digits=False)


def _load_products(unit: MatrixUnit, products: ir.Value, row: int) -> Vector:
    words = unit.load_words(products, row * VECTOR_BYTES)
    return Vector(unit, unit.builder.sitofp(words, unit.type))


def _quantum(unit: MatrixUnit, quanta: ir.Value, c: int) -> Vector:
    return unit.splat(unit.load_scalar(quanta, c * 4))


@emits
def join_logits(unit: MatrixUnit, products: Integer, quanta: Integer, out: Integer) -> None:
    """Join logits of 16 rows and a block of classes from products [row][class][digit].

    ``quanta``: of the block's classes; ``out``: [class][row] at the first row.
    """
    place = Vector(unit, ir.Constant(unit.type, [1.0, 256.0, 65536.0, 16777216.0] * 4))
    quads = []
    for quad in range(4):
        a = [_load_products(unit, products, quad * 4 + i) * place for i in range(4)]
        even, odd = unit.fold(a[0], a[2], 2), unit.fold(a[1], a[3], 2)
        quads.append(unit.words(unit.fold(even, odd, 1).value))
    for c, words in enumerate(unit.transpose_parts(quads)):
        unit.store(unit.floats(words) * _quantum(unit, quanta, c), out, c * PANEL * 4)


@emits
def join_gradient(unit: MatrixUnit, products: Integer, quanta: Integer, sums_out: Integer) -> None:
    """Join a block's gradient of two vectors from products [vector][class][digit][feature].

    ``quanta``: of the block's classes; ``sums_out``: [vector][class][lane].
    """
    for c in range(UNIT_BLOCK):
        quantum = _quantum(unit, quanta, c)
        for v in range(2):
            index = v * UNIT_BLOCK + c
            total = _load_products(unit, products, index * 4 + 3)
            for digit in (2, 1, 0):
                lower = _load_products(unit, products, index * 4 + digit)
                total = unit.multiply_add(total, unit.constant(256.0), lower)
            unit.store(total * quantum, sums_out, index * VECTOR_BYTES)
