"""Write calls of the C kernels, and what the reference answers: ``python record.py FILE``.

``replay.c`` makes the same calls on a machine without Python. The cases are the short list of the
tests of memory, the whole of it with FASTLIN_TEST_THOROUGH=1: all types, every ``d`` of 1 to 70 and
``k`` of 1 to 40, odd batches, all options of a step, many classes, several threads. What two right
answers may differ by is worked out here.

The file is a sequence of 8-byte integers and floats in the machine's order. An array is its size in
bytes, -1 if it is NULL, and its bytes, filled up to a multiple of 8.
"""

from __future__ import annotations

import argparse
import struct
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from agreement import bounds_of, run_steps, step_options, steps_tolerances, undecided
from memory_cases import Case, make, short_list
from problems import Problem, make_order, make_parameters

from fastlin.kernels import Backend, CsrRows, Samples, blocking, reference
from fastlin.kernels.native import ROWS_OF_A_SUM

TYPES = {"uint8": 0, "float32": 1, "float64": 2, "int32": 3, "int64": 4, "int8": 5, "float16": 6}
STEPS, LOSS_GRADIENT, SCORE, LOGITS = range(4)
ARM = Backend(name="c", instruction_set="baseline")


class Foreign(blocking.Registers):
    """Those of a 64-bit Arm processor: 32 of 16 bytes."""

    @property
    def n_registers(self) -> int:
        return 32


class Writer:
    """Writes numbers and arrays."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def integers(self, *values: int) -> None:
        self.file.write(struct.pack(f"={len(values)}q", *map(int, values)))

    def floats(self, *values: float) -> None:
        self.file.write(struct.pack(f"={len(values)}d", *values))

    def array(self, array: Any) -> None:
        if array is None:
            self.integers(-1)
            return
        content = np.ascontiguousarray(array).tobytes()
        self.integers(len(content))
        self.file.write(content + bytes(-len(content) % 8))

    def expected(self, right: Any, tolerance: Any, dtype: Any) -> None:
        """Write an answer, the type in which the kernel gives it, and how far it may be off."""
        right = np.asarray(right, np.float64)
        self.integers(TYPES[np.dtype(dtype).name])
        self.array(right)
        self.array(np.broadcast_to(np.asarray(tolerance, np.float64), right.shape))


def write_samples(out: Writer, samples: Samples, dtype: str) -> None:
    rows = samples.rows
    if isinstance(rows, CsrRows):
        arrays = rows.values, rows.columns, rows.row_starts
        kind, columns, stride = rows.dtype.name, rows.columns.dtype.name, 0
    else:
        values = np.ascontiguousarray(rows.values)
        arrays = values, None, None
        kind, columns, stride = values.dtype.name, "int32", values.strides[0]
    out.integers(TYPES[dtype], TYPES[kind], TYPES[columns], *rows.shape, stride)
    for array in (*arrays, samples.labels, samples.sample_weight, samples.shift):
        out.array(array)


def write_blocking(
    out: Writer,
    problem: Problem,
    case: Case,
    machine: blocking.Registers,
    function: int,
) -> None:
    """Write how the work is cut on that machine; see ``fastlin/kernels/native.py``."""
    rows, weights = problem.samples.rows, problem.weights
    n_order = 2 * len(rows) if function == STEPS else len(rows)
    a_pass = function in (SCORE, LOGITS)
    batch_size = case.batch_size if function == STEPS else n_order
    if isinstance(rows, CsrRows):
        if function == LOSS_GRADIENT:
            batch_size = ROWS_OF_A_SUM
        cut: Any = blocking.sparse_blocking(
            rows, len(weights), n_order, batch_size, machine, case.n_threads,
            steps=not a_pass, updates=function == STEPS,
        )  # fmt: skip
        out.integers(cut.n_threads, 0, 0, 0, 0, cut.n_slices)
        out.array(np.array(cut.bounds, np.int64))
        out.integers(blocking.PARTS, cut.in_place, ROWS_OF_A_SUM, cut.flush_interval)
        return
    types = rows.dtype.name, weights.dtype.name
    cut = blocking.dense_blocking(
        rows.shape[1], len(weights), n_order, batch_size, types, machine, case.n_threads,
        steps=not a_pass,
    )  # fmt: skip
    out.integers(cut.n_threads, 0, cut.classes_in_lanes, cut.shares_residuals)
    out.integers(cut.block, cut.n_slices)
    out.array(None)
    out.integers(0, 0, 0, 0)


def write_case(out: Writer, case: Case, machine: blocking.Registers) -> int:
    """Write the calls of a case; return their number."""
    problem = make(case)
    exact, dtype = problem.in_float64(), problem.dtype
    allowed = bounds_of(problem, dtype)

    def begin(function: int) -> None:
        name = f"{case.types} n {case.n} d {case.d} k {case.k} {case.options}".encode()
        out.integers(function)
        out.array(np.frombuffer(name, np.uint8))
        write_samples(out, problem.samples, dtype)
        write_blocking(out, problem, case, machine, function)
        out.integers(len(problem.weights))

    right = reference.loss_gradient(exact.samples, *exact.model)
    logits = reference.logits(exact.samples, *exact.model)
    for function in (LOSS_GRADIENT, SCORE, LOGITS):
        begin(function)
        for array in (*problem.model, None, None, None, None):
            out.array(array)
        if function == LOSS_GRADIENT:
            out.integers(3)
            out.expected([right[0]], allowed.loss_sum, "float64")
            out.expected(right[1], allowed.weights_gradient, "float64")
            out.expected(right[2], allowed.intercept_gradient, "float64")
        elif function == SCORE:
            out.integers(2)
            out.expected([right[0]], allowed.loss_sum, "float64")
            n_correct = reference.score(exact.samples, *exact.model)[1]
            out.expected([n_correct], undecided(logits, allowed.logits), "float64")
        else:
            out.integers(1)
            out.expected(logits, allowed.logits, dtype)
    write_steps(out, begin, problem, case)
    return 4


def write_steps(out: Writer, begin: Any, problem: Problem, case: Case) -> None:
    exact, dtype = problem.in_float64(), problem.dtype
    order = make_order(len(problem.samples.rows), 2)
    n_steps = -(-len(order) // case.batch_size)
    options = step_options(problem, case.batch_size, case.options, n_steps)
    averages = options.average_rates is not None
    before = make_parameters(problem, options.momentum > 0, average=averages)
    begin(STEPS)
    for array in vars(before).values():
        out.array(array)
    out.array(order)
    out.integers(options.batch_size)
    out.array(options.learning_rates)
    out.array(options.average_rates)
    out.floats(options.decay)
    out.array(options.gain.astype(dtype))
    out.floats(options.intercept_decay, options.intercept_gain, options.momentum)
    out.integers(options.nesterov)
    right, losses = run_steps(reference, exact, order, case.batch_size, case.options)
    tolerances = steps_tolerances(problem, case.batch_size, case.options)
    out.integers(1 + sum(value is not None for value in vars(right).values()))
    out.expected(losses, tolerances["losses"], "float64")
    for name, value in vars(right).items():
        if value is not None:
            out.expected(value, tolerances[name], dtype)


def main() -> None:
    """Record the cases."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    machine = Foreign(16)
    with given.file.open("wb") as file:
        print(sum(write_case(Writer(file), case, machine) for case in short_list(ARM)), "calls")


if __name__ == "__main__":
    main()
