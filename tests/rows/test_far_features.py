"""Features far from zero lose no digits on any backend; a feature that only rounds is constant."""

from __future__ import annotations

import warnings
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, backends
from fastlin.rows.binding import make_samples
from fastlin.rows.dense import DenseRows
from fastlin.rows.scaling import InputScale

N = 300


def available(name: str) -> str:
    backend = backends()[name]
    if not backend.available:
        pytest.skip(f"{backend.reason}; {backend.remedy}")
    return name


def far_problem(k: int, offset: float, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows with two features around plus and minus ``offset``, the same around 0, labels."""
    generator = np.random.default_rng(k)
    around = generator.standard_normal((N, 4))
    offsets = offset * np.array([0, 1, 0, -1])
    rows = (around + offsets).astype(dtype)
    noise = generator.standard_normal((N, k))
    labels = (around @ generator.standard_normal((4, k)) + noise).argmax(axis=1)
    assert len(np.unique(labels)) == k
    return rows, rows.astype(np.float64) - offsets, labels


def options_of(solver: str) -> dict[str, Any]:
    if solver == "lbfgs":
        return {"solver": "lbfgs", "tol": 1e-6, "max_epochs": 500}
    return {"solver": "sgd", "tol": None, "max_epochs": 300, "batch_size": N, "momentum": 0.9}


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("option", [None, "standard", "minmax"])
@pytest.mark.parametrize(
    ("dtype", "offset"), [("float32", 1e4), ("float32", 1e6), ("float64", 1e9)]
)
def test_far_features_are_learned_as_near_ones(
    backend: str, solver: str, option: Any, dtype: str, offset: float
) -> None:
    options: dict[str, Any] = options_of(solver) | {"l2": 1e-2, "input_scale": option}
    options |= {"backend": available(backend), "random_state": 0}
    for k in (2, 3):
        rows, around, labels = far_problem(k, offset, dtype)
        near = LogisticRegression(**options).fit(around, labels)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            far = LogisticRegression(**options).fit(rows, labels)
        assert far.coef_.dtype == dtype
        expected = near.predict_proba(around)
        np.testing.assert_allclose(far.predict_proba(rows), expected, atol=1e-3)
        np.testing.assert_allclose(far.coef_, near.coef_, atol=1e-2 * np.abs(near.coef_).max())
        # As users would: their own product in float64.
        z = rows.astype(np.float64) @ far.coef_.astype(np.float64).T + far.intercept_
        decided = z[:, 0] > 0 if k == 2 else z.argmax(axis=1)
        assert (far.classes_[decided.astype(int)] == far.predict(rows)).mean() > 0.98


def test_far_rows_are_predicted_alike_in_every_form(tmp_path: Path) -> None:
    rows, _, labels = far_problem(3, 1e6, "float32")
    model = LogisticRegression(solver="lbfgs", input_scale="standard", l2=1e-2).fit(rows, labels)
    expected = model.predict_proba(rows)
    assert model.intercept_.dtype == np.float64
    model.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    for backend, again in product(BACKEND_NAMES, (model, loaded)):
        again.set_params(backend=available(backend))
        for form in (rows, rows.astype(np.float64), csr_array(rows)):
            np.testing.assert_allclose(again.predict_proba(form), expected, atol=1e-5)
    continued = model.set_params(warm_start=True).fit(rows, labels)
    assert continued.n_iter_ <= 3
    sgd = LogisticRegression(input_scale="standard", random_state=0, backend="numpy")
    sgd.partial_fit(rows, labels, classes=[0, 1, 2]).save(tmp_path / "sgd.npz")
    loaded = LogisticRegression.load(tmp_path / "sgd.npz")
    np.testing.assert_array_equal(loaded.predict_proba(rows), sgd.predict_proba(rows))
    np.testing.assert_array_equal(
        loaded.partial_fit(rows, labels).coef_, sgd.partial_fit(rows, labels).coef_
    )


def test_far_validation_rows_are_scored_as_they_are_predicted() -> None:
    rows, _, labels = far_problem(2, 1e6, "float32")
    for solver in ("lbfgs", "sgd"):
        options = options_of(solver)  # in one batch: the last check is of the model returned
        model = LogisticRegression(**options, input_scale="standard", random_state=0)
        model.fit(rows, labels, X_val=rows, y_val=labels)
        chosen = model.predict_log_proba(rows)[np.arange(N), labels]
        assert model.history_.val_loss[-1] == pytest.approx(-chosen.mean(), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "copied"),
    [
        (np.float32([[101], [99]]), False),
        (np.float32([[1001], [999]]), True),
        (np.float64([[1001], [999]]), False),
        (np.float64([[1e9], [1e9 + 2]]), True),
        (np.uint8([[255], [253]]), False),
        (np.float32([[1e7, 1], [1e7, -1]]), False),  # a constant tells nothing
    ],
)
def test_rows_are_copied_only_if_folding_would_lose_digits(rows: np.ndarray, copied: bool) -> None:
    scale = InputScale.from_option("standard", rows)
    dtype = np.dtype(np.float64 if rows.dtype == np.float64 else np.float32)
    samples = make_samples(DenseRows(rows), np.zeros(2, np.int32), scale, dtype)
    assert isinstance(samples.rows, DenseRows)
    assert np.shares_memory(samples.rows.values, rows) is not copied
    assert (samples.shift is None) is copied
    if copied:
        expected = rows.astype(np.float64) - scale.shift
        np.testing.assert_array_equal(samples.rows.values, expected.astype(dtype))


# ------------------------------------------------------------------ constant features


def nearly_constant(name: str) -> tuple[np.ndarray, str]:
    generator = np.random.default_rng(1)
    pick = generator.random(N) < 0.5
    columns: dict[str, tuple[np.ndarray, str]] = {
        "0.1 + 0.2 or 0.3": (np.where(pick, 0.1 + 0.2, 0.3), "float64"),
        "1e6 with rounding": (1e6 * (1 + 2e-16 * generator.integers(-1, 2, N)), "float64"),
        "-1e-9 with rounding": (-1e-9 * (1 + 2e-16 * generator.integers(-1, 2, N)), "float64"),
        "two roundings in float32": (
            np.where(pick, np.float32(0.3), np.nextafter(np.float32(0.3), np.float32(1))),
            "float32",
        ),
        "1e7 in float32": (np.full(N, 1e7), "float32"),
        "1e30 in float32": (np.full(N, 1e30), "float32"),
        "a product": (0.7 * (np.arange(1, N + 1) / 3) / np.arange(1, N + 1), "float64"),
    }
    return columns[name]


NEARLY_CONSTANT = (
    "0.1 + 0.2 or 0.3", "1e6 with rounding", "-1e-9 with rounding", "two roundings in float32",
    "1e7 in float32", "1e30 in float32", "a product",
)  # fmt: skip


@pytest.mark.parametrize("backend", BACKEND_NAMES)
@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
@pytest.mark.parametrize("name", NEARLY_CONSTANT)
def test_rounding_is_no_feature(backend: str, solver: str, name: str) -> None:
    column, dtype = nearly_constant(name)
    generator = np.random.default_rng(0)
    rows = np.column_stack([generator.standard_normal((N, 3)), column]).astype(dtype)
    labels = rows[:, 0] + generator.standard_normal(N) > 0
    options: dict[str, Any] = {"backend": available(backend), "random_state": 0, "l2": 1e-3}
    for option in ("standard", "minmax"):
        options |= options_of(solver) | {"input_scale": option}
        model = LogisticRegression(**options).fit(rows, labels)
        without = LogisticRegression(**options).fit(rows[:, :3], labels)
        assert abs(model.coef_[0, 3]) < 1e-3
        np.testing.assert_allclose(model.coef_[:, :3], without.coef_, atol=2e-3)
        moved = rows.copy()
        moved[:, 3] += dtype_step(column, dtype)
        np.testing.assert_allclose(
            model.predict_proba(moved), without.predict_proba(rows[:, :3]), atol=1e-3
        )


def dtype_step(column: np.ndarray, dtype: str) -> Any:
    return 100 * np.finfo(dtype).eps * np.abs(column).max()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_feature_is_constant_up_to_four_epsilons_of_it(dtype: str) -> None:
    epsilon = np.finfo(dtype).eps
    for value in (1.0, -3.0, 1e20):
        for steps, constant in ((1, True), (4, True), (8, False)):
            column = np.array([value, value * (1 + steps * epsilon)], dtype)[:, None]
            for option in ("standard", "minmax"):
                scale = InputScale.from_option(option, column)
                x = (column - scale.shift) * scale.scale
                assert bool(np.abs(x).max() < 0.1) is constant


def test_small_numbers_are_no_rounding() -> None:
    column = np.array([1e-30, 2e-30, -1e-30])[:, None]
    x = column * InputScale.from_option("minmax", column).scale
    assert np.ptp(x) == pytest.approx(1)
