"""Products of uint8 rows on a matrix unit."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from agreement import all_bits, check_passes, check_steps
from problems import Problem, make_options, make_order, make_parameters, make_problem

from fastlin.kernels import Backend, backends, reference


@pytest.fixture(scope="module", params=["numba", "c"])
def backend(request: pytest.FixtureRequest) -> Backend:
    backend = backends()[request.param]
    if backend.instruction_set != "amx":
        pytest.skip(f"{backend.name} runs on {backend.instruction_set or 'nothing'} here")
    return backend


def problem_of(n: int, d: int, k: int) -> Problem:
    return make_problem(n, d, k, "uint8", "float32", weighted=True, shifted=True)


# Classes around blocks of four and five; features around 16, 64, slices of 128 and eight slices.
@pytest.mark.parametrize("k", [8, 9, 10, 11, 12, 13, 15, 16, 31])
@pytest.mark.parametrize("d", [1, 15, 64, 65, 255, 256, 784])
def test_it_agrees_with_the_reference(backend: Backend, d: int, k: int) -> None:
    problem = problem_of(300, d, k)
    check_passes(backend, problem, 2)
    check_steps(backend, problem, 128, "plain", 2)


@pytest.mark.parametrize("batch_size", [64, 65, 97, 127, 129, 256, 300])
@pytest.mark.parametrize("name", ["plain", "momentum", "nesterov", "average", "everything"])
def test_batches_of_parts_of_a_tile_and_of_several(
    backend: Backend, batch_size: int, name: str
) -> None:
    check_steps(backend, problem_of(300, 100, 17), batch_size, name)


def test_many_features(backend: Backend) -> None:
    problem = problem_of(130, 70_001, 8)
    check_passes(backend, problem)
    assert all_bits(backend, problem, 3) == all_bits(backend, problem, 1)


def test_the_largest_numbers_fit_in_32_bits(backend: Backend) -> None:
    """All pixels are white and all weights the largest of their class: no sum can be larger."""
    n, d, k = 130, 33_000, 8
    problem = problem_of(n, d, k)
    rows = np.full((n, d), 255, np.uint8)
    for largest in (1.0, np.nextafter(np.float32(1), np.float32(0)), 0.9922):
        weights = np.full((k, d), np.float32(largest / (255 * d)), np.float32)
        weights[::2] *= -1
        samples = replace(problem.samples, rows=rows, shift=None)
        white = Problem(samples, weights, np.zeros(k, np.float32))
        got = backend.loss_gradient(white.samples, *white.model, 2)
        right = reference.loss_gradient(white.in_float64().samples, *white.in_float64().model)
        np.testing.assert_allclose(got[0], right[0], rtol=1e-6)
        np.testing.assert_allclose(got[1], right[1], rtol=1e-5, atol=1e-6 * np.abs(right[1]).max())


def test_a_weight_far_larger_than_the_others_leaves_them_their_digits(backend: Backend) -> None:
    """A feature with hardly any variance has such weights after standardising."""
    problem = problem_of(300, 784, 10)
    rows = problem.samples.rows.to_array().copy()
    rows[:, 5] = np.arange(300) % 2
    weights = problem.weights.copy()
    weights[:, 5] = 1000 * np.abs(weights).max()
    weights[:, 5] *= np.linspace(-1e-2, 1e-2, 10)
    samples = replace(problem.samples, rows=rows, shift=None)
    check_passes(backend, Problem(samples, weights, problem.intercept))


def test_classes_without_weights(backend: Backend) -> None:
    problem = problem_of(200, 100, 10)
    weights = problem.weights.copy()
    weights[3] = 0
    weights[7] = 1e-38
    check_passes(backend, Problem(problem.samples, weights, problem.intercept))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_shows_in_the_loss(backend: Backend, bad: float) -> None:
    problem = problem_of(256, 100, 10)
    problem.weights[4, 77] = bad
    parameters = make_parameters(problem)
    losses = np.zeros(2)
    backend.sgd_steps(
        problem.samples, make_order(256, 1), parameters, make_options(problem, 128, 2), losses, 1
    )
    assert np.isnan(losses).all()
    assert np.isnan(parameters.weights).any()


def test_the_same_bits_on_any_number_of_threads(backend: Backend) -> None:
    for d, k in ((784, 10), (5000, 13), (64, 100)):
        problem = problem_of(300, d, k)
        alone = all_bits(backend, problem, 1)
        for n_threads in (2, 3, 4):
            assert all_bits(backend, problem, n_threads) == alone


@contextmanager
def without_matrix_unit(backend: Backend) -> Iterator[None]:
    """Let the backend use only vectors."""
    if backend.name == "c":
        from fastlin._native import ffi, lib

        assert ffi.string(lib.fastlin_choose_instruction_set(b"avx512")) == b"avx512"
        try:
            yield
        finally:
            lib.fastlin_choose_instruction_set(b"amx")
        return
    from fastlin.kernels.jit import calls

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calls, "instruction_set", lambda: "avx512")
        yield


def test_few_products_are_left_to_vectors(backend: Backend) -> None:
    """A choice by shape, so that the narrower instruction set gives the very same bits."""
    few, many = problem_of(100, 50, 7), problem_of(300, 50, 10)
    of_unit = [all_bits(backend, problem, 1) for problem in (few, many)]
    with without_matrix_unit(backend):
        of_vectors = [all_bits(backend, problem, 1) for problem in (few, many)]
    assert of_unit[0] == of_vectors[0]
    assert of_unit[1] != of_vectors[1]


def test_the_matrix_unit_is_used_where_the_environment_asks_for_no_less(backend: Backend) -> None:
    code = "import sys; from fastlin.kernels import get_backend\n"
    code += "print(get_backend(sys.argv[1]).instruction_set)"
    for asked, given in (("", "amx"), ("amx", "amx"), ("avx512", "avx512")):
        done = subprocess.run(
            [sys.executable, "-c", code, backend.name],
            env={**os.environ, "FASTLIN_ISA": asked},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == given


# ------------------------------------------------------------------ finding it

VECTORS = {"avx512f", "avx512bw", "avx512dq", "avx512vl"}
NEEDED = {*VECTORS, "avx512vbmi", "amx-tile", "amx-int8"}

ASK_LINUX = """
import ctypes
number, request, registers = map(ctypes.c_long, (158, 0x1023, 18))
raise SystemExit(ctypes.CDLL(None).syscall(number, request, registers) != 0)
"""


@pytest.mark.parametrize("name", ["numba", "c"])
def test_the_matrix_unit_of_this_machine_is_found(name: str) -> None:
    """If it is not found, all tests above are skipped."""
    if os.environ.get("FASTLIN_ISA"):
        pytest.skip("FASTLIN_ISA chooses")
    if not backends()[name].available:
        pytest.skip(f"{name} is not available")
    information = Path("/proc/cpuinfo")
    flags = (
        set(information.read_text().replace("_", "-").split()) if information.exists() else set()
    )
    if not flags >= NEEDED:
        pytest.skip("this processor has no matrix unit")
    if subprocess.run([sys.executable, "-c", ASK_LINUX]).returncode:
        pytest.skip("this system does not let a process use the matrix unit")
    assert backends()[name].instruction_set == "amx"


@pytest.mark.parametrize("missing", [None, *sorted(NEEDED)])
def test_numba_asks_for_each_instruction(
    missing: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = pytest.importorskip("fastlin.kernels.jit.launch")
    from fastlin.kernels.jit import processor
    from fastlin.kernels.jit.matrix_unit import detection

    features = ",".join(f"{'-' if name == missing else '+'}{name}" for name in sorted(NEEDED))
    monkeypatch.setattr(processor, "target", lambda: ("any", features))
    monkeypatch.delenv("FASTLIN_ISA", raising=False)
    for permitted in (True, False):
        monkeypatch.setattr(detection, "permitted", lambda permitted=permitted: permitted)
        unit = missing is None and permitted
        vectors = "baseline" if missing in VECTORS else "avx512"
        assert launch.instruction_set.__wrapped__() == ("amx" if unit else vectors)


def test_other_systems_have_no_matrix_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    detection = pytest.importorskip("fastlin.kernels.jit.matrix_unit.detection")
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    assert not detection.permitted()
