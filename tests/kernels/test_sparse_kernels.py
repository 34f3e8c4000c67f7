"""Sparse rows: the dense reference on the same rows with their zeros checks every backend.

Numba compiles for every type of values and columns and every size of a class block, so its cases
keep to `NUMBA_CASES`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import oracles
import pytest
from agreement import STEP_OPTIONS, all_bits, check, check_passes, check_steps, run_steps
from cuts import every_thread_taken, slices
from problems import Problem, make_options, make_order, make_parameters, make_sparse_problem

from fastlin.kernels import Backend, CsrRows, Samples, backends, blocking, reference
from fastlin.kernels.blocking import REGISTERS

BACKENDS = ["numpy", "c", "numba"]
TYPES = [(v, i) for v in ("float32", "float64") for i in ("int32", "int64")]
CLASSES = [1, 2, 3, 8, 20, 70]

# The class blocks of each size with one pair of types, and all pairs of types.
NUMBA_CASES = [("float32", "int32", k) for k in CLASSES]
NUMBA_CASES += [("float64", "int64", k) for k in (1, 20, 70)]
NUMBA_CASES += [("float32", "int64", 3), ("float64", "int32", 3)]
C_CASES = [(*types, k) for types in TYPES for k in CLASSES]
FAST_CASES = [("c", *case) for case in C_CASES] + [("numba", *case) for case in NUMBA_CASES]
CASES = [("numpy", *case) for case in C_CASES] + FAST_CASES
FEW_CASES = [case for case in CASES if case[1:3] in (("float32", "int32"), ("float64", "int64"))]

fast_cases = pytest.mark.parametrize(("name", "dtype", "index_type", "k"), FAST_CASES)
each_case = pytest.mark.parametrize(("name", "dtype", "index_type", "k"), CASES)
few_cases = pytest.mark.parametrize(("name", "dtype", "index_type", "k"), FEW_CASES)
each_backend = pytest.mark.parametrize("name", BACKENDS)
each_type = pytest.mark.parametrize(("dtype", "index_type"), TYPES)
each_k = pytest.mark.parametrize("k", CLASSES)


def backend_or_skip(name: str) -> Backend:
    backend = backends()[name]
    if backend.reason is not None:
        pytest.skip(f"backend {name!r} is not available: {backend.reason}")
    return backend


def rows_of(problem: Problem) -> CsrRows:
    assert isinstance(problem.samples.rows, CsrRows)
    return problem.samples.rows


# ------------------------------------------------------------------ the record


@each_type
def test_a_record_shares_its_memory_with_scipy(dtype: str, index_type: str) -> None:
    rows = rows_of(make_sparse_problem(40, 30, 3, dtype, index_type))
    as_scipy = rows.matrix
    assert as_scipy.shape == rows.shape == (40, 30)
    assert len(rows) == 40
    assert rows.dtype == dtype
    for ours, theirs in (
        (rows.values, as_scipy.data),
        (rows.columns, as_scipy.indices),
        (rows.row_starts, as_scipy.indptr),
    ):
        assert np.shares_memory(ours, theirs)
        assert ours.dtype == theirs.dtype


@each_type
def test_a_part_has_the_rows_named_in_their_order(dtype: str, index_type: str) -> None:
    problem = make_sparse_problem(40, 30, 3, dtype, index_type)
    for chosen in ([], [0], [7, 3, 3, 39, 0], list(range(39, -1, -1))):
        index = np.array(chosen, np.int64)
        part = rows_of(problem).part(index)
        np.testing.assert_array_equal(part.matrix.toarray(), problem.dense_rows[index])
        assert part.columns.dtype == part.row_starts.dtype == index_type


# ------------------------------------------------------------------ agreement with dense rows


@each_case
def test_agreement(name: str, dtype: str, index_type: str, k: int) -> None:
    for weighted in (False, True):
        problem = make_sparse_problem(131, 100, k, dtype, index_type, weighted)
        check(backend_or_skip(name), problem)
        check(backend_or_skip(name), problem, n_threads=3)


@pytest.mark.parametrize("options", STEP_OPTIONS)
@few_cases
def test_options_of_steps(name: str, dtype: str, index_type: str, k: int, options: str) -> None:
    problem = make_sparse_problem(150, 60, k, dtype, index_type, weighted=True)
    check_steps(backend_or_skip(name), problem, 32, options)


@each_k
@each_backend
def test_numbers_of_rows_and_features(name: str, k: int) -> None:
    """Batches of one row, of a few with a short one at the end, and of all rows."""
    for n, d in ((11, 1), (16, 4), (63, 7), (300, 33)):
        problem = make_sparse_problem(n, d, k, "float32", weighted=True)
        check_passes(backend_or_skip(name), problem, n_threads=2)
        for batch_size in (n // 3, n, 1000):
            check_steps(backend_or_skip(name), problem, batch_size, "plain", n_threads=2)
    check_steps(backend_or_skip(name), make_sparse_problem(30, 19, k, "float32"), 1, "plain")


@each_backend
def test_nothing_stored(name: str) -> None:
    """No rows, and rows without a feature, for which only the intercept counts."""
    problem = make_sparse_problem(20, 5, 3)
    for n in (0, 8):
        nothing = CsrRows(np.empty(0), np.empty(0, np.int32), np.zeros(n + 1, np.int32), 5)
        samples = Samples(nothing, np.zeros(n, np.int32))
        backend = backend_or_skip(name)
        loss_sum, by_weights, by_intercept = backend.loss_gradient(samples, *problem.model, 2)
        b = problem.intercept
        residual = np.exp(b) / np.exp(b).sum() - [1, 0, 0]
        assert loss_sum == pytest.approx(n * (np.log(np.exp(b).sum()) - b[0]), rel=1e-14)
        np.testing.assert_allclose(by_intercept, n * residual, rtol=1e-13)
        assert by_weights.shape == (3, 5)
        assert not by_weights.any()
        right = n if b.argmax() == 0 else 0
        assert backend.score(samples, *problem.model, 2) == (pytest.approx(loss_sum), right)
        logits = backend.logits(samples, *problem.model, 2)
        np.testing.assert_array_equal(logits, np.broadcast_to(b, (n, 3)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("k", [1, 10])
@each_backend
@pytest.mark.filterwarnings("ignore:invalid value encountered")  # by NumPy, which is right
def test_what_is_not_finite_shows_in_the_loss(name: str, k: int, bad: float) -> None:
    problem = make_sparse_problem(200, 33, k)
    for feature in (0, 12, 20):
        assert problem.dense_rows[:, feature].any()
        weights = problem.weights.copy()
        weights[0, feature] = bad
        for kernel in (backend_or_skip(name).loss_gradient, backend_or_skip(name).score):
            loss_sum = kernel(problem.samples, weights, problem.intercept, 1)[0]
            assert not np.isfinite(loss_sum)


@each_backend
def test_huge_logits_are_finite(name: str) -> None:
    """Logits of +-1e4, for correct and wrong labels, and a row without a feature."""
    values = np.array([1e4, 1e4, -1e4, -1e4])
    rows = CsrRows(values, np.zeros(4, np.int32), np.array([0, 1, 2, 3, 4, 4], np.int32), 1)
    for k, labels in ((1, [0, 1, 0, 1, 1]), (10, [0, 9, 9, 0, 3])):
        samples = Samples(rows, np.array(labels, np.int32))
        weights, intercept = np.zeros((k, 1)), np.zeros(k)
        weights[-1] = 1
        model = weights, intercept
        loss_sum, by_weights, by_intercept = backend_or_skip(name).loss_gradient(samples, *model, 1)
        logits = (rows.matrix.toarray() @ weights.T).tolist()
        pairs = list(zip(logits, labels, strict=True))
        assert loss_sum == pytest.approx(sum(oracles.loss_of(z, y) for z, y in pairs), rel=1e-15)
        residual = np.array([oracles.residual_of(z, y) for z, y in pairs])
        np.testing.assert_allclose(by_intercept, residual.sum(axis=0), rtol=1e-14, atol=1e-300)
        right = residual[:4].T @ values[:, np.newaxis]
        np.testing.assert_allclose(by_weights, right, rtol=1e-15, atol=1e-300)


# ------------------------------------------------------------------ the penalty


@pytest.mark.parametrize("decay", [0.0, 0.5, 1.0, 2.5])
@each_backend
def test_the_penalty_shrinks_what_no_row_touches(name: str, decay: float) -> None:
    """Every step multiplies by 1 - rate * decay, even if that is 0 or negative, over many steps."""
    problem = make_sparse_problem(40, 30, 3)
    assert not problem.dense_rows.any(axis=0).all()
    options = replace(
        make_options(problem, 4, 400, learning_rates=0.5 ** (np.arange(400) % 3)),
        decay=decay,
        gain=np.zeros(30),
    )
    order = np.tile(np.arange(40), 40)
    parameters = make_parameters(problem)
    backend_or_skip(name).sgd_steps(problem.samples, order, parameters, options, np.empty(400), 2)
    factors = np.cumprod(1 - options.learning_rates * decay)
    right = problem.weights * factors[-1]
    np.testing.assert_allclose(parameters.weights, right, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("n_threads", [1, 3])
@each_backend
def test_features_are_brought_up_to_date_after_any_number_of_steps(
    name: str, n_threads: int, k: int
) -> None:
    """Most features are in few of 2500 batches of one row; in float64 nothing else differs."""
    problem = make_sparse_problem(50, 30, k)
    order = make_order(50, 50)
    for changes in (
        {"momentum": 0.9},
        {"momentum": 0.95, "nesterov": True, "intercept_decay": 0.01},
        {"average_rates": 2 / (np.arange(2500) + 2.0)},
        {"momentum": 0.5, "average_rates": 1 / (np.arange(2500) + 1.0)},
    ):
        options = make_options(problem, 1, 2500, **changes)
        answers = []
        for kernels, samples in (
            (reference, problem.in_float64().samples),
            (backend_or_skip(name), problem.samples),
        ):
            average = options.average_rates is not None
            parameters = make_parameters(problem, options.momentum > 0, average)
            losses = np.empty(2500)
            kernels.sgd_steps(samples, order, parameters, options, losses, n_threads)
            fields = [value for value in vars(parameters).values() if value is not None]
            answers.append([*fields, losses])
        for right, got in zip(*answers, strict=True):
            np.testing.assert_allclose(got, right, rtol=1e-9, atol=1e-11)


# ------------------------------------------------------------------ threads


@fast_cases
def test_the_same_bits_on_any_number_of_threads(
    name: str, dtype: str, index_type: str, k: int
) -> None:
    problem = make_sparse_problem(333, 200, k, dtype, index_type, weighted=True)
    bits = all_bits(backend_or_skip(name), problem, 1)
    for n_threads in (2, 3, 4, 13):
        assert all_bits(backend_or_skip(name), problem, n_threads) == bits


@pytest.mark.parametrize("n_slices", [1, 2, 4, 8])
@pytest.mark.parametrize("name", ["c", "numba"])
def test_every_number_of_slices_and_threads(name: str, n_slices: int) -> None:
    """Numba has as many threads as cores here; ``test_numba_threads`` gives it more."""
    backend = backend_or_skip(name)
    problem = make_sparse_problem(333, 200, 20, "float32", weighted=True)
    with every_thread_taken(**slices(n_slices)):
        alone = all_bits(backend, problem, 1)
        for n_threads in (2, 3, 4, 8, 13):
            for updates in (True, False):
                cut = blocking.sparse_blocking(
                    rows_of(problem), 20, 333, 128, REGISTERS["avx512"], n_threads, updates=updates
                )
                assert cut.n_slices == (n_slices if updates else 1)
                # Three threads over four slices take as long as two.
                even = {(4, 3): 2}.get((n_slices, n_threads), min(n_threads, n_slices))
                assert cut.n_threads == (even if updates else n_threads)
            # Several times: a missing barrier shows now and then only.
            for _ in range(3):
                assert all_bits(backend, problem, n_threads) == alone
            check(backend, problem, n_threads)
        for options in STEP_OPTIONS:
            check_steps(backend, problem, 32, options, n_slices)


@pytest.mark.parametrize("options", STEP_OPTIONS)
@pytest.mark.parametrize("name", ["c", "numba"])
def test_many_steps_give_the_same_bits_on_any_number_of_threads(name: str, options: str) -> None:
    problem = make_sparse_problem(600, 200, 20, "float32", weighted=True)
    order = make_order(600, 4)

    def bits(n_threads: int) -> bytes:
        parameters, losses = run_steps(
            backend_or_skip(name), problem, order, 150, options, n_threads
        )
        arrays = [value for value in vars(parameters).values() if value is not None]
        return b"".join(array.tobytes() for array in (*arrays, losses))

    assert len({bits(n_threads) for n_threads in (1, 2, 3, 4, 2)}) == 1


@each_backend
def test_kernels_change_nothing_but_their_outputs(name: str) -> None:
    problem = make_sparse_problem(140, 35, 10, "float32", weighted=True)
    before = make_sparse_problem(140, 35, 10, "float32", weighted=True)
    for array in (*vars(rows_of(problem)).values(), *problem.model):
        if isinstance(array, np.ndarray):
            array.flags.writeable = False
    all_bits(backend_or_skip(name), problem, 2)
    for field in ("values", "columns", "row_starts"):
        np.testing.assert_array_equal(
            getattr(rows_of(problem), field), getattr(rows_of(before), field)
        )
    np.testing.assert_array_equal(problem.weights, before.weights)
