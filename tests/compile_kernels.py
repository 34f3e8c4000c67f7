"""Compile every kind of kernel of the Numba backend, or a share of them, in an order of a seed.

``python compile_kernels.py SEED unit|vectors SHARE`` prints a line of JSON: for each kernel its
name, the symbols that its object file defines, and whether its code may raise exceptions.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fastlin.kernels.jit import compiled, team
from fastlin.kernels.jit.dense import gradient, logits
from fastlin.kernels.jit.dense import run as dense
from fastlin.kernels.jit.kind import Kind
from fastlin.kernels.jit.many_classes import gradient as many_gradient
from fastlin.kernels.jit.many_classes import layout as many_layout
from fastlin.kernels.jit.many_classes import logits as many_logits
from fastlin.kernels.jit.many_classes import residuals, rows, weights
from fastlin.kernels.jit.many_classes import run as many_classes
from fastlin.kernels.jit.matrix_unit import phases as integer_loops
from fastlin.kernels.jit.sparse import run as sparse

PRODUCTS = (logits.logits_phase, logits.all_logits_phase, gradient.gradient_phase)
UNIT_PRODUCTS = (integer_loops.integer_logits_phase, integer_loops.integer_gradient_phase)
# Of slices of either width, and of any.
MANY_PRODUCTS = (many_logits.logits_phase, many_gradient.gradient_phase)
MANY_RUNS = (
    many_classes.run,
    many_classes.one_pass,
    weights.pack_phase,
    residuals.residual_phase,
)
# Of steps and loss_gradient the runs and their phases, of score and logits the passes.
RUNS = (dense.run, logits.residual_phase, dense.one_pass)
SPARSE = (sparse.run, sparse.one_pass)


def kernels(with_unit: bool) -> list[tuple[Any, Kind | None]]:
    """Return functions and what to compile them for."""
    found: list[tuple[Any, Kind | None]] = [(team.launch, None)]
    for kind in (Kind("uint8", "float32", 10, 16), Kind("float64", "float64", 1, 8)):
        found += [(body, kind) for body in PRODUCTS]
        found += [(body, kind.without_rows) for body in RUNS]
    of_many = many_layout.kinds("uint8", "float32", 16)
    found += [(body, of_many[width]) for body in MANY_PRODUCTS for width in ("narrow", "wide")]
    found += [(body, of_many["any"]) for body in MANY_RUNS]
    found.append((rows.gather_phase, of_many["rows"]))
    # Two that differ in nothing that an argument's type shows: classes of a block.
    found += [(logits.logits_phase, Kind("float64", "float64", block, 8)) for block in (2, 3)]
    if with_unit:
        unit = Kind("uint8", "float32", 4, 16, "integers")
        found += [(body, unit) for body in UNIT_PRODUCTS]
    sparse_kinds = [
        Kind("float32", "float32", 1, 16, columns="int32", class_lanes=16),
        Kind("float64", "float64", 1, 8, columns="int64", class_lanes=4),
    ]
    return found + [(body, kind) for kind in sparse_kinds for body in SPARSE]


def defined_symbols(code: bytes) -> list[str]:
    """Return the symbols of an object file that a linker sees."""
    with tempfile.NamedTemporaryFile(suffix=".o") as file:
        Path(file.name).write_bytes(code)
        command = ["nm", "--extern-only", "--defined-only", file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split()[-1] for line in done.stdout.splitlines()]


def main(seed: int, with_unit: bool, share: float) -> None:
    todo = kernels(with_unit)
    random.Random(seed).shuffle(todo)
    todo = todo[: round(share * len(todo))]
    results = []
    for body, kind in todo:
        name = compiled.kernel_name(body, kind)
        function = compiled.compile_body(body, kind)
        code = compiled.object_of(name, function)
        results.append(
            {
                "kernel": f"{body.__module__}.{body.__name__} {kind}",
                "name": name,
                "symbols": defined_symbols(code),
                "raises": "numba_exception_output" in function.inspect_llvm(),
            }
        )
    print(json.dumps(results))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2] == "unit", float(sys.argv[3]))
