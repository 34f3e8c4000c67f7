"""Rows of float16 and int8: trained on and predicted as their float32 copies are, without a copy.

The kernels widen each number exactly and then compute in the same order, so what is learned has the
same bits.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import run
from numpy.typing import NDArray

import fastlin
from fastlin import LogisticRegression
from fastlin.advice import ScalingWarning
from fastlin.errors import FastlinError, InputError
from fastlin.kernels import BACKEND_NAMES, backends

N, D = 600, 37
GENERATOR = np.random.default_rng(0)
Y = np.arange(N) % 3
NORMAL = GENERATOR.normal(size=(N, D)) + GENERATOR.normal(size=(3, D))[Y]
ROWS: dict[str, NDArray[Any]] = {
    "float16": (30 * NORMAL).astype(np.float16),
    "int8": np.clip(np.round(30 * NORMAL), -128, 127).astype(np.int8),
}
assert ROWS["int8"].min() == -128

OPTIONS: dict[str, dict[str, Any]] = {
    "automatic rate": {},
    "given rate": {"learning_rate": 1e-4},
    "standard": {"input_scale": "standard", "momentum": 0.9, "average": True},
    "minmax": {"input_scale": "minmax", "class_weight": "balanced"},
    "pair": {"input_scale": (np.linspace(-9, 9, D), 0.02)},
    "early stopping": {"early_stopping": True, "patience": 2, "input_scale": (0, 0.02)},
    "float64": {"dtype": "float64", "input_scale": "standard"},
    "to the optimum": {"solver": "lbfgs", "l2": 0.01},
    "to the optimum, scaled": {"solver": "lbfgs", "l2": 0.01, "input_scale": "standard"},
}

each_type = pytest.mark.parametrize("row_type", ROWS)
each_backend = pytest.mark.parametrize("name", BACKEND_NAMES)


def model(name: str = "numpy", **options: Any) -> LogisticRegression:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    return LogisticRegression(
        **{"backend": name, "max_epochs": 4, "random_state": 0, "tol": None, **options}
    )


def learned(trained: LogisticRegression, rows: Any) -> list[NDArray[Any]]:
    return [
        trained.coef_,
        trained.intercept_,
        trained.decision_function(rows),
        trained.predict_proba(rows),
        trained.predict(rows),
        np.array([trained.score(rows, Y), trained.learning_rate_]),
        trained.history_.val_loss,
    ]


@each_type
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("k", [2, 3])
@each_backend
def test_what_is_learned_is_what_is_learned_of_float32(
    name: str, k: int, options: str, row_type: str
) -> None:
    rows, labels = ROWS[row_type], Y % k
    of_rows = {}
    for X in (rows, rows.astype(np.float32)):
        trained = model(name, **OPTIONS[options])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            trained.fit(X, labels, X_val=X[:90], y_val=labels[:90])
        of_rows[X.dtype.name] = learned(trained, X)
        wide = OPTIONS[options].get("dtype") == "float64"
        assert trained.coef_.dtype == ("float64" if wide else "float32")
    for one, other in zip(*of_rows.values(), strict=True):
        np.testing.assert_array_equal(one, other)


@each_type
@each_backend
def test_streams_and_warm_starts_take_any_type(name: str, row_type: str) -> None:
    rows = ROWS[row_type]
    wide = rows.astype(np.float32)
    stream, expected = (model(name, input_scale="standard") for _ in range(2))
    for first in range(0, N, 200):
        part = slice(first, first + 200)
        block = wide[part] if first == 200 else rows[part]  # types may change on the way
        stream.partial_fit(block, Y[part], classes=[0, 1, 2])
        expected.partial_fit(wide[part], Y[part], classes=[0, 1, 2])
    np.testing.assert_array_equal(stream.coef_, expected.coef_)
    for trained, X in ((stream, rows), (expected, wide)):
        trained.set_params(warm_start=True)
        trained.fit(X, Y)
    np.testing.assert_array_equal(stream.coef_, expected.coef_)


@each_type
@each_backend
def test_the_bits_do_not_depend_on_the_threads(name: str, row_type: str) -> None:
    bits = set()
    for n_threads in (1, 2, 3):
        trained = model(name, n_threads=n_threads, batch_size=300).fit(ROWS[row_type], Y)
        found = trained.coef_, trained.predict_proba(ROWS[row_type])
        bits.add(b"".join(array.tobytes() for array in found))
    assert len(bits) == 1


@each_type
@each_backend
def test_however_rows_lie(name: str, row_type: str, tmp_path: Path) -> None:
    rows = ROWS[row_type]
    np.save(tmp_path / "rows.npy", rows)
    read_only = rows.copy()
    read_only.flags.writeable = False
    wide = np.zeros((N, 2 * D), row_type)
    wide[:, ::2] = rows
    forms = {
        "memory map": np.load(tmp_path / "rows.npy", mmap_mode="r"),
        "read-only": read_only,
        "Fortran": np.asfortranarray(rows),
        "every other column": wide[:, ::2],
        "backwards": rows[::-1].copy()[::-1],
        "other byte order": rows.astype(rows.dtype.newbyteorder(">")),
        "any address": np.frombuffer(b"-" + rows.tobytes(), row_type, offset=1).reshape(N, D),
    }
    expected = model(name).fit(rows, Y)
    for form, same in forms.items():
        trained = model(name).fit(same, Y)
        np.testing.assert_array_equal(trained.coef_, expected.coef_, err_msg=form)
        np.testing.assert_array_equal(
            trained.predict_proba(same), expected.predict_proba(rows), err_msg=form
        )


@pytest.mark.parametrize("d", [1, 2, 7, 8, 15, 16, 17, 31, 33, 64, 70])
@each_type
@each_backend
def test_rows_of_any_length(name: str, row_type: str, d: int) -> None:
    rows = ROWS[row_type][:, :d] if d <= D else np.hstack([ROWS[row_type]] * 2)[:, :d]
    found = [model(name).fit(X, Y).coef_ for X in (rows, rows.astype(np.float32))]
    np.testing.assert_array_equal(*found)


@each_type
def test_a_saved_model_predicts_and_goes_on_as_before(row_type: str, tmp_path: Path) -> None:
    trained = model(warm_start=True, input_scale="standard").fit(ROWS[row_type], Y)
    trained.save(tmp_path / "model.npz")
    loaded = LogisticRegression.load(tmp_path / "model.npz")
    for rows in (ROWS[row_type], ROWS[row_type].astype(np.float64)):
        np.testing.assert_array_equal(loaded.predict_proba(rows), trained.predict_proba(rows))
    for one in (loaded, trained):
        one.fit(ROWS[row_type], Y)
    np.testing.assert_array_equal(loaded.coef_, trained.coef_)


@each_type
def test_the_command_line_takes_them_from_files(row_type: str, tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", ROWS[row_type])
    np.save(tmp_path / "y.npy", Y)
    model_file, data = tmp_path / "model.npz", ["--data", tmp_path / "X.npy", "--quiet"]
    common = ["--backend", "numpy"]
    done = run("train", *common, *data, "--epochs", 3, "--out", model_file)
    assert done.code == 0, done.err
    trained = LogisticRegression.load(model_file)
    done = run("predict", model_file, *common, *data)
    assert done.code == 0, done.err
    assert done.out.split() == ["label", *map(str, trained.predict(ROWS[row_type]))]
    done = run("evaluate", model_file, *common, *data)
    assert done.code == 0, done.err


# ------------------------------------------------------------------ numbers at the ends


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@each_backend
def test_float16_that_is_not_finite_is_refused_as_float32_is(name: str, value: float) -> None:
    wrong = ROWS["float16"].copy()
    wrong[371, 5] = value
    trained = model(name).fit(ROWS["float16"], Y)
    calls = {
        "fit": lambda X: model(name).fit(X, Y),
        "fit, early": lambda X: model(name, early_stopping=True).fit(X, Y),
        "fit, validation": lambda X: model(name).fit(ROWS["float16"], Y, X_val=X, y_val=Y),
        "partial_fit": lambda X: model(name).partial_fit(X, Y, classes=[0, 1, 2]),
        "predict": trained.predict,
        "predict_proba": trained.predict_proba,
    }
    for what, call in calls.items():
        said = []
        for X in (wrong, wrong.astype(np.float32)):
            with pytest.raises(InputError, match=r"row 371 \(counted from 0\), column 5") as caught:
                call(X)
            said.append(str(caught.value).replace("float16", "float32"))
        assert said[0] == said[1], what


def test_scikit_learns_switch_turns_the_check_off() -> None:
    import sklearn

    wrong = ROWS["float16"].copy()
    wrong[371, 5] = np.inf
    with sklearn.config_context(assume_finite=True), pytest.raises(FastlinError) as caught:
        model().partial_fit(wrong, Y, classes=[0, 1, 2])
    assert not str(caught.value).startswith("Input X contains")


@each_backend
def test_the_largest_numbers_are_exact(name: str) -> None:
    """Sums and squares of float16's largest numbers, and the size of int8's smallest."""
    for row_type, largest in (("float16", 65504), ("int8", 127)):
        low = -128 if row_type == "int8" else -largest
        rows = np.where(np.arange(N)[:, np.newaxis] % 2, largest, low).repeat(3, axis=1)
        rows[:, 1] = np.arange(N) % 7
        labels = np.arange(N) % 2
        rows = rows.astype(row_type)
        for options in ({}, {"input_scale": "standard"}, {"solver": "lbfgs"}):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                found = [
                    model(name, **options).fit(X, labels) for X in (rows, rows.astype(np.float32))
                ]
            assert np.isfinite(found[0].coef_).all()
            np.testing.assert_array_equal(found[0].coef_, found[1].coef_)
            assert found[0].score(rows, labels) == 1


def test_ranges_beyond_float16_are_told_of() -> None:
    rows = NORMAL.astype(np.float16)
    rows[:, 0] = np.where(Y, 65504, -65504)
    with pytest.warns(ScalingWarning, match=r"orders of magnitude, from .* to 1.31e\+05"):
        model().fit(rows, Y)


def test_whole_numbers_far_from_zero_are_not_constant() -> None:
    """Neighbours of float16 at 2000 differ by an epsilon of float16, but not by rounding."""
    years = (2000 + Y).astype(np.float16)[:, np.newaxis]
    for option in ("standard", "minmax"):
        trained = model(input_scale=option, solver="lbfgs", max_epochs=100, l2=1e-4).fit(years, Y)
        assert trained.score(years, Y) == 1


def test_a_path_of_penalties() -> None:
    found = [
        fastlin.path(X, Y, [1.0, 0.1], X_val=X[:90], y_val=Y[:90], backend="numpy")
        for X in (ROWS["float16"], ROWS["float16"].astype(np.float32))
    ]
    np.testing.assert_array_equal(found[0].val_loss, found[1].val_loss)
