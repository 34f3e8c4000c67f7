"""So many classes that the threads of a step share the computation of its residuals.

With fewer than about sixty classes every thread computes all residuals for itself. With more, the
kernels take another path, with one more barrier and shared arrays. They take a third one if the
classes fill the vectors: vectors that hold classes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import STEP_OPTIONS, all_bits, check, check_passes, check_steps, run_steps
from cuts import every_thread_taken
from problems import Problem, make_order, make_problem
from processes import first_of, thorough

from fastlin.kernels import Backend, backends, blocking
from fastlin.kernels.arguments import WEIGHT_TYPES
from fastlin.kernels.blocking import PANEL, REGISTERS, RESIDUALS_OF_ONE, dense_blocking

N_CLASSES = 100
TYPES = [(rows, weights) for rows, of_rows in WEIGHT_TYPES.items() for weights in of_rows]
WHOLE, FILLED_UP = 64, 95
"""Classes that vectors of 16, 8 or 4 lanes hold, without and with lanes to spare."""

SOME_TYPES = [("float32", "float32"), ("uint8", "float32"), ("float64", "float64")]

of_types = pytest.mark.parametrize(
    ("row_type", "weight_type"),
    first_of(
        len(SOME_TYPES), [*SOME_TYPES, *(types for types in TYPES if types not in SOME_TYPES)]
    ),
)


@pytest.mark.parametrize("name", ["numba", "c"])
@pytest.mark.parametrize("n_rows", [300, 45])
def test_threads_that_share_residuals_agree_with_the_reference(name: str, n_rows: int) -> None:
    backend = backends()[name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    assert N_CLASSES * PANEL > RESIDUALS_OF_ONE
    problem = make_problem(n_rows, 784, N_CLASSES, "uint8", "float32", weighted=True, shifted=True)
    for features_in_vectors in (True, False):
        with every_thread_taken(**({"MANY_CLASSES": N_CLASSES + 1} if features_in_vectors else {})):
            alone = all_bits(backend, problem, 1)
            for n_threads in (2, 3, 5):
                check(backend, problem, n_threads)
                # Several times: a missing barrier shows now and then only.
                for _ in range(5):
                    assert all_bits(backend, problem, n_threads) == alone


# ------------------------------------------------------------------ vectors that hold classes


@pytest.fixture(params=["numba", "c"])
def backend(request: pytest.FixtureRequest) -> Backend:
    found = backends()[request.param]
    if not found.available:
        pytest.skip(f"{found.reason}; {found.remedy}")
    return found


def holds_classes(
    k: int, isa: str = "avx512", types: tuple[str, str] = ("float32", "float32"), steps: bool = True
) -> bool:
    answers = {
        dense_blocking(
            d, k, 1000, batch_size, types, REGISTERS[isa], n_threads, steps=steps
        ).classes_in_lanes
        for d in (3, 768, 4096)
        for batch_size in (20, 1000)
        for n_threads in (1, 64)
    }
    assert len(answers) == 1
    return answers.pop()


def test_vectors_hold_classes_that_fill_them() -> None:
    """By types and classes alone."""
    assert [k for k in range(1, 70) if not holds_classes(k)] == [
        *range(1, 32),
        *range(33, 39),
        *(49, 50, 51),
    ]
    assert all(holds_classes(k) for k in range(52, 1500))
    assert [k for k in range(1, 129) if holds_classes(k, steps=False)] == [
        *(64, 77, 78, 79, 80, 93, 94, 95, 96, 108, 109, 110, 111, 112),
        *range(124, 129),
    ]
    assert all(holds_classes(k, steps=False) for k in range(500, 1500))
    assert holds_classes(100, "avx2")
    assert holds_classes(100, types=("float64", "float64"))
    assert not holds_classes(100, "baseline")
    assert holds_classes(100, "baseline", ("uint8", "float32"))
    assert not holds_classes(1000, "amx", ("uint8", "float32"))
    assert holds_classes(1000, "amx", ("uint8", "float32"), steps=False)
    assert holds_classes(1000, "amx")


@pytest.mark.parametrize("k", [32, 40, 52, 63])
def test_few_classes_that_leave_lanes_empty(backend: Backend, k: int) -> None:
    """One slice of two or three vectors, or two slices, which threads divide between them."""
    problem = make_problem(300, 100, k, "float32", "float32", weighted=True, shifted=True)
    with every_thread_taken():
        alone = all_bits(backend, problem, 1)
        for n_threads in (2, 3, 5, 13):
            assert all_bits(backend, problem, n_threads) == alone
        for options in STEP_OPTIONS:
            check_steps(backend, problem, 128, options, 3)


@of_types
def test_the_chosen_path_is_taken(
    backend: Backend, row_type: str, weight_type: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The paths add up in different orders, so the last bits tell which one was taken."""
    assert backend.instruction_set is not None
    types = row_type, weight_type
    if not dense_blocking(
        100, FILLED_UP, 300, 300, types, REGISTERS[backend.instruction_set], 1, steps=True
    ).classes_in_lanes:
        pytest.skip(f"not chosen for {types} on {backend.instruction_set}")
    problem = make_problem(300, 100, FILLED_UP, *types, weighted=True, shifted=True)
    order = make_order(300, 1)
    found = []
    for least in (blocking.MANY_CLASSES, FILLED_UP + 1):
        monkeypatch.setattr(blocking, "MANY_CLASSES", least)
        monkeypatch.setattr(blocking, "MANY_CLASSES_OF_A_PASS", least)
        blocking.dense_blocking.cache_clear()
        _, gradient, _ = backend.loss_gradient(problem.samples, *problem.model, 1)
        parameters, _ = run_steps(backend, problem, order, 300, "plain")
        logits = backend.logits(problem.samples, *problem.model, 1)
        found.append((gradient, parameters.weights, logits))
    blocking.dense_blocking.cache_clear()
    for one, other in zip(*found, strict=True):
        assert (one != other).any()


@of_types
def test_batches_around_a_bundle_and_a_panel(
    backend: Backend, row_type: str, weight_type: str
) -> None:
    problem = make_problem(400, 19, FILLED_UP, row_type, weight_type, weighted=True, shifted=True)
    for batch_size in (8, 9, 16, 17, 100, 127, 128, 129, 255, 256, 257, 272, 399, 400, 1000):
        check_steps(backend, problem, batch_size, "everything")
    small = make_problem(30, 19, FILLED_UP, row_type, weight_type)
    for batch_size in (1, 7):
        check_steps(backend, small, batch_size, "plain")


@of_types
def test_numbers_of_rows(backend: Backend, row_type: str, weight_type: str) -> None:
    """Of a bundle, a panel, and the panels whose gradient is added up in the weights' type."""
    for n in (1, 8, 9, 255, 256, 257, 400, 1023, 1024, 1025, 2300):
        problem = make_problem(
            max(n, 12), 20, FILLED_UP, row_type, weight_type, weighted=True, shifted=True
        )
        samples = problem.samples.part(slice(n))
        check_passes(backend, replace(problem, samples=samples), any_shape=True)


@of_types
def test_widths(backend: Backend, row_type: str, weight_type: str) -> None:
    for d in (*range(1, 71, 3), 16, 32, 64, 768, 2050):
        problem = make_problem(
            130, d, FILLED_UP, row_type, weight_type, weighted=True, shifted=True
        )
        check(backend, problem, n_threads=2)


@of_types
def test_numbers_of_classes(backend: Backend, row_type: str, weight_type: str) -> None:
    """Slices of two and of three vectors, full and filled up."""
    for k in (64, 68, 72, 76, 79, 80, 96, 111, 112, 125, 128, 143, 144, 251, 300):
        for weighted in (False, True):
            problem = make_problem(
                140, 33, k, row_type, weight_type, weighted=weighted, shifted=not weighted
            )
            check(backend, problem)


@pytest.mark.parametrize("options", STEP_OPTIONS)
@of_types
def test_options_of_steps(backend: Backend, row_type: str, weight_type: str, options: str) -> None:
    for n, batch_size in ((150, 32), (300, 300)):
        problem = make_problem(n, 33, FILLED_UP, row_type, weight_type, weighted=True, shifted=True)
        check_steps(backend, problem, batch_size, options)


@pytest.mark.parametrize("k", [WHOLE, FILLED_UP])
@of_types
def test_threads_change_no_bits(backend: Backend, row_type: str, weight_type: str, k: int) -> None:
    """More threads than slices, too."""
    problem = make_problem(300, 784, k, row_type, weight_type, weighted=True, shifted=True)
    alone = all_bits(backend, problem, 1)
    for n_threads in (2, 3, 4, 5, 13):
        for _ in range(3):
            assert all_bits(backend, problem, n_threads) == alone


@pytest.mark.parametrize("layout", ["reversed", "every other row", "not aligned"])
@of_types
def test_layouts_of_rows(backend: Backend, row_type: str, weight_type: str, layout: str) -> None:
    problem = make_problem(140, 35, WHOLE, row_type, weight_type, weighted=True, shifted=True)
    rows = problem.samples.rows.values
    if layout == "reversed":
        other = rows[::-1].copy()[::-1]
    elif layout == "every other row":
        other = np.repeat(rows, 2, axis=0)[::2]
    else:
        memory = np.zeros(rows.nbytes + 1, np.uint8)
        memory[1:] = np.frombuffer(rows.tobytes(), np.uint8)
        other = memory[1:].view(row_type).reshape(rows.shape)
    same = Problem(replace(problem.samples, rows=other), *problem.model)
    assert all_bits(backend, same, 2) == all_bits(backend, problem, 2)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_not_finite_shows_in_the_loss(backend: Backend, dtype: str, bad: float) -> None:
    problem = make_problem(200, 33, FILLED_UP, dtype, dtype)
    for at in (0, 20, 32):
        weights = problem.weights.copy()
        weights[-1, at] = bad
        loss_sum, _, _ = backend.loss_gradient(problem.samples, weights, problem.intercept, 1)
        assert not np.isfinite(loss_sum)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_huge_logits(backend: Backend, dtype: str) -> None:
    """Logits of +-1e4: a sure class, right or wrong, and exact residuals of 0, 1 and -1."""
    rows = np.array([[1e4], [1e4], [-1e4], [-1e4]], dtype)
    problem = make_problem(12, 1, FILLED_UP, dtype, dtype)
    weights = np.zeros((FILLED_UP, 1), dtype)
    weights[-1] = 1
    labels = np.array([FILLED_UP - 1, 0, 0, FILLED_UP - 1], np.int32)
    samples = replace(problem.samples, rows=rows, labels=labels)
    loss_sum, by_weights, by_intercept = backend.loss_gradient(
        samples, weights, np.zeros(FILLED_UP, dtype), 1
    )
    assert loss_sum == pytest.approx(1e4 + np.log(94) + 1e4 + np.log(94), rel=1e-6)
    assert by_intercept[-1] == pytest.approx(0, abs=1e-6)
    assert by_intercept[0] == pytest.approx(-2 + 2 / 94, rel=1e-5)
    assert by_intercept[1] == pytest.approx(2 / 94, rel=1e-5)
    assert by_weights[-1, 0] == pytest.approx(2e4, rel=1e-6)


def run_agreement(name: str, types: list[tuple[str, str]], **environment: str) -> str:
    """Check a backend in a process of its own; return its instruction set."""
    tests = Path(__file__).parents[1]
    cases = [
        f"{d},{k},{row_type},{weight_type}"
        for row_type, weight_type in types
        for d, k in ((3, 79), (17, FILLED_UP), (784, WHOLE))
    ]
    paths = os.pathsep.join([str(tests), *sys.path])
    done = subprocess.run(
        [sys.executable, str(tests / "agreement.py"), name, *cases],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@thorough
def test_every_instruction_set_of_c() -> None:
    if not backends()["c"].available:
        pytest.skip("backend 'c' is not available")
    from fastlin._native import ffi, lib

    for isa in ffi.string(lib.fastlin_instruction_sets()).decode().split():
        assert run_agreement("c", TYPES, FASTLIN_ISA=isa) == isa


@thorough
@pytest.mark.skipif(platform.machine() != "x86_64", reason="features of x86 processors")
def test_narrower_vectors_of_numba() -> None:
    """Of half and a quarter of the widest registers, of which there are half as many."""
    numba = backends()["numba"]
    if not numba.available:
        pytest.skip("backend 'numba' is not available")
    sse = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt"
    # Types of weights apart, since Numba compiles for each.
    avx2 = [types for types in TYPES if types[1] == "float32"]
    narrower = {
        "avx2": ("haswell", f"{sse},+avx,+avx2,+fma,+bmi,+bmi2,+f16c", avx2),
        "baseline": ("nehalem", sse, [("uint8", "float64")]),
    }
    if numba.instruction_set == "baseline":
        del narrower["avx2"]
    for isa, (processor, features, types) in narrower.items():
        environment = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
        assert run_agreement("numba", types, **environment) == isa
