"""The innermost loops of many classes, as intrinsics over addresses.

The same micro-kernels as the C backend's (``csrc/many_classes``). Both products, rows by weights
and rows by residuals, are sums of the numbers of a *group*, of rows or of features, times the
vectors of a slice of classes, so one loop serves both: its sums stay in registers, and each step
loads the slice's vectors once and broadcasts each number once. All arrays are given by the address
of their first element of interest, an integer; all but rows and what users gave are aligned to
whole vectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from fastlin.kernels.blocking import Registers
from fastlin.kernels.jit import step
from fastlin.kernels.jit.emit import Flag, Integer, Number, emits
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.many_classes.layout import BUNDLE
from fastlin.kernels.jit.memory import WORD_BYTES
from fastlin.kernels.jit.vectors import INT64, Vector, VectorUnit

CACHE_LINE = 64


def group_of(vector_bytes: int) -> int:
    """Return the rows, or features, of a micro-kernel.

    Its sums, this times a slice's vectors, leave registers for one row of a slice and one
    broadcast number.
    """
    return 8 if Registers(vector_bytes).n_registers >= 32 else 4


class SliceUnit(VectorUnit):
    """The vectors of classes, in slices of ``width`` of them, and of ``group`` numbers at once."""

    def __init__(self, builder: Any, kind: Kind) -> None:
        super().__init__(builder, kind.class_lanes, kind.double)
        self.width, self.group = kind.block, group_of(self.size)
        self.slice_bytes = self.width * self.size


@emits
def width_of(unit: SliceUnit) -> Integer:
    """Return the vectors of the slices that a kernel is made for."""
    return INT64(unit.width)


# ------------------------------------------------------------------ products


def add_products(
    unit: SliceUnit, numbers: ir.Value, between: int, vectors: ir.Value, sums: list[Vector]
) -> list[Vector]:
    """Return sums [number][vector] with a step's products; numbers are ``between`` bytes apart."""
    of_slice = [unit.load(vectors, v * unit.size) for v in range(unit.width)]
    results = []
    for n in range(unit.group):
        number = unit.splat(unit.load_scalar(numbers, n * between))
        for v, vector in enumerate(of_slice):
            results.append(unit.multiply_add(number, vector, sums[n * unit.width + v]))
    return results


@emits
def logit_tile(
    unit: SliceUnit,
    n_features: Integer,
    rows: Integer,
    weights: Integer,
    out: Integer,
    goes_on: Integer,
) -> None:
    """Sum up over a run of features, for a group of rows and a slice: ``out`` [row][class].

    ``rows``: of a bundle, at the first feature; ``goes_on``: 1 to add to ``out``, or else 0.
    """
    zeros = [unit.constant(0.0)] * (unit.group * unit.width)

    def one_feature(j: ir.Value, sums: list[Vector]) -> list[Vector]:
        numbers = unit.item(rows, j, BUNDLE * unit.itemsize)
        return add_products(
            unit, numbers, unit.itemsize, unit.item(weights, j, unit.slice_bytes), sums
        )

    def add_those_before(_: ir.Value, sums: list[Vector]) -> list[Vector]:
        return [total + unit.load(out, i * unit.size) for i, total in enumerate(sums)]

    sums = unit.loop(n_features, zeros, one_feature)
    for i, total in enumerate(unit.loop(goes_on, sums, add_those_before)):
        unit.store(total, out, i * unit.size)


@emits
def gradient_tile(
    unit: SliceUnit,
    n_bundles: Integer,
    bundle_bytes: Integer,
    rows: Integer,
    residual: Integer,
    fetched: Integer,
    n_lines: Integer,
    changed: Integer,
    sums_out: Integer,
) -> None:
    """Compute ``residual^T x`` of a group of features, for a slice: ``sums_out`` [feature][class].

    ``rows``: at these features of the panel's first bundle; ``residual``: [row][class] of the
    slice; ``fetched``: see :func:`fetch`, ``n_lines`` lines at a time; ``changed``: what the
    gradient will be added to, which is asked for ahead of time.
    """
    of_group = unit.group * BUNDLE * unit.itemsize
    for i in range(unit.group * unit.width):
        unit.prefetch(changed, i * unit.size, locality=3)

    def one_bundle(b: ir.Value, sums: list[Vector]) -> list[Vector]:
        of_bundle = unit.item(rows, b, bundle_bytes)
        of_rows = unit.item(residual, b, BUNDLE * unit.slice_bytes)
        for byte in range(0, of_group, CACHE_LINE):  # the next group's
            unit.prefetch(of_bundle, of_group + byte, locality=3)
        fetch(unit, fetched, n_lines)
        for row in range(BUNDLE):
            numbers = unit.builder.add(of_bundle, INT64(row * unit.itemsize))
            vectors = unit.builder.add(of_rows, INT64(row * unit.slice_bytes))
            sums = add_products(unit, numbers, BUNDLE * unit.itemsize, vectors, sums)
        return sums

    zeros = [unit.constant(0.0)] * (unit.group * unit.width)
    for i, total in enumerate(unit.loop(n_bundles, zeros, one_bundle)):
        unit.store(total, sums_out, i * unit.size)


def fetch(unit: SliceUnit, fetched: ir.Value, n_lines: ir.Value) -> None:
    """Ask for some cache lines of the rows that a thread will gather next: a burst would stall.

    ``fetched``: words, the address of the pointer to the next row, where pointers end, the byte of
    the row, and how many it has.
    """
    builder = unit.builder
    words = [unit.pointer(fetched, INT64, WORD_BYTES * word) for word in range(4)]

    def one_line(_: ir.Value) -> None:
        at, stop, byte, n_bytes = (builder.load(word) for word in words)
        with builder.if_then(builder.icmp_signed("<", at, stop)):
            unit.prefetch(builder.add(unit.load_address(at, 0), byte))
            after = builder.add(byte, INT64(CACHE_LINE))
            is_end = builder.icmp_signed(">=", after, n_bytes)
            builder.store(builder.select(is_end, INT64(0), after), words[2])
            builder.store(builder.add(at, builder.select(is_end, INT64(8), INT64(0))), words[0])

    unit.each(n_lines, one_line)


# ------------------------------------------------------------------ what becomes of a tile


@emits
def add_vectors(
    unit: SliceUnit, count: Integer, source: Integer, to: Integer, goes_on: Integer
) -> None:
    """Add vectors to those at ``to`` if ``goes_on`` is 1, or else put them there."""

    def one(i: ir.Value) -> None:
        at = unit.times(i, unit.size)

        def add(_: ir.Value, sums: list[Vector]) -> list[Vector]:
            return [sums[0] + unit.load(to, at)]

        (total,) = unit.loop(goes_on, [unit.load(source, at)], add)
        unit.store(total, to, at)

    unit.each(count, one)


@emits
def descend(
    unit: SliceUnit,
    sums: Integer,
    arrays: tuple[Integer, Integer, Integer],
    features: tuple[Integer, Integer],
    residual_sum: Integer,
    factors: tuple[Number, Number, Number, Number],
    nesterov: Flag,
) -> None:
    """Step with the gradient of a group of features, ``sums``: [feature][class].

    ``arrays`` = weights, velocity and average at the group's first, 0 if there is none;
    ``features`` = (shift, gain) from the first feature on; ``residual_sum``: of the slice's
    classes; ``factors`` = (learning rate, momentum, rate of the average, decay).
    """
    builder = unit.builder
    weights, velocity, average = arrays
    shift, gain = features
    rate, momentum, average_rate, decay = (unit.splat(factor) for factor in factors)
    of_classes = [unit.load(residual_sum, v * unit.size) for v in range(unit.width)]
    has_velocity, has_average = (builder.icmp_signed("!=", array, INT64(0)) for array in arrays[1:])
    # What is absent is read from the weights, and counts as zero.
    read_velocity = builder.select(has_velocity, velocity, weights)
    read_average = builder.select(has_average, average, weights)

    def step_with(
        one_vector: Callable[[Vector, Vector, ir.Value], None],
    ) -> None:
        """Let ``one_vector(gradient, weight, place)`` step with each vector."""

        def one_feature(j: ir.Value) -> None:
            here, item = unit.times(j, unit.slice_bytes), unit.times(j, unit.itemsize)
            of_shift, of_gain = (unit.splat(unit.load_scalar(at, item)) for at in (shift, gain))
            for r in of_classes:
                w = unit.load(weights, here)
                gradient = of_gain * (unit.load(sums, here) - r * of_shift)
                one_vector(unit.multiply_add(decay, w, gradient), w, here)
                here = builder.add(here, INT64(unit.size))

        unit.each(INT64(unit.group), one_feature)

    def with_more(gradient: Vector, w: Vector, here: ir.Value) -> None:
        v = unit.select(has_velocity, unit.load(read_velocity, here), unit.constant(0.0))
        mean = unit.load(read_average, here)
        rates = rate, momentum, average_rate
        w, v, mean = step.descend(unit, gradient, (w, v, mean), rates, nesterov)
        unit.store(w, weights, here)
        with builder.if_then(has_velocity):
            unit.store(v, velocity, here)
        with builder.if_then(has_average):
            unit.store(mean, average, here)

    def plainly(gradient: Vector, w: Vector, here: ir.Value) -> None:
        unit.store(step.moved(w, gradient, rate), weights, here)

    with builder.if_else(builder.or_(has_velocity, has_average)) as (more, plain):
        with more:
            step_with(with_more)
        with plain:
            step_with(plainly)


@emits
def sum_rows(
    unit: SliceUnit, n_rows: Integer, residual: Integer, out: Integer, goes_on: Integer
) -> None:
    """Sum up a slice's residuals ``[row][class]``, and add them to ``out`` if it goes on."""

    def one_row(i: ir.Value, sums: list[Vector]) -> list[Vector]:
        at = unit.times(i, unit.slice_bytes)
        of_row = unit.builder.add(residual, at)
        return [total + unit.load(of_row, v * unit.size) for v, total in enumerate(sums)]

    def add_those_before(_: ir.Value, sums: list[Vector]) -> list[Vector]:
        return [total + unit.load(out, v * unit.size) for v, total in enumerate(sums)]

    sums = unit.loop(n_rows, [unit.constant(0.0)] * unit.width, one_row)
    for v, total in enumerate(unit.loop(goes_on, sums, add_those_before)):
        unit.store(total, out, v * unit.size)


@emits
def shift_logits(
    unit: SliceUnit, n_features: Integer, weights: Integer, shift: Integer, out: Integer
) -> None:
    """Sum up what the shift takes off a slice's logits: ``weights . shift`` over all features."""

    def one_feature(j: ir.Value, sums: list[Vector]) -> list[Vector]:
        of_feature = unit.item(weights, j, unit.slice_bytes)
        number = unit.splat(unit.load_scalar(shift, unit.times(j, unit.itemsize)))
        return [
            unit.multiply_add(number, unit.load(of_feature, v * unit.size), total)
            for v, total in enumerate(sums)
        ]

    zeros = [unit.constant(0.0)] * unit.width
    for v, total in enumerate(unit.loop(n_features, zeros, one_feature)):
        unit.store(total, out, v * unit.size)
