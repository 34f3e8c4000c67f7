"""The innermost loops on a matrix unit (Intel AMX), as intrinsics over addresses.

The same as the C backend's ``csrc/integer_tiles.h``, which tells the numbers' form: rows are bytes
already, weights and residuals become fixed-point numbers and are taken apart into four digits of
base 256, the unit multiplies bytes and sums them up in 32-bit integers, exactly.

A tile register holds 16 rows of 64 bytes. A block of four classes has 16 digits. Operands lie as
the unit reads them, 1024 bytes for each tile register:

=====================  ===================================================================
digits of weights      [block][quad of features][class][digit][feature in quad]
rows of phase A        [row][feature]
digits of residuals    [block][half of the tile][class][digit][row]
rows of phase C        [vector][quad of rows][feature][row in quad]
products               [block][tile register][row][class][digit]; C: [class][digit][feature]
=====================  ===================================================================
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.blocking import PANEL, UNIT_BLOCK, VECTORS_OF_A_UNIT
from fastlin.kernels.jit.options import intrinsic
from fastlin.kernels.jit.vectors import INT64, Vector, VectorUnit

BLOCK, GROUP = UNIT_BLOCK, VECTORS_OF_A_UNIT
LANES = 16

ROWS_STAGED = 32
TILE_BYTES = 1024
ABREAST = 3
"""Blocks of classes that are multiplied together: six sums, and two registers for operands."""

BITS = 30
"""Of a fixed-point number."""

BYTE = ir.IntType(8)
INT32 = ir.IntType(32)
FLOAT = ir.FloatType()
BYTES = ir.VectorType(BYTE, 64)
WORDS = ir.VectorType(INT32, LANES)


# ------------------------------------------------------------------ emitting


def _unit(builder: Any) -> VectorUnit:
    return VectorUnit(builder, LANES, double=False)


def _words(value: int) -> ir.Constant:
    return ir.Constant(WORDS, [value] * LANES)


def _cast(builder: Any, value: ir.Value, to: ir.Type) -> ir.Value:
    return builder.bitcast(value, to)


def _shuffle(builder: Any, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(INT32, len(lanes)), lanes)
    return builder.shuffle_vector(a, b, mask)


def _opaque(builder: Any, value: ir.Value, register: str, anew: bool = False) -> ir.Value:
    """Hide from the optimizer what a value is; ``anew``: each time that this is reached."""
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", f"={register},0", [value], side_effect=anew)


def _hidden(builder: Any, sources: list[int]) -> ir.Value:
    """Return a vector of constant bytes, as a value that LLVM does not know.

    It would merge a permutation it knows with those before, into many of 128 bits.
    """
    return _opaque(builder, ir.Constant(BYTES, sources), "v")


def _permute_bytes(builder: Any, vector: ir.Value, order: ir.Value) -> ir.Value:
    """Take byte ``order[i]`` to byte ``i``; the result is in words."""
    name = "llvm.x86.avx512.permvar.qi.512"
    moved = _call(builder, name, BYTES, _cast(builder, vector, BYTES), order)
    return _cast(builder, moved, WORDS)


def _transpose_parts(builder: Any, v: list[ir.Value]) -> list[ir.Value]:
    """Part ``j``, of 128 bits, of vector ``i`` becomes part ``i`` of vector ``j``."""

    def pick(a: ir.Value, b: ir.Value, first: int) -> ir.Value:
        parts = [(0, first), (0, first + 2), (16, first), (16, first + 2)]
        lanes = [of + 4 * part + lane for of, part in parts for lane in range(4)]
        return _shuffle(builder, a, b, lanes)

    even_low, odd_low = pick(v[0], v[1], 0), pick(v[0], v[1], 1)
    even_high, odd_high = pick(v[2], v[3], 0), pick(v[2], v[3], 1)
    return [
        pick(even_low, even_high, 0),
        pick(odd_low, odd_high, 0),
        pick(even_low, even_high, 1),
        pick(odd_low, odd_high, 1),
    ]


SPLIT_QUADS = [4 * i + j for j in range(4) for i in range(16)]
JOIN_QUADS = [16 * j + i for i in range(16) for j in range(4)]
HALVES = [128, 128, 128, 0] * LANES
TRANSPOSE_QUADS = [16 * p + 4 * j + i for p in range(4) for i in range(4) for j in range(4)]


def _call(builder: Any, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, arguments)


def _larger(builder: Any, a: ir.Value, b: ir.Value) -> ir.Value:
    return builder.select(builder.icmp_signed(">", a, b), a, b)


def _magnitude(builder: Any, vector: Vector) -> ir.Value:
    """Return the bits of the magnitudes.

    As integers they are ordered as the magnitudes are, with infinity and then nan last.
    """
    return builder.and_(_cast(builder, vector.value, WORDS), _words(0x7FFFFFFF))


def _fixed_point(builder: Any, magnitudes: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Return the factor that makes the largest of some magnitudes at most 2^30 units; the unit.

    Both are powers of two, each the other's inverse. Where a number is not finite the unit is nan,
    which then shows in all that is made of it.
    """
    largest = _call(builder, "llvm.vector.reduce.smax.v16i32", INT32, magnitudes)
    exponent = builder.sub(builder.lshr(largest, INT32(23)), INT32(126))
    exponent = _larger(builder, exponent, INT32(BITS - 120))
    factor = builder.shl(builder.sub(INT32(BITS + 127), exponent), INT32(23))
    inverse = builder.shl(builder.add(exponent, INT32(127 - BITS)), INT32(23))
    finite = builder.icmp_signed("<", largest, INT32(0x7F800000))
    return (
        _cast(builder, builder.select(finite, factor, INT32(0)), FLOAT),
        _cast(builder, builder.select(finite, inverse, INT32(0x7FC00000)), FLOAT),
    )


def _digits(builder: Any, vector: Vector, factor: Vector, halves: ir.Value) -> ir.Value:
    """Return bytes [lane][digit] of fixed-point numbers, the lowest digit first.

    ``halves``: half of the base for each digit but the highest.
    """
    scaled = (vector * factor).value
    every_lane, rounding = ir.IntType(16)(-1), INT32(4)
    name = "llvm.x86.avx512.mask.cvtps2dq.512"
    fixed = _call(builder, name, WORDS, scaled, _words(0), every_lane, rounding)
    return builder.xor(builder.add(fixed, halves), halves)


def _load_words(unit: VectorUnit, address: ir.Value, offset: ir.Value | int = 0) -> ir.Value:
    return unit.builder.load(unit.pointer(address, WORDS, offset), align=64)


def _store_words(
    unit: VectorUnit, value: ir.Value, address: ir.Value, offset: ir.Value | int = 0
) -> None:
    unit.builder.store(value, unit.pointer(address, WORDS, offset), align=64)


def _load_products(unit: VectorUnit, address: ir.Value, row: int) -> Vector:
    words = _load_words(unit, address, 64 * row)
    return Vector(unit, unit.builder.sitofp(words, unit.type))


def _columns_left(builder: Any, n_features: ir.Value, column: ir.Value) -> ir.Value:
    """Return the mask of 64 features from a column on that lie in a row; at least one does."""
    left = builder.sub(n_features, column)
    some = builder.sub(builder.shl(INT64(1), left), INT64(1))
    whole = builder.icmp_signed(">=", left, INT64(64))
    mask = builder.select(whole, INT64(-1), some)
    return _cast(builder, mask, ir.VectorType(ir.IntType(1), 64))


def _load_group(unit: VectorUnit, row: ir.Value, column: ir.Value, mask: ir.Value) -> ir.Value:
    """Load 64 features of a row, 0 where the mask is."""
    zeros = ir.Constant(BYTES, [0] * 64)
    pointer = unit.pointer(row, BYTES, column)
    return _call(unit.builder, "llvm.masked.load.v64i8.p0", BYTES, pointer, INT32(1), mask, zeros)


def _tile(builder: Any, instruction: str, *operands: Any) -> None:
    """Emit an instruction of the matrix unit; its registers are the operands that are ``int``."""
    values = [BYTE(one) if isinstance(one, int) else one for one in operands]
    _call(builder, f"llvm.x86.{instruction}", ir.VoidType(), *values)


# ------------------------------------------------------------------ intrinsics


@intrinsic
def configure_tiles(typingctx: Any) -> Any:
    """Give all eight tile registers 16 rows of 64 bytes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        palette, rows, bytes_of_row = 1, [16] * 8, [64, 0] * 8
        shapes = [palette, *[0] * 15, *bytes_of_row, *[0] * 16, *rows, *[0] * 8]
        constant = ir.Constant(ir.ArrayType(BYTE, 64), shapes)
        where = cgutils.global_constant(builder, "tile_shapes", constant)
        _tile(builder, "ldtilecfg", builder.bitcast(where, BYTE.as_pointer()))
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def release_tiles(typingctx: Any) -> Any:
    """Leave the tile registers, so that the system need not save them."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _tile(builder, "tilerelease")
        return context.get_dummy_value()

    return types.none(), codegen


@intrinsic
def write_weight_digits(
    typingctx: Any, weights: Any, n_vectors: Any, digits_out: Any, units_out: Any
) -> Any:
    """Write the digits of a block's weights in a run of feature vectors, and the classes' units."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        weights, n_vectors, digits_out, units_out = args
        unit = _unit(builder)
        of_vector = INT64(BLOCK * 64)
        order = _hidden(builder, TRANSPOSE_QUADS)
        halves = _cast(builder, _hidden(builder, HALVES), WORDS)

        def largest(v: ir.Value, so_far: list[Vector]) -> list[Vector]:
            at = builder.mul(v, of_vector)
            results = []
            for c, top in enumerate(so_far):
                w = unit.load(builder.add(weights, at), c * 64)
                words = _larger(builder, _magnitude(builder, w), _cast(builder, top.value, WORDS))
                results.append(Vector(unit, _cast(builder, words, unit.type)))
            return results

        tops = unit.loop(n_vectors, [unit.constant(0.0)] * BLOCK, largest)
        factors = []
        for c, top in enumerate(tops):
            factor, size = _fixed_point(builder, _cast(builder, top.value, WORDS))
            builder.store(size, unit.pointer(units_out, FLOAT, c * 4))
            factors.append(unit.splat(factor))

        def write(v: ir.Value, _: list[Vector]) -> list[Vector]:
            at = builder.mul(v, of_vector)
            digits = [
                _digits(builder, unit.load(builder.add(weights, at), c * 64), factors[c], halves)
                for c in range(BLOCK)
            ]
            quads = [_permute_bytes(builder, one, order) for one in digits]
            for part, words in enumerate(_transpose_parts(builder, quads)):
                _store_words(unit, words, builder.add(digits_out, at), part * 64)
            return []

        unit.loop(n_vectors, [], write)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), codegen


@intrinsic
def write_residual_digits(
    typingctx: Any, residual: Any, n_rows: Any, n_classes: Any, digits_out: Any, units_out: Any
) -> Any:
    """Write the digits of a tile's residuals, 0 where there is no row, and the classes' units."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        residual, n_rows, n_classes, digits_out, units_out = args
        unit = _unit(builder)
        n_vectors = PANEL // LANES
        order = _hidden(builder, SPLIT_QUADS)
        halves = _cast(builder, _hidden(builder, HALVES), WORDS)
        held = [builder.icmp_signed(">", n_rows, INT64(i * LANES)) for i in range(n_vectors)]

        def of_class(c: ir.Value, _: list[Vector]) -> list[Vector]:
            at = builder.add(residual, builder.mul(c, INT64(PANEL * 4)))
            vectors = [
                unit.select(held[i], unit.load(at, i * 64), unit.constant(0.0))
                for i in range(n_vectors)
            ]
            largest = _magnitude(builder, vectors[0])
            for vector in vectors[1:]:
                largest = _larger(builder, largest, _magnitude(builder, vector))
            factor, size = _fixed_point(builder, largest)
            at = builder.mul(c, INT64(4))
            builder.store(size, unit.pointer(units_out, FLOAT, at))
            factors = unit.splat(factor)
            b, in_block = builder.udiv(c, INT64(BLOCK)), builder.urem(c, INT64(BLOCK))
            at = builder.add(
                builder.mul(b, INT64(2 * TILE_BYTES)), builder.mul(in_block, INT64(BLOCK * 64))
            )
            at = builder.add(digits_out, at)
            for half in range(2):
                quads = [
                    _permute_bytes(builder, _digits(builder, vector, factors, halves), order)
                    for vector in vectors[half * 4 : half * 4 + 4]
                ]
                for digit, words in enumerate(_transpose_parts(builder, quads)):
                    _store_words(unit, words, at, half * TILE_BYTES + digit * 64)
            return []

        unit.loop(n_classes, [], of_class)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 5), codegen


@intrinsic
def stage(
    typingctx: Any, rows: Any, n_features: Any, first_column: Any, stop_column: Any, out: Any
) -> Any:
    """Copy a run of features of ``ROWS_STAGED`` rows, 0 where a row has ended: [row][feature].

    ``rows``: addresses of the rows.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, n_features, first_column, stop_column, out = args
        unit = _unit(builder)
        width = builder.sub(stop_column, first_column)
        n_groups = builder.sdiv(width, INT64(64))

        def one_row(i: ir.Value, _: list[Vector]) -> list[Vector]:
            row = builder.load(unit.pointer(rows, INT64, builder.mul(i, INT64(8))))
            to = builder.add(out, builder.mul(i, width))

            def one_group(g: ir.Value, _: list[Vector]) -> list[Vector]:
                offset = builder.mul(g, INT64(64))
                column = builder.add(first_column, offset)
                mask = _columns_left(builder, n_features, column)
                group = _load_group(unit, row, column, mask)
                _store_words(unit, _cast(builder, group, WORDS), to, offset)
                return []

            return unit.loop(n_groups, [], one_group)

        unit.loop(INT64(ROWS_STAGED), [], one_row)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 5), codegen


@intrinsic
def interleave(
    typingctx: Any, rows: Any, n_rows: Any, n_features: Any, column: Any, out: Any
) -> Any:
    """Copy 64 features of a tile's rows: [vector][quad of rows][feature][row in quad].

    ``rows``: addresses of the rows; those after the last, up to a quad, are read too.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, n_rows, n_features, column, out = args
        unit = _unit(builder)
        mask = _columns_left(builder, n_features, column)
        order = _hidden(builder, JOIN_QUADS)
        n_quads = builder.sdiv(builder.add(n_rows, INT64(3)), INT64(4))

        def one_quad(i: ir.Value, _: list[Vector]) -> list[Vector]:
            at = builder.mul(i, INT64(4 * 8))
            groups = []
            for s in range(4):
                row = builder.load(unit.pointer(builder.add(rows, at), INT64, 8 * s))
                groups.append(_cast(builder, _load_group(unit, row, column, mask), WORDS))
            to = builder.add(out, builder.mul(i, INT64(64)))
            for v, words in enumerate(_transpose_parts(builder, groups)):
                joined = _permute_bytes(builder, words, order)
                _store_words(unit, joined, to, v * LANES * PANEL)
            return []

        unit.loop(n_quads, [], one_quad)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 5), codegen


@intrinsic
def fetch(typingctx: Any, rows: Any, first_row: Any, stop_row: Any, column: Any) -> Any:
    """Fetch 64 features of some rows into this core's cache."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows, first_row, stop_row, column = args
        unit = _unit(builder)
        first = builder.add(rows, builder.mul(first_row, INT64(8)))

        def one_row(i: ir.Value, _: list[Vector]) -> list[Vector]:
            row = builder.load(unit.pointer(first, INT64, builder.mul(i, INT64(8))))
            unit.prefetch(builder.add(row, column))
            return []

        unit.loop(builder.sub(stop_row, first_row), [], one_row)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), codegen


def _products(of_rows_by_digits: bool) -> Any:
    @intrinsic
    def products(
        typingctx: Any, digits: Any, rows: Any, n_blocks: Any, n_inner: Any, out: Any
    ) -> Any:
        """Multiply up to three blocks' digits with two tile registers of rows.

        ``digits`` and ``rows``: where a factor lies, and bytes from one of a register's 16 rows to
        the next, from one register to the next of the ``n_inner`` that are summed over, and to
        the next that has a result of its own.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            digits, rows, n_blocks, n_inner, out = args
            unit = _unit(builder)
            digits_at, digits_row, digits_next, digits_other = cgutils.unpack_tuple(builder, digits)
            rows_at, rows_row, rows_next, rows_other = cgutils.unpack_tuple(builder, rows)

            def at_least(n: int) -> ir.Value:
                # LLVM would compile a loop for each number of blocks, and unroll them all.
                blocks = _opaque(builder, n_blocks, "r", anew=True)
                return builder.icmp_signed(">=", blocks, INT64(n))

            def multiply(total: int) -> None:
                if of_rows_by_digits:
                    _tile(builder, "tdpbusd", total, 7, 6)
                else:
                    _tile(builder, "tdpbsud", total, 6, 7)

            def load(register: int, address: ir.Value, row: ir.Value) -> None:
                _tile(builder, "tileloadd64", register, unit.pointer(address, BYTE), row)

            def one(i: ir.Value, _: list[Vector]) -> list[Vector]:
                first = builder.add(digits_at, builder.mul(i, digits_next))
                second = builder.add(first, digits_other)
                third = builder.add(second, digits_other)
                some_rows = builder.add(rows_at, builder.mul(i, rows_next))
                others = builder.add(some_rows, rows_other)
                load(6, first, digits_row)
                load(7, some_rows, rows_row)
                multiply(0)
                load(7, others, rows_row)
                multiply(1)
                with builder.if_then(at_least(2)):
                    load(6, second, digits_row)
                    multiply(3)
                    load(7, some_rows, rows_row)
                    multiply(2)
                with builder.if_then(at_least(3)):
                    load(6, third, digits_row)
                    multiply(4)
                    load(7, others, rows_row)
                    multiply(5)
                return []

            def store(register: int) -> None:
                address = unit.pointer(out, BYTE, register * TILE_BYTES)
                _tile(builder, "tilestored64", register, address, INT64(64))

            for register in range(2 * ABREAST):
                _tile(builder, "tilezero", register)
            unit.loop(n_inner, [], one)
            store(0)
            store(1)
            for n in range(2, ABREAST + 1):
                with builder.if_then(at_least(n)):
                    store(2 * n - 2)
                    store(2 * n - 1)
            return context.get_dummy_value()

        factor = types.UniTuple(types.int64, 4)
        return types.none(factor, factor, *[types.int64] * 3), codegen

    return products


logit_products = _products(of_rows_by_digits=True)
gradient_products = _products(of_rows_by_digits=False)


@intrinsic
def join_logits(typingctx: Any, products: Any, units: Any, out: Any) -> Any:
    """Join logits of 16 rows and a block of classes from products [row][class][digit].

    ``units``: of the block's classes; ``out``: [class][row] at the first row.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        products, units, out = args
        unit = _unit(builder)
        place = Vector(unit, ir.Constant(unit.type, [1.0, 256.0, 65536.0, 16777216.0] * 4))
        quads = []
        for quad in range(4):
            a = [_load_products(unit, products, quad * 4 + i) * place for i in range(4)]
            even, odd = unit.fold(a[0], a[2], 2), unit.fold(a[1], a[3], 2)
            quads.append(_cast(builder, unit.fold(even, odd, 1).value, WORDS))
        for c, words in enumerate(_transpose_parts(builder, quads)):
            size = unit.splat(unit.load_scalar(units, c * 4))
            unit.store(Vector(unit, _cast(builder, words, unit.type)) * size, out, c * PANEL * 4)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 3), codegen


@intrinsic
def join_gradient(typingctx: Any, products: Any, units: Any, sums_out: Any) -> Any:
    """Join a block's gradient of two vectors from products [vector][class][digit][feature].

    ``units``: of the block's classes; ``sums_out``: [vector][class][lane].
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        products, units, sums_out = args
        unit = _unit(builder)
        for c in range(BLOCK):
            size = unit.splat(unit.load_scalar(units, c * 4))
            for v in range(2):
                row = (v * BLOCK + c) * 4
                total = _load_products(unit, products, row + 3)
                for digit in (2, 1, 0):
                    lower = _load_products(unit, products, row + digit)
                    total = unit.multiply_add(total, unit.constant(256.0), lower)
                unit.store(total * size, sums_out, (v * BLOCK + c) * 64)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 3), codegen
