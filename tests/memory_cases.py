"""Kernels on arrays at the edge of accessible memory: ``python memory_cases.py BACKEND``.

A process of its own, which a fault may kill; it prints each case before it runs it. With
``--seconds`` it draws cases at random for so long, from ``--seed`` on. ``--library`` names an
extension module that takes the place of the installed C backend.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.machinery
import importlib.util
import itertools
import os
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from agreement import STEP_OPTIONS, check_passes, check_steps
from guarded import Placement, guard, on_cache_lines, place, place_rows
from problems import Problem, make_problem, make_sparse_problem
from processes import THOROUGH
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.advice import NotConvergedWarning
from fastlin.kernels import Backend, get_backend
from fastlin.kernels.arguments import WEIGHT_TYPES

DENSE = [(rows, weights) for rows, of_rows in WEIGHT_TYPES.items() for weights in of_rows]
SPARSE = [(columns, values) for columns in ("int32", "int64") for values in ("float32", "float64")]
ROWS = ("tight", "padded", "odd", "apart")
ACCESS = ("write", "protected", "read-only")
CASES_OF_A_TYPE = 80 if THOROUGH else 15
LEAST_ROWS = 12
"""With fewer the random problems are not sure to have two labels; the last of so many are taken."""

MANY_CLASSES = (64, 79, 80, 95, 96, 111)
"""Classes that vectors of any width hold, with and without lanes to spare."""

# Numba compiles for each size of a block of classes and each pair of types: these classes and
# types need no kind that `test_backends.py` and `test_sparse_kernels.py` do not.
NUMBA_CLASSES = {
    ("uint8", "float32"): [1, 7, 8, 9, 10, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 26, 27, 28, 29],
    ("uint8", "float64"): [9, 10, 19, 20, 29, 30, 40],
    ("int8", "float32"): [1, 9, 10, 19, 20, 29, 30, 37, 38, 39, 40],
    ("float16", "float32"): [7, 8, 9, 10, 13, 14, 15, 16, 19, 20, 21, 22, 23, 24, 26, 27, 28, 29],
    ("float16", "float64"): [5],
    ("float32", "float32"): [9, 10, 19, 20, 29, 30, 37, 38, 39, 40],
    ("float64", "float64"): [1, 9, 10, 19, 20, 29, 30, 40],
    ("int32", "float32"): [1, 2, 3, 4, 5, 6, 7, 8, 17, 18, 20, 24, 31, 32],
    ("int64", "float64"): [1, 17, 20, 24],
    ("int64", "float32"): [3, 4],
    ("int32", "float64"): [3, 4],
}
NUMBA_CLASSES_OF_NARROW_VECTORS = {
    ("uint8", "float32"): [5, 9, 10, 13, 14, 15, 19, 20, 25, 37, 40],
    ("float16", "float32"): [5, 9, 10, 13, 14, 15, 19, 20, 25, 37, 40],
}

ESTIMATOR_CLASSES = {
    ("uint8", "float32"): 10,
    ("int8", "float32"): 10,
    ("float16", "float32"): 10,
    ("float32", "float32"): 10,
    ("float64", "float64"): 10,
    ("int32", "float32"): 20,
    ("int64", "float64"): 20,
    ("int64", "float32"): 4,
    ("int32", "float64"): 4,
}


@dataclass(frozen=True)
class Case:
    """One problem, how its arrays lie, and how it is solved.

    Attributes
    ----------
    types : (str, str)
        Of rows and weights; or of the columns of sparse rows, int32 or int64, and their values.
    """

    types: tuple[str, str]
    n: int
    d: int
    k: int
    batch_size: int
    options: str
    placement: Placement
    weighted: bool = True
    shifted: bool = True
    n_threads: int = 1

    @property
    def sparse(self) -> bool:
        return self.types in SPARSE


def placements() -> Iterator[Placement]:
    """All ways in which arrays may lie, each with each, in an order that mixes them."""
    number = 0
    while True:
        edge = ("end", "start")[number % 2]
        rows = ROWS[number // 2 % 4]
        turned = number // 8 % 2 == 1
        shift = (0, 1, 2, 3, 0)[number // 3 % 5]
        yield Placement(edge, rows, turned, shift, ACCESS[number % 3])
        number += 1


def classes_of(backend: Backend) -> dict[tuple[str, str], list[int]]:
    """Return the types that the short list holds of a backend, and the numbers of classes."""
    if backend.name == "numba":
        wide = backend.instruction_set in ("amx", "avx512")
        return NUMBA_CLASSES if wide else NUMBA_CLASSES_OF_NARROW_VECTORS
    if backend.instruction_set == "amx":  # all else is what "avx512" runs
        return {("uint8", "float32"): list(range(8, 41))}
    return {types: list(range(1, 41)) for types in (*DENSE, *SPARSE)}


def short_list(backend: Backend) -> Iterator[Case]:
    """For all types every d of 1 to 70 and every k of 1 to 40; every batch of 1 to 129."""
    names, lying, batches = list(STEP_OPTIONS), placements(), itertools.count()
    for types, classes in classes_of(backend).items():
        for number in range(CASES_OF_A_TYPE):
            batch_size = 1 + 50 * next(batches) % 129  # 50 and 129 have no common divisor
            yield Case(
                types,
                n=max(1, batch_size + (0, 1, -3, 7)[number % 4]),
                d=1 + number % 70,
                k=classes[number % len(classes)],
                batch_size=batch_size,
                options=names[number % len(names)],
                placement=next(lying),
                weighted=number % 3 > 0,
                shifted=number % 4 > 0,
            )
        for n_threads in (1, 2, 3, 5):
            many = 70 if backend.name == "c" and n_threads == 3 else classes[-1]
            yield Case(types, 140, 600, many, 129, "everything", next(lying), n_threads=n_threads)
    if backend.name == "numba" or backend.instruction_set != "amx":
        yield from cases_of_many_classes(lying)


def cases_of_many_classes(lying: Iterator[Placement]) -> Iterator[Case]:
    """For all types of dense rows every d of 1 to 70, and batches around bundles and panels."""
    names = list(STEP_OPTIONS)
    for types in DENSE:
        for d in range(1, 71):
            batch_size = 1 + 50 * d % 129
            yield Case(
                types,
                n=batch_size + (0, 1, 7)[d % 3],
                d=d,
                k=MANY_CLASSES[d % len(MANY_CLASSES)],
                batch_size=batch_size,
                options=names[d % len(names)],
                placement=next(lying),
                weighted=d % 3 > 0,
                shifted=d % 4 > 0,
                n_threads=1 + d % 3,
            )
        for n in (255, 257, 1030):
            yield Case(types, n, 40, MANY_CLASSES[0], n, "everything", next(lying), n_threads=2)


def long_list(backend: Backend, seconds: float, seed: int) -> Iterator[Case]:
    """Draw cases at random."""
    print(f"seed {seed}", flush=True)
    generator = np.random.default_rng(seed)
    kinds = [(types, k) for types in (*DENSE, *SPARSE) for k in (*range(1, 41), *MANY_CLASSES)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        types, k = kinds[generator.integers(len(kinds))]
        few = generator.random() < 0.9
        batch_size = int(generator.integers(1, 130 if few else 300))
        yield Case(
            types,
            n=int(generator.integers(1, 130 if few else 400)),
            d=int(generator.integers(1, 71 if few else 2500)),
            k=k,
            batch_size=batch_size,
            options=str(generator.choice(list(STEP_OPTIONS))),
            placement=Placement(
                str(generator.choice(["end", "start"])),
                str(generator.choice(ROWS)),
                bool(generator.integers(2)),
                int(generator.integers(8)),
                str(generator.choice(ACCESS)),
            ),
            weighted=bool(generator.integers(2)),
            shifted=bool(generator.integers(2)),
            n_threads=1 if few else int(generator.integers(1, 6)),
        )


def make(case: Case) -> Problem:
    """Return the case's problem; the first seed that has a good one."""
    n = max(case.n, LEAST_ROWS)
    for seed in range(100):
        try:
            if case.sparse:
                index_type, dtype = case.types
                whole = make_sparse_problem(
                    n, case.d, case.k, dtype, index_type, case.weighted, seed
                )
            else:
                whole = make_problem(
                    n, case.d, case.k, *case.types, case.weighted, case.shifted, seed
                )
        except AssertionError:
            continue
        problem = last_rows(whole, case.n)
        if problem.dense_rows.any():
            return problem
    raise AssertionError("no problem of this shape is good")


def last_rows(problem: Problem, n: int) -> Problem:
    samples = problem.samples
    last = np.arange(len(samples.rows) - n, len(samples.rows))
    return replace(problem, samples=samples.part(last))


def run(backend: Backend, case: Case) -> None:
    """Assert that all kernels do what the reference does, and touch nothing else."""
    problem = make(case)
    guarded = guard(backend, case.placement)
    check_passes(guarded, problem, case.n_threads, any_shape=True)
    steps: Any = case.batch_size, case.options, case.n_threads
    check_steps(guarded, problem, *steps, any_shape=True)


# ------------------------------------------------------------------ by way of the estimator


def fit(case: Case, solver: str, backend: str, lying: Any) -> list[bytes]:
    """Return what is learned of rows that lie somewhere, as bytes."""
    problem = make(case)
    samples = problem.samples
    X: Any = samples.rows.matrix
    y, weight = samples.labels, samples.sample_weight
    if lying is not None:
        y, weight = (place(array, lying, shift=lying.shift) for array in (y, weight))
        if case.sparse:
            arrays = (X.data, X.indices, X.indptr)
            placed = csr_array(X.shape, dtype=X.dtype)
            placed.data, placed.indices, placed.indptr = (
                place(array, lying, shift=lying.shift) for array in arrays
            )
            X = placed
        else:
            X = place_rows(X, lying)
    options: dict[str, Any] = {"tol": 0} if solver == "sgd" else {}
    model = LogisticRegression(
        solver=solver, backend=backend, max_epochs=3, batch_size=32, random_state=0, **options
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)
        model.fit(X, y, sample_weight=weight, X_val=X, y_val=y)
    return [array.tobytes() for array in (model.coef_, model.predict_proba(X))]


def run_estimators(backend: Backend) -> int:
    """Assert that a fit is the same wherever its rows lie, with the arrays as users have them."""
    count = 0
    for types in classes_of(backend):
        if types not in ESTIMATOR_CLASSES:  # not what the estimator chooses for these rows
            continue
        case = Case(types, 150, 37, ESTIMATOR_CLASSES[types], 32, "plain", Placement())
        for solver in ("sgd", "lbfgs"):
            right = fit(case, solver, backend.name, None)
            for number, rows in enumerate(ROWS):
                lying = Placement(
                    ("end", "start")[number % 2], rows, number > 1, number % 3, ACCESS[number % 3]
                )
                print(f"estimator, {types}, {solver}, {lying}", flush=True)
                assert fit(case, solver, backend.name, lying) == right
                count += 1
    return count


def use_library(path: str) -> None:
    """Let an extension module be the C backend's; to be called before that is loaded."""
    name = "fastlin._native"
    assert name not in sys.modules
    loader = importlib.machinery.ExtensionFileLoader(name, path)
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(sys.modules[name])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("backend", choices=("c", "numba"))
    parser.add_argument("--seconds", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--library")
    options = parser.parse_args()
    if options.library:
        use_library(options.library)
    backend = get_backend(options.backend)
    if backend.name == "numba":
        # Its working memory, which it takes from blocks: a block for each array.
        module: Any = importlib.import_module("fastlin.kernels.jit.call_memory")
        module.aligned = lambda size: on_cache_lines((size,), np.uint8)
        module.BLOCK = 0
    if options.seconds:
        cases = long_list(backend, options.seconds, options.seed)
    else:
        cases = short_list(backend)
    count = 0 if options.seconds else run_estimators(backend)
    for case in cases:
        print(case, flush=True)
        run(backend, case)
        count += 1
    print(f"{count} cases on {backend.instruction_set}", flush=True)


if __name__ == "__main__":
    try:
        main()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    # Exit at once: at Python's regular end NumPy would call the guard of its memory.
    os._exit(0)
