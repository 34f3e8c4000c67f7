"""Sparse rows from the estimator down: what is accepted, what is copied, what comes out."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray

from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.kernels import BACKEND_NAMES, CsrRows, backends
from fastlin.rows.binding import make_samples
from fastlin.rows.conversion import as_rows
from fastlin.rows.scaling import InputScale
from fastlin.rows.validation import check_rows_and_labels
from fastlin.solvers.schedules import safe_step_size

N, D, K = 150, 40, 3
SOLVERS = {
    "sgd": {"max_epochs": 4, "l2": 1e-2},
    "momentum": {"max_epochs": 4, "momentum": 0.9, "nesterov": True},
    "average": {"max_epochs": 4, "average": True, "class_weight": "balanced"},
    "large batches": {"max_epochs": 4, "batch_size": 300},
    "early stopping": {"max_epochs": 6, "early_stopping": True, "patience": 2},
    "lbfgs": {"solver": "lbfgs", "max_epochs": 10, "tol": 0},
}

each_backend = pytest.mark.parametrize("backend", BACKEND_NAMES)


def make_rows(dtype: str = "float64", index_type: str = "int32") -> Any:
    """Return CSR rows: some empty, some features in no row."""
    generator = np.random.default_rng(0)
    dense = generator.standard_normal((N, D)) * (generator.random((N, D)) < 0.2)
    dense[::7] = 0
    dense[:, ::5] = 0
    X = sp.csr_array(dense.astype(dtype))
    X.indices, X.indptr = X.indices.astype(index_type), X.indptr.astype(index_type)
    assert X.has_canonical_format
    return X


def make_labels(k: int = K) -> NDArray[Any]:
    generator = np.random.default_rng(1)
    logits = make_rows() @ generator.standard_normal((D, k)) + generator.gumbel(size=(N, k))
    y: NDArray[Any] = logits.argmax(axis=1)
    assert len(np.unique(y)) == k
    return y


def model(backend: str = "numpy", **options: Any) -> LogisticRegression:
    if not backends()[backend].available:
        pytest.skip(f"backend {backend!r} is not available")
    return LogisticRegression(
        **{"backend": backend, "random_state": 0, "batch_size": 16, "max_epochs": 3, **options}
    )


def bits(trained: LogisticRegression) -> bytes:
    return trained.coef_.tobytes() + trained.intercept_.tobytes()


# ------------------------------------------------------------------ the same model as dense rows


@pytest.mark.parametrize("k", [2, K])
@pytest.mark.parametrize("solver", SOLVERS)
@each_backend
def test_the_model_is_that_of_dense_rows(backend: str, solver: str, k: int) -> None:
    X, y = make_rows(), make_labels(k)
    sparse = model(backend, **SOLVERS[solver]).fit(X, y)
    dense = model(backend, **SOLVERS[solver]).fit(X.toarray(), y)
    assert np.abs(dense.coef_).max() > 0.1
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(sparse.intercept_, dense.intercept_, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        sparse.decision_function(X), dense.decision_function(X.toarray()), rtol=1e-7, atol=1e-9
    )
    np.testing.assert_array_equal(sparse.predict(X), dense.predict(X.toarray()))
    assert sparse.score(X, y) == dense.score(X.toarray(), y)
    assert sparse.n_iter_ == dense.n_iter_
    np.testing.assert_allclose(
        sparse.history_.val_loss, dense.history_.val_loss, rtol=1e-7, atol=1e-9
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("index_type", ["int32", "int64"])
@each_backend
def test_types_of_values_and_columns(backend: str, index_type: str, dtype: str) -> None:
    y = make_labels()
    trained = model(backend).fit(make_rows(dtype, index_type), y)
    assert trained.coef_.dtype == dtype
    assert bits(trained) == bits(model(backend).fit(make_rows(dtype, "int32"), y))


@each_backend
def test_the_same_bits_on_any_number_of_threads(backend: str) -> None:
    X, y = make_rows("float32"), make_labels()
    for options in SOLVERS.values():
        answers = {bits(model(backend, n_threads=t, **options).fit(X, y)) for t in (1, 2, 3, 4)}
        assert len(answers) == 1


@each_backend
def test_partial_fit_and_warm_start_go_on_with_sparse_rows(backend: str) -> None:
    X, y = make_rows(), make_labels()
    sparse, dense = model(backend, warm_start=True), model(backend, warm_start=True)
    for trained, rows in ((sparse, X), (dense, X.toarray())):
        trained.partial_fit(rows[:100], y[:100], classes=np.arange(K))
        trained.partial_fit(rows[100:], y[100:])
        trained.fit(rows, y)
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-7, atol=1e-9)


@each_backend
def test_a_validation_set_may_be_sparse_or_not(backend: str) -> None:
    X, y = make_rows(), make_labels()
    histories = [
        model(backend).fit(X, y, X_val=rows[:50], y_val=y[:50]).history_
        for rows in (X, X.toarray())
    ]
    np.testing.assert_allclose(histories[0].val_loss, histories[1].val_loss, rtol=1e-9)
    np.testing.assert_array_equal(histories[0].val_accuracy, histories[1].val_accuracy)


def test_a_model_of_shifted_dense_rows_predicts_sparse_ones(tmp_path: Path) -> None:
    X, y = make_rows(), make_labels()
    trained = model(input_scale="standard").fit(X.toarray(), y)
    logits = trained.decision_function(X.toarray())
    np.testing.assert_allclose(trained.decision_function(X), logits, rtol=1e-9, atol=1e-12)
    trained.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(X), trained.predict(X))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_the_automatic_learning_rate_is_that_of_dense_rows(
    fit_intercept: bool, weighted: bool
) -> None:
    X, y = make_rows(), make_labels().astype(np.int32)
    weights = np.linspace(0.5, 1.5, N) if weighted else None
    scale = InputScale(np.zeros(D), np.linspace(0.5, 2, D))
    sparse, dense = (
        safe_step_size(
            make_samples(rows, y, scale, np.dtype("float64"), weights),
            *(scale, K, 16, 1e-3, fit_intercept, np.dtype("float64")),
        )
        for rows in (as_rows(X), as_rows(X.toarray()))
    )
    assert sparse == pytest.approx(dense, rel=1e-9)


# ------------------------------------------------------------------ what is accepted


@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_arrays_and_matrices_are_read_where_they_lie(container: Any) -> None:
    for dtype in ("float32", "float64"):
        for index_type in ("int32", "int64"):
            X = container(make_rows(dtype, index_type))
            X.indices, X.indptr = X.indices.astype(index_type), X.indptr.astype(index_type)
            for array in (X.data, X.indices, X.indptr):
                array.flags.writeable = False
            rows, labels = check_rows_and_labels(model(), X, make_labels(), reset=True)
            assert isinstance(rows, CsrRows)
            scale = InputScale.from_option(None, rows)
            samples = make_samples(rows, labels.astype(np.int32), scale, np.dtype(dtype))
            assert isinstance(samples.rows, CsrRows)
            for ours, theirs in (
                (samples.rows.values, X.data),
                (samples.rows.columns, X.indices),
                (samples.rows.row_starts, X.indptr),
            ):
                assert ours.dtype == theirs.dtype
                assert np.shares_memory(ours, theirs)


@each_backend
def test_training_takes_little_memory_beside_the_rows(backend: str) -> None:
    """The rows take 24 MB, with their zeros they would take 800."""
    n, d, length = 2000, 50_000, 1000
    generator = np.random.default_rng(0)
    spacing = d // length
    columns = generator.integers(0, spacing, (n, length)) + np.arange(length) * spacing
    X = sp.csr_array(
        (
            generator.standard_normal(n * length),
            columns.ravel().astype(np.int32),
            (np.arange(n + 1) * length).astype(np.int32),
        ),
        shape=(n, d),
    )
    y = np.arange(n) % 2
    trained = model(backend, learning_rate=0.1, max_epochs=1, batch_size=128)
    trained.fit(X[:300], y[:300])  # what is imported and compiled takes memory too
    tracemalloc.start()
    try:
        trained.fit(X, y)
        trained.predict(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Numba's weights, padded to whole vectors, take 3 MB; NumPy's kernels take 1024 rows at a time.
    assert peak < (X.data.nbytes + X.indices.nbytes) * (0.8 if backend == "numpy" else 0.4)


@pytest.mark.parametrize("form", ["csc", "coo", "lil", "bsr", "dok"])
def test_other_formats_are_converted(form: str) -> None:
    X, y = make_rows(), make_labels()
    trained = model().fit(X.asformat(form), y)
    assert bits(trained) == bits(model().fit(X, y))
    np.testing.assert_array_equal(trained.predict(X.asformat(form)), trained.predict(X))


@pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
def test_other_types_of_values_are_converted(dtype: str) -> None:
    X, y = make_rows(), make_labels()
    X.data = (np.arange(X.nnz) % 3 + 1).astype(dtype)
    weights_type = "float32" if dtype == "uint8" else "float64"
    assert bits(model().fit(X, y)) == bits(model().fit(X.astype(weights_type), y))


def untidy(X: Any) -> Any:
    """Return the same rows, their columns backwards and every value split in two."""
    row_of = np.repeat(np.arange(N), np.diff(X.indptr))
    backwards = np.lexsort((-X.indices, row_of))
    twice = np.repeat(backwards, 2)
    result = sp.csr_array((X.data[twice] / 2, X.indices[twice], 2 * X.indptr), shape=X.shape)
    assert not result.has_sorted_indices
    return result


@each_backend
def test_columns_out_of_order_or_twice_are_tidied_on_a_copy(backend: str) -> None:
    X, y = make_rows(), make_labels()
    other = untidy(X)
    before = [array.copy() for array in (other.data, other.indices, other.indptr)]
    trained = model(backend).fit(other, y)
    assert bits(trained) == bits(model(backend).fit(X, y))
    np.testing.assert_array_equal(trained.decision_function(other), trained.decision_function(X))
    for array, value in zip((other.data, other.indices, other.indptr), before, strict=True):
        np.testing.assert_array_equal(array, value)
    assert not other.has_sorted_indices


def test_what_scipy_noted_on_a_matrix_is_not_believed() -> None:
    X, y = make_rows(), make_labels()
    other = untidy(X)
    other.has_sorted_indices = other.has_canonical_format = True
    assert bits(model().fit(other, y)) == bits(model().fit(X, y))


@each_backend
def test_rows_that_are_all_empty_leave_the_intercept(backend: str) -> None:
    y = np.where(np.arange(N) % 10, "often", "seldom")
    trained = model(backend).fit(sp.csr_array((N, D)), y)
    assert not trained.coef_.any()
    assert set(trained.predict(make_rows())) == {"often"}


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("option", ["minmax", "standard"])
def test_scales_that_shift_are_refused(option: str) -> None:
    with pytest.raises(
        InputError, match=rf"input_scale='{option}' shifts .*input_scale=\(0, scale\)"
    ):
        model(input_scale=option).fit(make_rows(), make_labels())
    with pytest.raises(InputError, match=r"cannot be shifted.*input_scale=\(0, scale\)"):
        model(input_scale=(0.5, 2)).fit(make_rows(), make_labels())
    trained = model(input_scale=option).fit(make_rows().toarray(), make_labels())
    with pytest.raises(InputError, match="cannot be shifted"):
        trained.partial_fit(make_rows(), make_labels())


@each_backend
def test_a_scale_without_a_shift(backend: str) -> None:
    X, y = make_rows(), make_labels()
    pair = (0, np.linspace(0.5, 2, D))
    sparse, dense = (model(backend, input_scale=pair).fit(r, y) for r in (X, X.toarray()))
    np.testing.assert_allclose(sparse.coef_, dense.coef_, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("column", [-1, D])
def test_columns_that_do_not_exist_are_refused(column: int) -> None:
    X = make_rows()
    X.indices[3] = column
    with pytest.raises(InputError, match=r"broken CSR matrix .*; build it again"):
        model().fit(X, make_labels())


def test_row_starts_that_fall_are_refused() -> None:
    X = make_rows()
    X.indptr[4] = X.indptr[-1]
    with pytest.raises(InputError, match="broken CSR matrix"):
        model().fit(X, make_labels())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_refused(bad: float) -> None:
    X = make_rows()
    X.data[5] = bad
    with pytest.raises(InputError, match="X contains"):
        model().fit(X, make_labels())
    with pytest.raises(InputError, match="X contains"):
        model().fit(make_rows(), make_labels()).predict(X)


def test_another_number_of_features_is_refused() -> None:
    trained = model().fit(make_rows(), make_labels())
    with pytest.raises(InputError, match=r"X has 39 features, .* expecting 40"):
        trained.predict(make_rows()[:, :-1])


def test_sparse_rows_go_on_from_the_weights_of_dense_ones() -> None:
    X, y = make_rows(), make_labels()
    dense = X.toarray() + 1  # which are centred
    trained = model(average=True, momentum=0.9).partial_fit(dense, y, classes=np.unique(y))
    rate, before = trained.learning_rate_, trained.predict_proba(X)
    trained.set_params(learning_rate=1e-12).partial_fit(X, y)
    np.testing.assert_allclose(trained.predict_proba(X), before, rtol=1e-6)
    trained.set_params(learning_rate="auto").partial_fit(X, y).partial_fit(dense, y)
    assert 1e-6 < trained.learning_rate_ < rate


@pytest.mark.parametrize("density", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(1, 5), (40, 9), (9, 300)])
def test_ranges_count_the_zeros_that_are_not_stored(shape: Any, density: float) -> None:
    rows = sp.random(*shape, density=density, format="csr", random_state=0)
    rows.data -= 0.4
    rows.indices, rows.indptr = rows.indices.astype(np.int32), rows.indptr.astype(np.int32)
    np.testing.assert_array_equal(as_rows(rows).ranges(), np.ptp(rows.toarray(), axis=0))
