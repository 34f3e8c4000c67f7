"""How the numbers of a row become those of the weights' type, all of them exactly."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastlin.kernels.jit import processor

BITS = {"uint8": 8, "int8": 8, "float16": 16, "float32": 32}
"""Types of rows that are widened, float32 for weights of float64 alone."""

WORD, FLOAT = ir.IntType(32), ir.FloatType()


def widened(builder: Any, values: ir.Value, element: str, to: ir.VectorType) -> ir.Value:
    """Return a vector of floats or doubles.

    ``values``: as many integers, which are the bits of the numbers that are no integers.
    """
    lanes = to.count
    if element == "float32":
        return builder.fpext(builder.bitcast(values, ir.VectorType(FLOAT, lanes)), to)
    if element != "float16":
        # By way of int32, for which every instruction set has the conversion.
        widen = builder.sext if element == "int8" else builder.zext
        return builder.sitofp(widen(values, ir.VectorType(WORD, lanes)), to)
    floats = ir.VectorType(FLOAT, lanes)
    if processor.widens_halves():
        halves = builder.bitcast(values, ir.VectorType(ir.HalfType(), lanes))
        wide = builder.fpext(halves, floats)
    else:
        wide = _by_integers(builder, values, lanes)
    return wide if to.element == FLOAT else builder.fpext(wide, to)


def _by_integers(builder: Any, halves: ir.Value, lanes: int) -> ir.Value:
    """Return float16 numbers as floats: LLVM would call a library for each.

    The exponent is biased by 15 in float16 and by 127 in float32, where the mantissa has 13 bits
    more. Numbers whose exponent's bits are 0 are multiples of 2^-24.
    """
    words, floats = ir.VectorType(WORD, lanes), ir.VectorType(FLOAT, lanes)

    def constant(value: int) -> ir.Constant:
        return ir.Constant(words, [value] * lanes)

    bits = builder.zext(halves, words)
    sign = builder.shl(builder.and_(bits, constant(0x8000)), constant(16))
    size = builder.and_(bits, constant(0x7FFF))
    moved = builder.shl(size, constant(13))
    normal = builder.add(moved, constant((127 - 15) << 23))
    not_finite = builder.or_(moved, constant(0x7F800000))
    unit = ir.Constant(floats, [2.0**-24] * lanes)
    tiny = builder.bitcast(builder.fmul(builder.sitofp(size, floats), unit), words)
    below = builder.icmp_unsigned("<", size, constant(0x0400))
    beyond = builder.icmp_unsigned(">=", size, constant(0x7C00))
    magnitude = builder.select(below, tiny, builder.select(beyond, not_finite, normal))
    return builder.bitcast(builder.or_(magnitude, sign), floats)
