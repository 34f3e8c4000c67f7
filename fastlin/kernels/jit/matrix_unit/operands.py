"""Operands of a matrix unit (Intel AMX), as intrinsics that write them.

The same as the C backend's ``csrc/matrix_unit/operands.h``, which tells the form of the numbers:
rows are bytes already, weights and residuals become fixed-point numbers, multiples of a quantum of
their class, and are taken apart into four digits of base 256.

A tile register holds 16 rows of 64 bytes. A block of four classes has 16 digits. Operands lie as
the unit reads them, 1024 bytes for each tile register:

=====================  ===================================================================
digits of weights      [block][quad of features][class][digit][feature in quad]
rows of phase A        [row][feature]
digits of residuals    [block][half of the panel][class][digit][row]
rows of phase C        [vector][quad of rows][feature][row in quad]
=====================  ===================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.blocking import PANEL, UNIT_BLOCK
from fastlin.kernels.jit.emit import Integer, emits
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.vectors import INT32, INT64, Vector, VectorUnit

LANES = 16
ROWS_STAGED = 32
TILE_BYTES = 1024
VECTOR_BYTES = 64

BITS = 30
"""Of a fixed-point number."""

BYTE, FLOAT = ir.IntType(8), ir.FloatType()
BYTES, WORDS = ir.VectorType(BYTE, VECTOR_BYTES), ir.VectorType(INT32, LANES)

SPLIT_QUADS = [4 * i + j for j in range(4) for i in range(16)]
"""Orders of bytes, each the place that a byte comes from: byte ``4 i + j`` to ``16 j + i``."""
JOIN_QUADS = [16 * j + i for i in range(16) for j in range(4)]
"""The inverse."""
TRANSPOSE_QUADS = [16 * p + 4 * j + i for p in range(4) for i in range(4) for j in range(4)]
"""Within each 128-bit part, byte ``4 i + j`` to ``4 j + i``."""
HALVES = [128, 128, 128, 0] * LANES
"""Half of the base for each digit but the highest, which makes digits signed."""


class MatrixUnit(VectorUnit):
    """A matrix unit, and vectors of 16 floats or of 16 *words* of 32 bits beside it."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, LANES, double=False)

    def call(self, name: str, result: ir.Type, *arguments: ir.Value) -> ir.Value:
        """Call a function of LLVM's, such as an instruction of the processor's."""
        function_type = ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, function_type, name)
        return self.builder.call(function, arguments)

    def opaque(self, value: ir.Value, register: str, anew: bool = False) -> ir.Value:
        """Hide from the optimizer what a value is; ``anew``: each time that this is reached."""
        function_type = ir.FunctionType(value.type, [value.type])
        return self.builder.asm(function_type, "", f"={register},0", [value], side_effect=anew)

    def hidden(self, numbers: list[int]) -> ir.Value:
        """Return constant bytes, as a vector that LLVM does not know.

        It would merge a permutation it knows with those before, into many of 128 bits.
        """
        return self.opaque(ir.Constant(BYTES, numbers), "v")

    def words(self, vector: ir.Value) -> ir.Value:
        """Return the bits of a vector, as words."""
        return self.builder.bitcast(vector, WORDS)

    def floats(self, words: ir.Value) -> Vector:
        """Return the vector with these bits."""
        return Vector(self, self.builder.bitcast(words, self.type))

    def load_words(self, address: ir.Value, offset: ir.Value | int = 0) -> ir.Value:
        """Load 16 words."""
        return self.builder.load(self.pointer(address, WORDS, offset), align=VECTOR_BYTES)

    def store_words(self, words: ir.Value, address: ir.Value, offset: ir.Value | int = 0) -> None:
        """Store 16 words, or 64 bytes."""
        self.builder.store(
            self.words(words), self.pointer(address, WORDS, offset), align=VECTOR_BYTES
        )

    def permute_bytes(self, words: ir.Value, order: ir.Value) -> ir.Value:
        """Take byte ``order[i]`` to byte ``i``."""
        name = "llvm.x86.avx512.permvar.qi.512"
        return self.words(self.call(name, BYTES, self.builder.bitcast(words, BYTES), order))

    def transpose_parts(self, v: list[ir.Value]) -> list[ir.Value]:
        """Part ``j``, of 128 bits, of vector ``i`` becomes part ``i`` of vector ``j``."""

        def pick(a: ir.Value, b: ir.Value, first: int) -> ir.Value:
            parts = [(0, first), (0, first + 2), (LANES, first), (LANES, first + 2)]
            lanes = [of + 4 * part + lane for of, part in parts for lane in range(4)]
            mask = ir.Constant(WORDS, lanes)
            return self.builder.shuffle_vector(a, b, mask)

        even_low, odd_low = pick(v[0], v[1], 0), pick(v[0], v[1], 1)
        even_high, odd_high = pick(v[2], v[3], 0), pick(v[2], v[3], 1)
        return [
            pick(even_low, even_high, 0),
            pick(odd_low, odd_high, 0),
            pick(even_low, even_high, 1),
            pick(odd_low, odd_high, 1),
        ]

    def larger(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """Return the larger of two integers, or of two words in every lane."""
        return self.builder.select(self.builder.icmp_signed(">", a, b), a, b)

    def magnitude(self, vector: Vector) -> ir.Value:
        """Return the bits of the magnitudes.

        As integers they are ordered as the magnitudes are, with infinity and then nan last.
        """
        no_sign = ir.Constant(WORDS, [0x7FFFFFFF] * LANES)
        return self.builder.and_(self.words(vector.value), no_sign)

    def fixed_point(self, magnitudes: ir.Value, quantum_out: ir.Value) -> Vector:
        """Store a quantum such that the largest of some magnitudes is at most 2^30 quanta.

        Return its inverse in every lane; both are powers of two. If a number is not finite the
        quantum is nan, which then shows in all that is made of it.
        """
        builder = self.builder
        largest = self.call("llvm.vector.reduce.smax.v16i32", INT32, magnitudes)
        exponent = builder.sub(builder.lshr(largest, INT32(23)), INT32(126))
        exponent = self.larger(exponent, INT32(BITS - 120))
        factor = builder.shl(builder.sub(INT32(BITS + 127), exponent), INT32(23))
        quantum = builder.shl(builder.add(exponent, INT32(127 - BITS)), INT32(23))
        finite = builder.icmp_signed("<", largest, INT32(0x7F800000))
        factor = builder.select(finite, factor, INT32(0))
        quantum = builder.select(finite, quantum, INT32(0x7FC00000))
        builder.store(builder.bitcast(quantum, FLOAT), quantum_out)
        return self.splat(builder.bitcast(factor, FLOAT))

    def store_digits(
        self,
        vectors: Iterable[Vector],
        factors: list[Vector],
        halves: ir.Value,
        order: ir.Value,
        address: ir.Value,
        offset: int = 0,
    ) -> None:
        """Write the digits, the lowest first, of four vectors of fixed-point numbers.

        Their bytes [lane][digit] are put into an order, then the 128-bit parts are transposed.
        """
        builder, quads = self.builder, []
        name = "llvm.x86.avx512.mask.cvtps2dq.512"
        every_lane, rounding = ir.IntType(16)(-1), INT32(4)
        for vector, factor in zip(vectors, factors, strict=True):
            scaled, zeros = (vector * factor).value, ir.Constant(WORDS, [0] * LANES)
            fixed = self.call(name, WORDS, scaled, zeros, every_lane, rounding)
            digits = builder.xor(builder.add(fixed, halves), halves)
            quads.append(self.permute_bytes(digits, order))
        for part, words in enumerate(self.transpose_parts(quads)):
            self.store_words(words, address, offset + part * VECTOR_BYTES)

    def columns_left(self, n_features: ir.Value, column: ir.Value) -> ir.Value:
        """Return the mask of 64 features from a column on that lie in a row; at least one does."""
        left = self.builder.sub(n_features, column)
        some = self.builder.sub(self.builder.shl(INT64(1), left), INT64(1))
        whole = self.builder.icmp_signed(">=", left, INT64(VECTOR_BYTES))
        mask = self.builder.select(whole, INT64(-1), some)
        return self.builder.bitcast(mask, ir.VectorType(ir.IntType(1), VECTOR_BYTES))

    def load_group(self, row: ir.Value, column: ir.Value, mask: ir.Value) -> ir.Value:
        """Load 64 features of a row, 0 if the mask is."""
        zeros = ir.Constant(BYTES, [0] * VECTOR_BYTES)
        pointer = self.pointer(row, BYTES, column)
        return self.call("llvm.masked.load.v64i8.p0", BYTES, pointer, INT32(1), mask, zeros)

    def tile(self, instruction: str, *operands: Any) -> None:
        """Emit an instruction of the matrix unit; operands that are ``int`` are its registers."""
        values = [BYTE(one) if isinstance(one, int) else one for one in operands]
        self.call(f"llvm.x86.{instruction}", ir.VoidType(), *values)


@emits
def write_weight_digits(
    unit: MatrixUnit,
    weights: Integer,
    n_vectors: Integer,
    digits_out: Integer,
    quanta_out: Integer,
) -> None:
    """Write the digits of a block's weights, in a run of feature vectors, and their quanta."""
    block_bytes = UNIT_BLOCK * VECTOR_BYTES
    order = unit.hidden(TRANSPOSE_QUADS)
    halves = unit.words(unit.hidden(HALVES))

    def load_block(v: ir.Value) -> Iterator[Vector]:
        of_vector = unit.item(weights, v, block_bytes)
        return (unit.load(of_vector, c * VECTOR_BYTES) for c in range(UNIT_BLOCK))

    def largest(v: ir.Value, so_far: list[Vector]) -> list[Vector]:
        return [
            unit.floats(unit.larger(unit.magnitude(w), unit.words(top.value)))
            for w, top in zip(load_block(v), so_far, strict=True)
        ]

    def write(v: ir.Value) -> None:
        to = unit.item(digits_out, v, block_bytes)
        unit.store_digits(load_block(v), factors, halves, order, to)

    tops = unit.loop(n_vectors, [unit.constant(0.0)] * UNIT_BLOCK, largest)
    factors = [
        unit.fixed_point(unit.words(top.value), unit.pointer(quanta_out, FLOAT, c * 4))
        for c, top in enumerate(tops)
    ]
    unit.each(n_vectors, write)


@emits
def write_residual_digits(
    unit: MatrixUnit,
    residual: Integer,
    n_rows: Integer,
    n_classes: Integer,
    digits_out: Integer,
    quanta_out: Integer,
) -> None:
    """Write the digits of a panel's residuals, 0 if there is no row, and the classes' quanta."""
    builder, n_vectors = unit.builder, PANEL // LANES
    order = unit.hidden(SPLIT_QUADS)
    halves = unit.words(unit.hidden(HALVES))
    held = [builder.icmp_signed(">", n_rows, INT64(i * LANES)) for i in range(n_vectors)]

    def of_class(c: ir.Value) -> None:
        at = unit.item(residual, c, PANEL * 4)
        vectors = [
            unit.select(held[i], unit.load(at, i * VECTOR_BYTES), unit.constant(0.0))
            for i in range(n_vectors)
        ]
        largest = unit.magnitude(vectors[0])
        for vector in vectors[1:]:
            largest = unit.larger(largest, unit.magnitude(vector))
        factor = unit.fixed_point(largest, unit.pointer(quanta_out, FLOAT, unit.times(c, 4)))
        b, in_block = (divide(c, INT64(UNIT_BLOCK)) for divide in (builder.udiv, builder.urem))
        # A register's 16 rows of 64 bytes: four digits of each of four classes.
        to = unit.item(unit.item(digits_out, b, 2 * TILE_BYTES), in_block, 4 * VECTOR_BYTES)
        for half in range(2):
            of_half = vectors[half * 4 : half * 4 + 4]
            unit.store_digits(of_half, [factor] * 4, halves, order, to, half * TILE_BYTES)

    unit.each(n_classes, of_class)


@emits
def stage(
    unit: MatrixUnit,
    rows: Integer,
    n_features: Integer,
    first_column: Integer,
    stop_column: Integer,
    out: Integer,
) -> None:
    """Copy a run of features of ``ROWS_STAGED`` rows, 0 where a row has ended: [row][feature].

    ``rows``: addresses of the rows.
    """
    width = unit.builder.sub(stop_column, first_column)
    n_groups = unit.builder.sdiv(width, INT64(VECTOR_BYTES))

    def one_row(i: ir.Value) -> None:
        row = unit.load_address(rows, i)
        to = unit.item(out, i, width)

        def one_group(g: ir.Value) -> None:
            offset = unit.times(g, VECTOR_BYTES)
            column = unit.builder.add(first_column, offset)
            mask = unit.columns_left(n_features, column)
            unit.store_words(unit.load_group(row, column, mask), to, offset)

        unit.each(n_groups, one_group)

    unit.each(INT64(ROWS_STAGED), one_row)


@emits
def interleave(
    unit: MatrixUnit,
    rows: Integer,
    n_rows: Integer,
    n_features: Integer,
    column: Integer,
    out: Integer,
) -> None:
    """Copy 64 features of a panel's rows: [vector][quad of rows][feature][row in quad].

    ``rows``: addresses of the rows; those after the last, up to a quad, are read too.
    """
    mask = unit.columns_left(n_features, column)
    order = unit.hidden(JOIN_QUADS)
    n_quads = unit.builder.sdiv(unit.builder.add(n_rows, INT64(3)), INT64(4))

    def one_quad(i: ir.Value) -> None:
        of_quad = unit.item(rows, i, 4 * 8)
        to = unit.item(out, i, VECTOR_BYTES)
        groups = [
            unit.words(unit.load_group(unit.load_address(of_quad, row), column, mask))
            for row in range(4)
        ]
        for v, words in enumerate(unit.transpose_parts(groups)):
            unit.store_words(unit.permute_bytes(words, order), to, v * LANES * PANEL)

    unit.each(n_quads, one_quad)


@emits
def fetch(
    unit: MatrixUnit, rows: Integer, first_row: Integer, stop_row: Integer, column: Integer
) -> None:
    """Fetch 64 features of some rows into this core's cache."""
    first = unit.item(rows, first_row, 8)

    def one_row(i: ir.Value) -> None:
        unit.prefetch(unit.builder.add(unit.load_address(first, i), column))

    unit.each(unit.builder.sub(stop_row, first_row), one_row)
