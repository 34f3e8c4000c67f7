"""The reference checks the Numba and the C kernels.

Numba compiles for every pair of types and every size of a class block, about ten seconds each, so
its cases keep to `NUMBA_CASES`; all else about them is varied freely.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import oracles
import pytest
from agreement import STEP_OPTIONS, all_bits, check, check_passes, check_steps, run_steps
from problems import Problem, make_problem, make_sparse_problem
from processes import thorough
from tolerances import ELEMENTARY, EPSILON, assert_within

from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES, Backend, Parameters, Samples, StepOptions, backends
from fastlin.kernels.arguments import WEIGHT_TYPES

TESTS = Path(__file__).parents[1]
TYPES = [(rows, weights) for rows, of_rows in WEIGHT_TYPES.items() for weights in of_rows]
FEATURES = [1, 3, 15, 16, 17, 64, 100, 784, 2050]

# Row type, weight type, classes: one class block of each size that the widest vectors use, but for
# that of two, since two classes have one logit.
NUMBA_CASES = [
    ("uint8", "float32", 1),
    ("uint8", "float32", 7),
    ("uint8", "float32", 10),
    ("uint8", "float64", 4),
    ("uint8", "float64", 5),
    ("int8", "float32", 1),
    ("int8", "float32", 10),
    ("float16", "float32", 7),
    ("float16", "float32", 10),
    ("float16", "float64", 5),
    ("float32", "float32", 3),
    ("float64", "float64", 1),
    ("float64", "float64", 6),
]
C_CASES = [(*types, k) for types in TYPES for k in (*range(1, 11), 13, 40)]
CASES = [("numba", *case) for case in NUMBA_CASES] + [("c", *case) for case in C_CASES]
FEW_CASES = [("numba", *case) for case in NUMBA_CASES]
FEW_CASES += [("c", *types, k) for types in TYPES for k in (1, 7, 10)]
ONE_CASE_EACH = [("numba", "uint8", "float32", 10), ("c", "uint8", "float32", 10)]

cases = pytest.mark.parametrize(("name", "row_type", "weight_type", "k"), CASES)
few_cases = pytest.mark.parametrize(("name", "row_type", "weight_type", "k"), FEW_CASES)
one_case_each = pytest.mark.parametrize(("name", "row_type", "weight_type", "k"), ONE_CASE_EACH)
fast_backends = pytest.mark.parametrize("name", ["numba", "c"])


def backend_or_skip(name: str) -> Backend:
    """Return a backend; another file tests that no requested backend is missing."""
    reason = backends()[name].reason
    if reason is not None:
        pytest.skip(f"backend {name!r} is not available: {reason}")
    return backends()[name]


# ------------------------------------------------------------------ agreement with the reference


@cases
def test_agreement(name: str, row_type: str, weight_type: str, k: int) -> None:
    backend = backend_or_skip(name)
    for d in (17, 100):
        for weighted in (False, True):
            for shifted in (False, True):
                problem = make_problem(131, d, k, row_type, weight_type, weighted, shifted)
                check(backend, problem)


@few_cases
def test_widths_around_the_lanes(name: str, row_type: str, weight_type: str, k: int) -> None:
    for d in FEATURES:
        problem = make_problem(130, d, k, row_type, weight_type, weighted=True, shifted=True)
        check(backend_or_skip(name), problem, n_threads=2)


@few_cases
def test_numbers_of_rows(name: str, row_type: str, weight_type: str, k: int) -> None:
    """Sizes around those of the register tiles, of the lanes, and of a tile's 128 rows."""
    for n in (11, 16, 63, 127, 128, 129, 300):
        problem = make_problem(n, 20, k, row_type, weight_type, weighted=True, shifted=True)
        check_passes(backend_or_skip(name), problem)


@few_cases
def test_batches_around_a_tile(name: str, row_type: str, weight_type: str, k: int) -> None:
    """Batches of one row, of about one tile, of several, and an incomplete one at the end."""
    problem = make_problem(301, 19, k, row_type, weight_type, weighted=True, shifted=True)
    for batch_size in (7, 127, 128, 129, 256, 257, 301, 1000):
        check_steps(backend_or_skip(name), problem, batch_size, "everything")
    small = make_problem(30, 19, k, row_type, weight_type)
    check_steps(backend_or_skip(name), small, 1, "plain")


@pytest.mark.parametrize("options", STEP_OPTIONS)
@few_cases
def test_options_of_steps(name: str, row_type: str, weight_type: str, k: int, options: str) -> None:
    problem = make_problem(150, 33, k, row_type, weight_type, weighted=True, shifted=True)
    check_steps(backend_or_skip(name), problem, 32, options)


@pytest.mark.parametrize(("name", "k"), [("c", 65), ("c", 70), ("numba", 70)])
def test_so_many_classes_that_threads_share_the_residual(name: str, k: int) -> None:
    problem = make_problem(300, 784, k, "uint8", "float32", weighted=True, shifted=True)
    for n_threads in (1, 3):
        check(backend_or_skip(name), problem, n_threads)


@one_case_each
def test_no_rows(name: str, row_type: str, weight_type: str, k: int) -> None:
    backend = backend_or_skip(name)
    problem = make_problem(20, 5, k, row_type, weight_type)
    nothing = problem.samples.part(slice(0))
    loss_sum, by_weights, by_intercept = backend.loss_gradient(nothing, *problem.model, 2)
    assert loss_sum == 0
    assert not by_weights.any()
    assert not by_intercept.any()
    assert by_weights.shape == (k, 5)
    assert backend.score(nothing, *problem.model, 2) == (0, 0)
    assert backend.logits(nothing, *problem.model, 2).shape == (0, k)
    parameters, _ = run_steps(backend, problem, np.empty(0, np.int64), 8, "plain")
    np.testing.assert_array_equal(parameters.weights, problem.weights)


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_huge_logits_are_finite(name: str) -> None:
    """Logits of +-1e4, for correct and wrong labels."""
    for k, labels in ((1, [0, 1, 0, 1]), (10, [0, 9, 9, 0])):
        rows = np.array([[1e4], [1e4], [-1e4], [-1e4]])
        samples = Samples(rows, np.array(labels, np.int32))
        weights, intercept = np.zeros((k, 1)), np.zeros(k)
        weights[-1] = 1
        loss_sum, by_weights, by_intercept = backend_or_skip(name).loss_gradient(
            samples, weights, intercept, 1
        )
        logits = (rows @ weights.T).tolist()
        pairs = list(zip(logits, labels, strict=True))
        right = sum(oracles.loss_of(z, y) for z, y in pairs)
        assert loss_sum == pytest.approx(right, rel=1e-15)
        residual = np.array([oracles.residual_of(z, y) for z, y in pairs])
        np.testing.assert_allclose(by_intercept, residual.sum(axis=0), rtol=1e-15, atol=1e-300)
        np.testing.assert_allclose(by_weights, residual.T @ rows, rtol=1e-15, atol=1e-300)
        assert backend_or_skip(name).score(samples, weights, intercept, 1)[0] == loss_sum


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("k", [1, 10])
@pytest.mark.parametrize("name", BACKEND_NAMES)
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # by NumPy, which is right
def test_what_is_not_finite_shows_in_the_loss(name: str, k: int, bad: float) -> None:
    problem = make_problem(200, 33, k)
    for at in (0, 20, 32):
        weights = problem.weights.copy()
        weights[0, at] = bad
        loss_sum, _, _ = backend_or_skip(name).loss_gradient(
            problem.samples, weights, problem.intercept, 1
        )
        assert not np.isfinite(loss_sum)
        assert not np.isfinite(
            backend_or_skip(name).score(problem.samples, weights, problem.intercept, 1)[0]
        )


@one_case_each
def test_ties_go_to_the_first_class(name: str, row_type: str, weight_type: str, k: int) -> None:
    rows = np.ones((k, 3), row_type)
    samples = Samples(rows, np.arange(k, dtype=np.int32))
    intercept = np.zeros(k, weight_type)
    intercept[[4, 7]] = 1
    weights = np.zeros((k, 3), weight_type)
    assert backend_or_skip(name).score(samples, weights, intercept, 1)[1] == 1
    only_4 = Samples(rows[:1], np.array([4], np.int32))
    assert backend_or_skip(name).score(only_4, weights, intercept, 1)[1] == 1


# ------------------------------------------------------------------ exp and log

FUNCTION_CASES = [(name, dtype) for name in ("numba", "c") for dtype in ("float32", "float64")]


def row_losses(
    backend: Backend, rows: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Return the loss of each row, from steps of one row that change nothing."""
    (k, d), dtype = weights.shape, weights.dtype
    parameters = Parameters(weights.copy(), np.zeros(k, dtype))
    options = StepOptions(1, np.zeros(len(rows)), 0.0, np.zeros(d, dtype))
    losses = np.full(len(rows), np.nan)
    order = np.arange(len(rows))
    backend.sgd_steps(Samples(rows, labels), order, parameters, options, losses, 1)
    np.testing.assert_array_equal(parameters.weights, weights)
    return losses


@pytest.mark.parametrize(("name", "dtype"), FUNCTION_CASES)
def test_loss_and_slope_of_the_sigmoid(name: str, dtype: str) -> None:
    epsilon, lowest = EPSILON[dtype], {"float32": -87.0, "float64": -708.0}[dtype]
    z = np.concatenate([np.linspace(-1.5, 1.5, 301) * -lowest, np.linspace(-3, 3, 301)])
    z = np.sort(z.astype(dtype))
    one = np.ones((1, 1), dtype)
    for label in (0, 1):
        labels = np.full(len(z), label, np.int32)
        right = np.array([oracles.sigmoid_loss(float(v), label) for v in z])
        got = row_losses(backend_or_skip(name), z[:, np.newaxis], labels, one)
        # max(z, 0) - y z rounds at the size of z, and is exact if the two do not cancel.
        cancelled = np.where((z > 0) & (label == 1), np.abs(z), 0)
        allowed = epsilon * (ELEMENTARY * right + cancelled) + 2 * np.exp(lowest)
        assert_within(got, right, allowed)
        right = np.array([oracles.sigmoid(float(v)) - label for v in z])
        residual = [
            backend_or_skip(name).loss_gradient(
                Samples(v.reshape(1, 1), labels[:1]), one, np.zeros(1, dtype), 1
            )[2][0]
            for v in z
        ]
        allowed = epsilon * (ELEMENTARY * np.abs(right) + label) + 2 * np.exp(lowest)
        assert_within(residual, right, allowed)


@pytest.mark.parametrize(("name", "dtype"), FUNCTION_CASES)
def test_loss_of_the_softmax(name: str, dtype: str) -> None:
    """The logarithm's argument ranges from 1, for a certain class, to 10, for equal classes."""
    generator = np.random.default_rng(0)
    spread = np.geomspace(1e-3, 60, 400)[:, np.newaxis]
    logits = (generator.standard_normal((400, 10)) * spread).astype(dtype)
    labels = generator.integers(0, 10, 400).astype(np.int32)
    right = [oracles.softmax_loss(z, y) for z, y in zip(logits.tolist(), labels, strict=True)]
    assert min(right) < 1e-3
    assert max(right) > 100
    got = row_losses(backend_or_skip(name), logits, labels, np.eye(10, dtype=dtype))
    # The loss is a difference of two logits and a logarithm.
    allowed = EPSILON[dtype] * (ELEMENTARY + 2 * np.abs(logits).max(axis=1))
    assert_within(got, right, allowed)


# ------------------------------------------------------------------ rows as they come

LAYOUTS = [
    "every other row",
    "part of the columns",
    "every other column",
    "any address",
    "read-only",
    "memory-mapped",
    "Fortran",
]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("name", "row_type", "weight_type"),
    [
        ("numba", "uint8", "float32"),
        ("numba", "float16", "float32"),
        ("numba", "float64", "float64"),
    ]
    + [("c", *types) for types in TYPES],
)
def test_layouts_of_rows(
    name: str, row_type: str, weight_type: str, layout: str, tmp_path: Path
) -> None:
    problem = make_problem(140, 35, 10, row_type, weight_type, weighted=True, shifted=True)
    rows = problem.samples.rows.values
    if layout == "every other row":
        wide = np.zeros((280, 35), row_type)
        wide[::2] = rows
        other = wide[::2]
        assert not other.flags.c_contiguous
    elif layout == "part of the columns":
        wide = np.zeros((140, 50), row_type)
        wide[:, 7:42] = rows
        other = wide[:, 7:42]
    elif layout == "every other column":
        wide = np.zeros((140, 70), row_type)
        wide[:, ::2] = rows
        other = wide[:, ::2]
    elif layout == "any address":
        other = np.frombuffer(b"-" + rows.tobytes(), row_type, offset=1).reshape(rows.shape)
        assert other.flags.aligned == (rows.itemsize == 1)
    elif layout == "read-only":
        other = rows.copy()
        samples = problem.samples
        for array in (other, *problem.model, samples.labels, samples.sample_weight, samples.shift):
            array.flags.writeable = False
    elif layout == "memory-mapped":
        np.save(tmp_path / "rows.npy", rows)
        other = np.load(tmp_path / "rows.npy", mmap_mode="r")
        assert isinstance(other, np.memmap)
    else:
        other = np.asfortranarray(rows)
    backend = backend_or_skip(name)
    same = Problem(replace(problem.samples, rows=other), *problem.model)
    assert all_bits(backend, same, 2) == all_bits(backend, problem, 2)
    np.testing.assert_array_equal(other, rows)


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_kernels_change_nothing_but_their_outputs(name: str) -> None:
    problem = make_problem(140, 35, 10, "uint8", "float32", weighted=True, shifted=True)
    before = make_problem(140, 35, 10, "uint8", "float32", weighted=True, shifted=True)
    all_bits(backend_or_skip(name), problem, 2)
    for field, value in vars(before.samples).items():
        np.testing.assert_array_equal(getattr(problem.samples, field), value)
    np.testing.assert_array_equal(problem.weights, before.weights)
    np.testing.assert_array_equal(problem.intercept, before.intercept)


@pytest.mark.parametrize("kind", ["dense", "sparse"])
@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_logits_need_no_labels(name: str, kind: str) -> None:
    """This includes rows that have weights and a shift."""
    problem = (
        make_problem(140, 35, 10, weighted=True, shifted=True)
        if kind == "dense"
        else make_sparse_problem(140, 30, 3, weighted=True)
    )
    bare = replace(problem.samples, labels=np.zeros(0, np.int32))
    backend = backend_or_skip(name)
    for n_threads in (1, 3):
        np.testing.assert_array_equal(
            backend.logits(bare, *problem.model, n_threads),
            backend.logits(problem.samples, *problem.model, n_threads),
        )


def test_c_says_which_types_it_lacks() -> None:
    backend = backend_or_skip("c")
    samples = Samples(np.ones((3, 2)), np.zeros(3, np.int32))
    model = np.zeros((2, 2), np.float32), np.zeros(2, np.float32)
    with pytest.raises(InputError, match="no kernel for these types of rows and weights"):
        backend.score(samples, *model, 1)


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize("d", [784, 2050])
@few_cases
def test_the_same_bits_on_any_number_of_threads(
    name: str, row_type: str, weight_type: str, k: int, d: int
) -> None:
    """This includes more threads than cores, and slices that threads share unevenly."""
    problem = make_problem(333, d, k, row_type, weight_type, weighted=True, shifted=True)
    bits = all_bits(backend_or_skip(name), problem, 1)
    for n_threads in (2, 3, 4, 5, 13):
        assert all_bits(backend_or_skip(name), problem, n_threads) == bits


@one_case_each
def test_the_same_bits_on_every_run(name: str, row_type: str, weight_type: str, k: int) -> None:
    problem = make_problem(333, 784, k, row_type, weight_type, weighted=True, shifted=True)
    assert len({all_bits(backend_or_skip(name), problem, 4) for _ in range(10)}) == 1


@fast_backends
def test_many_classes_give_the_same_bits_on_any_number_of_threads(name: str) -> None:
    problem = make_problem(333, 784, 70, "uint8", "float32", weighted=True, shifted=True)
    bits = all_bits(backend_or_skip(name), problem, 1)
    for n_threads in (2, 3, 5):
        assert all_bits(backend_or_skip(name), problem, n_threads) == bits


@one_case_each
def test_two_python_threads_train_at_once(
    name: str, row_type: str, weight_type: str, k: int
) -> None:
    problems = [make_problem(333, 784, k, row_type, weight_type, seed=seed) for seed in (1, 2)]
    backend = backend_or_skip(name)
    right = [all_bits(backend, problem, 1) for problem in problems]
    assert right[0] != right[1]
    together = threading.Barrier(2)
    wrong: list[int] = []

    def train(number: int) -> None:
        together.wait(timeout=60)
        if any(all_bits(backend, problems[number], 3) != right[number] for _ in range(5)):
            wrong.append(number)

    threads = [threading.Thread(target=train, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
        assert not thread.is_alive()
    assert not wrong


# ------------------------------------------------------------------ processes of their own


def run_python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": path, **environment},
    )


FORK = """
import os, sys
from agreement import all_bits
from fastlin.kernels import get_backend
from problems import make_sparse_problem, make_problem
problem = make_problem(333, 784, 10, "uint8", "float32", weighted=True, shifted=True)
backend = get_backend(sys.argv[1])
before = all_bits(backend, problem, 4) if sys.argv[2] == "trained" else None
child = os.fork()
if child == 0:
    bits = all_bits(backend, problem, 4)
    os._exit(0 if before in (None, bits) else 3)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0, os.waitstatus_to_exitcode(status)
after = all_bits(backend, problem, 4)
assert before in (None, after)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("parent", ["trained", "loaded"])
@fast_backends
def test_a_forked_child_trains(name: str, parent: str) -> None:
    backend_or_skip(name)
    done = run_python("-W", "ignore::DeprecationWarning", "-c", FORK, name, parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@fast_backends
def test_a_pool_of_forked_workers_trains(name: str) -> None:
    backend_or_skip(name)
    code = """
import multiprocessing, sys
from agreement import all_bits
from fastlin.kernels import get_backend
from problems import make_sparse_problem, make_problem
problem = make_problem(333, 784, 10, "uint8", "float32", weighted=True, shifted=True)
def train(_):
    return all_bits(get_backend(sys.argv[1]), problem, 4)
before = train(0)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert set(pool.map_async(train, range(4)).get(timeout=120)) == {before}
"""
    done = run_python("-W", "ignore::DeprecationWarning", "-c", code, name)
    assert done.returncode == 0, done.stderr


def test_two_threads_on_numba_s_workqueue() -> None:
    """Use the layer without OpenMP, which ends the process if two threads enter it at once."""
    backend_or_skip("numba")
    code = """
import threading
from agreement import all_bits
from fastlin.kernels import get_backend
from problems import make_sparse_problem, make_problem
problem = make_problem(333, 784, 10, "uint8", "float32", weighted=True, shifted=True)
backend = get_backend("numba")
assert backend.threading_layer == "workqueue"
bits = []
def train():
    bits.extend(all_bits(backend, problem, 4) for _ in range(5))
threads = [threading.Thread(target=train) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert len(bits) == 10 and len(set(bits)) == 1
"""
    done = run_python("-c", code, NUMBA_THREADING_LAYER="workqueue", NUMBA_NUM_THREADS="2")
    assert done.returncode == 0, done.stderr


def instruction_sets() -> list[str]:
    from fastlin._native import ffi, lib

    return ffi.string(lib.fastlin_instruction_sets()).decode().split()


@thorough
def test_c_runs_every_instruction_set_of_this_machine() -> None:
    backend_or_skip("c")
    sets = instruction_sets()
    assert backend_or_skip("c").instruction_set in sets
    assert sets[-1] == "baseline"
    few = [
        f"{d},{k},{rows},{weights}"
        for rows, weights in TYPES
        for d, k in ((3, 1), (17, 5), (100, 2), (100, 7), (784, 1), (784, 10), (2050, 3))
    ]
    few += [
        f"100,{k},{columns},{weights}"
        for columns, weights in (("int32", "float32"), ("int64", "float64"))
        for k in (1, 3, 20, 70)
    ]
    for name in sets:
        done = run_python(str(TESTS / "agreement.py"), "c", *few, FASTLIN_ISA=name)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == name


def test_an_instruction_set_that_is_not_here() -> None:
    backend_or_skip("c")
    code = "from fastlin.kernels import get_backend\nget_backend('c')"
    done = run_python("-c", code, FASTLIN_ISA="mmx")
    assert "InputError: FASTLIN_ISA=mmx is not supported on this machine" in done.stderr
    assert "baseline" in done.stderr


@thorough
def test_numba_runs_on_narrower_vectors() -> None:
    if backend_or_skip("numba").instruction_set not in ("amx", "avx512"):
        pytest.skip("the vectors of this machine are no wider than those of this test")
    features = "+sse,+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+f16c"
    done = run_python(
        str(TESTS / "agreement.py"),
        "numba",
        *(f"{d},10,{rows},float32" for rows in ("uint8", "float16") for d in (3, 17, 784)),
        "100,1,int32,float32",
        "100,20,int32,float32",
        NUMBA_CPU_NAME="haswell",
        NUMBA_CPU_FEATURES=features,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "avx2"
