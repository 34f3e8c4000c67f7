"""Warnings: when they appear, when they would be noise, and what they say."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from command_line import run_process
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import fastlin
from fastlin import LogisticRegression
from fastlin.advice import FastlinWarning, NotConvergedWarning, ScalingWarning, SeparableWarning
from fastlin.kernels import Samples, get_backend
from fastlin.results.history import History
from fastlin.solvers import diagnosis

GENERATOR = np.random.default_rng(0)
X = GENERATOR.standard_normal((200, 5))
Y = (X @ [1, -1, 1, 0, 0] + GENERATOR.standard_normal(200) > 0).astype(int)


def model(**options: Any) -> LogisticRegression:
    return LogisticRegression(backend="numpy", random_state=0, **options)


@contextmanager
def one_warning(kind: type[Warning], said: str) -> Iterator[None]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    assert [warning.category for warning in caught] == [kind]
    message = str(caught[0].message)
    assert said in message
    assert "\n" not in message
    assert caught[0].filename == __file__


def test_every_kind_is_one_of_ours_and_one_of_scikit_learn_s_where_it_has_one() -> None:
    kinds = [NotConvergedWarning, ScalingWarning, SeparableWarning]
    assert all(issubclass(kind, FastlinWarning) for kind in kinds)
    assert issubclass(NotConvergedWarning, ConvergenceWarning)


# ------------------------------------------------------------------ quiet where all is well


@pytest.mark.parametrize(
    ("load", "scale"),
    [
        (load_digits, None),
        (load_digits, "minmax"),
        (load_iris, None),
        (load_wine, "standard"),
        (load_breast_cancer, "standard"),
    ],
)
def test_ordinary_data_give_no_warning(load: Any, scale: str | None) -> None:
    rows, labels = load(return_X_y=True)
    trained = model(input_scale=scale).fit(rows, labels)
    assert trained.score(rows, labels) > 0.9


def test_rows_of_every_kind_give_no_warning() -> None:
    pixels = GENERATOR.integers(0, 256, (200, 5)).astype(np.uint8)
    pixels[1:, 4] = 0
    texts = np.abs(GENERATOR.standard_normal((200, 300))) * (GENERATOR.random((200, 300)) < 0.05)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True) + 1e-9
    for rows in (pixels, texts, X.astype(np.float32) / 1000, X * 1e6):
        assert model().fit(rows, Y).history_.train_loss[-1] < 0.75


# ------------------------------------------------------------------ the loss still falls


def test_a_loss_that_still_falls() -> None:
    with one_warning(NotConvergedWarning, "max_epochs=100, from"):
        model(learning_rate=1e-3).fit(X, Y)


def test_the_line_told_of_is_the_caller_s_own() -> None:
    """However many functions of scikit-learn and joblib lie between, in whichever version."""
    still_falling = model(learning_rate=1e-3)
    folds = [(np.arange(200), np.arange(200))]
    with one_warning(NotConvergedWarning, "max_epochs=100, from"):
        make_pipeline(StandardScaler(), still_falling).fit(X, Y)
    with one_warning(NotConvergedWarning, "max_epochs=100, from"):
        cross_val_score(still_falling, X, Y, cv=folds)
    with one_warning(NotConvergedWarning, "stopped after 1 iterations"):
        model(solver="lbfgs", max_epochs=1, tol=1e-9).fit(X, Y)
    with one_warning(NotConvergedWarning, "fits with l2=0.001 fell short"):
        fastlin.path(X, Y, [1e-3], max_epochs=1, tol=1e-9, backend="numpy")


@pytest.mark.parametrize(
    "options",
    [
        {"tol": None},
        {"tol": 0},
        {"max_epochs": 10},  # tol cannot end it before patience is over
        {"early_stopping": True, "max_epochs": 5, "patience": 2},
        {"callbacks": [lambda progress: progress.epoch == 50]},
    ],
)
def test_who_did_not_ask_for_convergence_is_not_told(options: dict[str, Any]) -> None:
    trained = model(learning_rate=1e-3, **options).fit(X, Y)
    assert trained.history_.train_loss[-1] > 0.6


EPOCHS = np.arange(100.0)


@pytest.mark.parametrize(
    ("losses", "told"),
    [
        (2 - EPOCHS / 100, True),
        (np.exp(-EPOCHS / 100), True),
        (np.exp(-EPOCHS / 20), False),
        ((1 + EPOCHS) ** -0.5, False),
    ],
    ids=["line", "slow decay", "decay", "root"],
)
def test_how_a_loss_falls(losses: np.ndarray, told: bool) -> None:
    history = History(
        train_loss=losses.repeat(3), stopped_epoch=len(losses) - 1, stop_reason="max_epochs"
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        diagnosis.look_at_descent(history, 1e-4, 10)
        diagnosis.look_at_descent(history, 1.0, 10)  # more than it fell
    assert len(caught) == told


# ------------------------------------------------------------------ features


@pytest.mark.parametrize("load", [load_breast_cancer, load_wine])
def test_features_of_very_different_ranges(load: Any) -> None:
    rows, labels = load(return_X_y=True)
    with one_warning(ScalingWarning, "try input_scale='standard'"):
        model(tol=None, max_epochs=2).fit(rows, labels)


def test_which_features_count() -> None:
    rows = X.copy()
    rows[:, 4] = 1e9  # constant
    model().fit(rows, Y)
    rows[:, 3] *= 1e4
    with one_warning(ScalingWarning, "differ by orders of magnitude"):
        model(tol=None).fit(rows, Y)
    for options in ({"input_scale": "standard"}, {"solver": "lbfgs", "max_epochs": 1000}):
        assert model(**options).fit(rows[:, :4], Y).score(rows[:, :4], Y) > 0.7


def test_sparse_features_of_very_different_ranges() -> None:
    rows = csr_array(np.where(np.random.default_rng(0).random(X.shape) < 0.5, X, 0))
    model().fit(rows, Y)
    huge = (rows * [1, 1, 1, 1, 1e7]).tocsr()
    with one_warning(ScalingWarning, "by their largest values: input_scale=(0, scale)"):
        model(tol=None, max_epochs=3).fit(huge, Y)
    scale = 1 / abs(huge).max(axis=0).toarray().ravel()
    model(input_scale=(0, scale)).fit(huge, Y)


def test_the_narrowest_tenth_may_be_rare_events() -> None:
    rows = np.random.default_rng(0).standard_normal((200, 30))
    rows[:, :2] *= 1e-6
    model().fit(rows, Y)
    rows[:, :4] *= 1e-6
    with one_warning(ScalingWarning, "differ by orders of magnitude"):
        model(tol=None).fit(rows, Y)


# ------------------------------------------------------------------ separation


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
@pytest.mark.parametrize("k", [2, 3])
def test_classes_that_are_separated_without_a_penalty(k: int, solver: str) -> None:
    labels = np.arange(200) % k
    rows = X + 10 * np.eye(5)[labels]
    with one_warning(SeparableWarning, "right about all 200 rows, so with l2=0"):
        model(l2=0, solver=solver).fit(rows, labels)
    model(l2=1e-3, solver=solver).fit(rows, labels)
    model(l2=0, solver=solver, early_stopping=True).fit(rows, labels)
    model(l2=0, solver=solver).fit(X, Y)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("wrong", [0, 299, 5000, None])
def test_the_search_for_a_wrong_row_ends_soon_after_it(
    wrong: int | None, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = np.arange(20_000) % 2
    rows = np.column_stack([labels * 2.0 - 1, np.ones(20_000)])
    weight = np.ones(20_000) if weighted else None
    if weight is not None:  # it is wrong, but has no weight
        rows[1, 0], weight[1] = -1, 0
    if wrong is not None:
        rows[wrong, 0] *= -1
    backend, read = get_backend("numpy"), []

    def logits(samples: Samples, *rest: Any) -> Any:
        read.append(len(samples.rows))
        return backend.logits(samples, *rest)

    monkeypatch.setattr(
        "fastlin.training_set.get_backend", lambda name: replace(backend, logits=logits)
    )
    trained = model(l2=0, solver="lbfgs", max_epochs=3, tol=None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trained.fit(rows, labels, sample_weight=weight)
    assert any(warning.category is SeparableWarning for warning in caught) == (wrong is None)
    if wrong is None:
        assert sum(read) == len(rows)
    else:
        assert wrong < sum(read) <= 2 * wrong + 256


# ------------------------------------------------------------------ labels


@pytest.mark.parametrize("kind", [float, int, str])
@pytest.mark.parametrize("rows_of_a_class", [2, 4])
def test_whole_numbers_are_classes_however_few_rows_each_has(
    rows_of_a_class: int, kind: type
) -> None:
    labels = (np.arange(200) % (200 // rows_of_a_class)).astype(kind)
    assert len(model(max_epochs=2).fit(X, labels).classes_) == 200 // rows_of_a_class


# ------------------------------------------------------------------ on the command line


def test_the_command_line_says_it_in_one_line(tmp_path: Any) -> None:
    rows = np.column_stack([X, 1e6 * X[:, 0]])
    np.savez(tmp_path / "data.npz", X=rows, y=Y)
    done = run_process("train", "--data", str(tmp_path / "data.npz"), "--quiet", "--epochs", "5")
    assert done.code == 0
    assert done.err.startswith("fastlin: warning: the ranges of the features differ")
    assert done.err.count("\n") == 1
