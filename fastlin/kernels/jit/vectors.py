"""Vectors for Numba: arithmetic on whole registers, emitted as LLVM's own vector types.

Numba's loop vectoriser prefers half of the widest registers and gives up if arrays might
overlap. So the innermost loops say which vectors they mean. This module knows vectors and
mathematics; the kernels made of them are in :mod:`fastlin.kernels.jit.dense.tiles`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from fastlin.kernels.jit import processor, widening

INT32, INT64 = ir.IntType(32), ir.IntType(64)

# Terms after which Taylor's series of e^r, |r| <= ln(2) / 2, and the series of artanh(t),
# |t| <= 0.172, are exact to half an ulp of 1; bits of the mantissa; the exponent's lowest value.
FLOAT = {"exp_terms": 7, "log_terms": 5, "mantissa": 23, "lowest": -87.0}
DOUBLE = {"exp_terms": 13, "log_terms": 11, "mantissa": 52, "lowest": -708.0}


class Vector:
    """A register of floating-point lanes while code is being emitted."""

    def __init__(self, unit: VectorUnit, value: ir.Value) -> None:
        self.unit, self.value = unit, value

    def _other(self, other: Vector | float) -> ir.Value:
        return other.value if isinstance(other, Vector) else self.unit.constant(other).value

    def __add__(self, other: Vector | float) -> Vector:
        return Vector(self.unit, self.unit.builder.fadd(self.value, self._other(other)))

    def __sub__(self, other: Vector | float) -> Vector:
        return Vector(self.unit, self.unit.builder.fsub(self.value, self._other(other)))

    def __mul__(self, other: Vector | float) -> Vector:
        return Vector(self.unit, self.unit.builder.fmul(self.value, self._other(other)))

    def __truediv__(self, other: Vector | float) -> Vector:
        return Vector(self.unit, self.unit.builder.fdiv(self.value, self._other(other)))

    def compare(self, operator: str, other: Vector | float) -> ir.Value:
        """Return the mask of the lanes where the comparison holds; nan compares as false."""
        return self.unit.builder.fcmp_ordered(operator, self.value, self._other(other))


class VectorUnit:
    """Emits code for registers of ``lanes`` floats (or doubles).

    ``size`` bytes each; ``alignment`` is that of all vectors in memory but those of rows.
    """

    def __init__(self, builder: Any, lanes: int, double: bool) -> None:
        self.builder = builder
        self.lanes = lanes
        self.scalar = ir.DoubleType() if double else ir.FloatType()
        self.numbers: dict[str, Any] = DOUBLE if double else FLOAT
        self.bits = 64 if double else 32
        self.itemsize = self.bits // 8
        self.size = lanes * self.itemsize
        self.alignment = self.size
        self.type = ir.VectorType(self.scalar, lanes)
        self.integers = ir.VectorType(ir.IntType(self.bits), lanes)

    # ------------------------------------------------------------------ values

    def constant(self, value: float) -> Vector:
        """Return a vector of one number."""
        return Vector(self, ir.Constant(self.type, [value] * self.lanes))

    def splat(self, value: ir.Value) -> Vector:
        """Return a vector of one value known at run time."""
        undefined = ir.Constant(self.type, ir.Undefined)
        zero = ir.Constant(INT32, 0)
        first = self.builder.insert_element(undefined, value, zero)
        mask = ir.Constant(ir.VectorType(INT32, self.lanes), [0] * self.lanes)
        return Vector(self, self.builder.shuffle_vector(first, undefined, mask))

    def pointer(self, address: ir.Value, to: ir.Type, offset: ir.Value | int = 0) -> ir.Value:
        """Return a typed pointer ``offset`` bytes from an address."""
        if isinstance(offset, int):
            offset = INT64(offset)
        return self.builder.inttoptr(self.builder.add(address, offset), to.as_pointer())

    def times(self, index: ir.Value, size: ir.Value | int) -> ir.Value:
        """Return where item ``index`` begins, in bytes, if each takes ``size``."""
        return self.builder.mul(index, INT64(size) if isinstance(size, int) else size)

    def item(self, address: ir.Value, index: ir.Value, size: ir.Value | int) -> ir.Value:
        """Return the address of item ``index`` of an array whose items take ``size`` bytes."""
        return self.builder.add(address, self.times(index, size))

    def load(self, address: ir.Value, offset: ir.Value | int = 0) -> Vector:
        """Load ``lanes`` numbers."""
        pointer = self.pointer(address, self.type, offset)
        return Vector(self, self.builder.load(pointer, align=self.alignment))

    def store(self, vector: Vector, address: ir.Value, offset: ir.Value | int = 0) -> None:
        """Store ``lanes`` numbers."""
        pointer = self.pointer(address, self.type, offset)
        self.builder.store(vector.value, pointer, align=self.alignment)

    def load_address(self, addresses: ir.Value, index: ir.Value | int) -> ir.Value:
        """Load one of an array of addresses."""
        offset = 8 * index if isinstance(index, int) else self.times(index, 8)
        return self.builder.load(self.pointer(addresses, INT64, offset))

    def load_scalar(self, address: ir.Value, offset: ir.Value | int = 0) -> ir.Value:
        """Load one number."""
        return self.builder.load(self.pointer(address, self.scalar, offset))

    def load_row(self, address: ir.Value, element: str, offset: ir.Value | int = 0) -> Vector:
        """Load ``lanes`` elements of a row from any address, and widen them exactly.

        ``element``: their type, as in :attr:`.kind.Kind.rows`.
        """
        if 8 * self.itemsize <= widening.BITS.get(element, 64):
            pointer = self.pointer(address, self.type, offset)
            return Vector(self, self.builder.load(pointer, align=self.itemsize))
        narrow = ir.VectorType(ir.IntType(widening.BITS[element]), self.lanes)
        value = self.builder.load(self.pointer(address, narrow, offset), align=1)
        return Vector(self, widening.widened(self.builder, value, element, self.type))

    # ------------------------------------------------------------------ arithmetic

    def multiply_add(self, a: Vector, b: Vector, c: Vector) -> Vector:
        """Return ``a * b + c``, rounded once if the processor can."""
        if not processor.multiplies_and_adds():
            return a * b + c
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(self.type, [self.type] * 3),
            f"llvm.fma.v{self.lanes}f{self.bits}",
        )
        return Vector(self, self.builder.call(function, [a.value, b.value, c.value]))

    def select(self, mask: ir.Value, yes: Vector, no: Vector) -> Vector:
        """Return ``yes`` in the lanes of the mask and ``no`` in the others."""
        return Vector(self, self.builder.select(mask, yes.value, no.value))

    def largest(self, a: Vector, b: Vector) -> Vector:
        """Return the larger of two in every lane; ``b`` if either is nan."""
        return self.select(a.compare(">", b), a, b)

    def exp(self, x: Vector) -> Vector:
        """Return ``e^x`` for ``x <= 0``, within 2 ulp; nan stays nan.

        ``x = n ln 2 + r``: Taylor's series for ``r``, and ``n`` added to the exponent's bits. Cody
        and Waite, "Software Manual for the Elementary Functions" (1980), for ln 2 in two parts.
        """
        double = self.bits == 64
        magic = 6755399441055744.0 if double else 12582912.0
        ln2_high, ln2_low = (
            (6.93147180369123816490e-01, 1.90821492927058770002e-10)
            if double
            else (6.93145752e-1, 1.42860677e-6)
        )
        clamped = self.select(
            x.compare("<", self.numbers["lowest"]), self.constant(self.numbers["lowest"]), x
        )
        biased = self.multiply_add(clamped, self.constant(1 / math.log(2)), self.constant(magic))
        n = biased - magic
        r = self.multiply_add(n, self.constant(-ln2_high), clamped)
        r = self.multiply_add(n, self.constant(-ln2_low), r)
        terms = self.numbers["exp_terms"]
        series = self.constant(1 / math.factorial(terms))
        for term in reversed(range(terms)):
            series = self.multiply_add(series, r, self.constant(1 / math.factorial(term)))
        shift = self._integer_constant(self.numbers["mantissa"])
        exponent = self.builder.shl(self._bits(biased), shift)
        result = self._from_bits(self.builder.add(self._bits(series), exponent))
        return self.select(x.compare("==", x), result, x)

    def log(self, s: Vector) -> Vector:
        """Return ``ln s`` for ``s >= 1``, within 2 ulp; nan stays nan.

        The exponent's bits, and ``2 artanh((m - 1) / (m + 1))`` for the mantissa ``m``.
        """
        shift = self._integer_constant(self.numbers["mantissa"])
        bits = self._bits(s)
        offset = self.builder.sub(bits, self._bits(self.constant(math.sqrt(0.5))))
        exponent = self.builder.ashr(offset, shift)
        m = self._from_bits(self.builder.sub(bits, self.builder.shl(exponent, shift)))
        t = (m - 1.0) / (m + 1.0)
        square = t * t
        terms = self.numbers["log_terms"]
        series = self.constant(1 / (2 * terms - 1))
        for term in reversed(range(terms - 1)):
            series = self.multiply_add(series, square, self.constant(1 / (2 * term + 1)))
        e = Vector(self, self.builder.sitofp(exponent, self.type))
        result = self.multiply_add(e, self.constant(math.log(2)), t * 2.0 * series)
        return self.select(s.compare("==", s), result, s)

    def across(self, vector: Vector, fold: Callable[[Vector, Vector], Vector]) -> Vector:
        """Return all lanes folded into one number, by halves, in every lane."""
        width = self.lanes // 2
        while width:
            moved = self.shuffle(vector, vector, [lane ^ width for lane in range(self.lanes)])
            vector = fold(vector, moved)
            width //= 2
        return vector

    def first(self, vector: Vector) -> ir.Value:
        """Return the first lane."""
        return self.builder.extract_element(vector.value, INT32(0))

    def sum(self, vector: Vector) -> ir.Value:
        """Return the sum of the lanes, from the first to the last."""
        total = self.scalar(0.0)
        for lane in range(self.lanes):
            element = self.builder.extract_element(vector.value, INT32(lane))
            total = self.builder.fadd(total, element)
        return total

    def sum_each(self, vectors: Sequence[Vector]) -> Vector:
        """Return the sum of the lanes of each of up to ``lanes`` vectors, one in each lane.

        A transposing sum: at each level one blend and one permutation fold two vectors into one.
        """
        size = 1 << (len(vectors) - 1).bit_length()
        # If there are fewer vectors than lanes, they repeat; repeated folds are emitted once.
        values = [vectors[min(i % size, len(vectors) - 1)] for i in range(self.lanes)]
        width = self.lanes // 2
        while width:
            folded: dict[tuple[int, int], Vector] = {}
            for i in range(width):
                a, b = values[i], values[i + width]
                key = (id(a), id(b))
                if key not in folded:
                    folded[key] = self.fold(a, b, width)
                values[i] = folded[key]
            width //= 2
        return values[0]

    def fold(self, a: Vector, b: Vector, width: int) -> Vector:
        """Return sums of lanes ``width`` apart: of ``b`` in lanes with that bit, else of ``a``."""
        upper = [bool(lane & width) for lane in range(self.lanes)]
        kept = [lane + self.lanes * up for lane, up in enumerate(upper)]
        moved = [lane + (self.lanes - width if up else width) for lane, up in enumerate(upper)]
        return self.shuffle(a, b, kept) + self.shuffle(a, b, moved)

    def shuffle(self, a: Vector, b: Vector, lanes: list[int]) -> Vector:
        """Return the lanes with these numbers; those of ``b`` go on where those of ``a`` end."""
        mask = ir.Constant(ir.VectorType(INT32, self.lanes), lanes)
        return Vector(self, self.builder.shuffle_vector(a.value, b.value, mask))

    def _bits(self, vector: Vector) -> ir.Value:
        return self.builder.bitcast(vector.value, self.integers)

    def _from_bits(self, bits: ir.Value) -> Vector:
        return Vector(self, self.builder.bitcast(bits, self.type))

    def _integer_constant(self, value: int) -> ir.Constant:
        return ir.Constant(self.integers, [value] * self.lanes)

    # ------------------------------------------------------------------ control

    def loop(
        self,
        count: ir.Value,
        carried: Sequence[Vector],
        body: Callable[[ir.Value, list[Vector]], list[Vector]],
    ) -> list[Vector]:
        """Emit a loop over ``0 .. count - 1`` that hands vectors from one turn to the next.

        ``body(i, vectors)`` emits one turn and returns the vectors of the next.
        """
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block("loop")
        inside = builder.append_basic_block("body")
        after = builder.append_basic_block("after")
        builder.branch(head)
        builder.position_at_end(head)
        i = builder.phi(INT64)
        i.add_incoming(INT64(0), before)
        values = [builder.phi(self.type) for _ in carried]
        for phi, start in zip(values, carried, strict=True):
            phi.add_incoming(start.value, before)
        builder.cbranch(builder.icmp_signed("<", i, count), inside, after)
        builder.position_at_end(inside)
        results = body(i, [Vector(self, phi) for phi in values])
        i.add_incoming(builder.add(i, INT64(1)), builder.block)
        for phi, result in zip(values, results, strict=True):
            phi.add_incoming(result.value, builder.block)
        builder.branch(head)
        builder.position_at_end(after)
        return [Vector(self, phi) for phi in values]

    def each(self, count: ir.Value, body: Callable[[ir.Value], None]) -> None:
        """Emit a loop over ``0 .. count - 1`` that hands nothing on."""

        def turn(i: ir.Value, _: list[Vector]) -> list[Vector]:
            body(i)
            return []

        self.loop(count, [], turn)

    def prefetch(self, address: ir.Value, offset: int = 0, locality: int = 2) -> None:
        """Ask for a cache line of rows that will be read soon: 3 into the first level, 2 second."""
        byte = ir.IntType(8).as_pointer()
        flag = INT32
        function = cgutils.get_or_insert_function(
            self.builder.module,
            ir.FunctionType(ir.VoidType(), [byte, flag, flag, flag]),
            "llvm.prefetch.p0",
        )
        pointer = self.pointer(address, ir.IntType(8), offset)
        self.builder.call(function, [pointer, flag(0), flag(locality), flag(1)])
