"""What the estimator's options do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimators import TWO, WORDS, X, Y, model, of_classes
from scipy.sparse import csr_array
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, backends
from fastlin.solvers.progress import Progress

# ------------------------------------------------------------------ options


@pytest.mark.parametrize(
    ("option", "scaler"), [("minmax", MinMaxScaler()), ("standard", StandardScaler())]
)
@pytest.mark.parametrize("k", [2, 3])
def test_the_scale_of_the_inputs_is_folded_in(option: str, scaler: Any, k: int) -> None:
    rows, labels = of_classes(k)
    inside = model(input_scale=option, l2=0.1, learning_rate=0.2).fit(rows, labels)
    outside = make_pipeline(scaler, model(l2=0.1, learning_rate=0.2)).fit(rows, labels)
    np.testing.assert_allclose(
        inside.history_.train_loss, outside[-1].history_.train_loss, rtol=1e-9
    )
    np.testing.assert_allclose(inside.predict_proba(X), outside.predict_proba(X), rtol=1e-8)
    np.testing.assert_allclose(
        inside.coef_,
        outside[-1].coef_ * scaler.scale_ ** (1 if option == "minmax" else -1),
        rtol=1e-8,
    )


def test_pixels_are_scaled_without_a_copy_of_them_in_floating_point() -> None:
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (200, 30)).astype(np.uint8)
    labels = np.arange(200) % 3
    options = {"dtype": "float64", "learning_rate": 0.05}
    inside = model(input_scale=(127.5, 1 / 127.5), **options).fit(pixels, labels)
    outside = model(**options).fit((pixels - 127.5) / 127.5, labels)
    np.testing.assert_allclose(inside.history_.train_loss, outside.history_.train_loss, rtol=1e-10)
    scaled = (pixels - 127.5) / 127.5
    np.testing.assert_allclose(
        inside.predict_proba(pixels), outside.predict_proba(scaled), rtol=1e-9
    )


def test_an_automatic_rate_is_that_of_the_scaled_rows() -> None:
    inside = model(input_scale="standard").fit(X, Y)
    outside = model().fit(StandardScaler().fit_transform(X), Y)
    assert inside.learning_rate_ == pytest.approx(outside.learning_rate_, rel=1e-5)
    assert model(learning_rate=0.125).fit(X, Y).learning_rate_ == 0.125


@pytest.mark.parametrize("scale", [None, "minmax", "standard"])
def test_weights_of_rows_are_repetitions(scale: str | None) -> None:
    """With all rows in a batch."""
    generator = np.random.default_rng(0)
    times = generator.integers(0, 4, len(Y))
    options = {"batch_size": 1000, "input_scale": scale, "max_epochs": 20, "tol": None}
    weighted = model(**options).fit(X, Y, sample_weight=times)
    repeated = model(**options).fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(
        weighted.history_.train_loss, repeated.history_.train_loss, rtol=1e-12
    )


def test_weights_of_classes_are_weights_of_rows() -> None:
    weight = {0: 1.0, 1: 3.0, 2: 0.5}
    of_rows = np.array([weight[label] for label in Y])
    by_class = model(class_weight=weight).fit(X, Y)
    np.testing.assert_array_equal(by_class.coef_, model().fit(X, Y, sample_weight=of_rows).coef_)
    both = model(class_weight=weight).fit(X, Y, sample_weight=of_rows)
    squared = model().fit(X, Y, sample_weight=of_rows**2)
    np.testing.assert_allclose(both.coef_, squared.coef_, rtol=1e-12)


def test_balanced_classes_weigh_the_same() -> None:
    some = np.r_[np.flatnonzero(Y == 0)[:5], np.flatnonzero(Y == 1), np.flatnonzero(Y == 2)[:10]]
    counts = np.bincount(Y[some])
    balanced = model(class_weight="balanced").fit(X[some], Y[some])
    by_hand = model(class_weight=dict(enumerate(len(some) / (3 * counts)))).fit(X[some], Y[some])
    np.testing.assert_allclose(balanced.coef_, by_hand.coef_, rtol=1e-12)
    assert not np.allclose(balanced.coef_, model().fit(X[some], Y[some]).coef_)


def test_balanced_classes_count_a_row_with_weight_two_twice() -> None:
    times = np.random.default_rng(0).integers(0, 4, len(Y))
    options = {"class_weight": "balanced", "batch_size": 1000}
    weighted = model(**options).fit(X, Y, sample_weight=times)
    repeated = model(**options).fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    np.testing.assert_allclose(weighted.coef_, repeated.coef_, rtol=1e-9)
    # A class without any weight is only ever wrong.
    two = model(**options).fit(X, Y, sample_weight=np.where(TWO, 1, 0))
    assert two.predict_proba(X)[:, 2].mean() < 0.2


def test_an_intercept_is_trained_penalised_or_left_out() -> None:
    rows = X - X.mean(axis=0)
    labels = np.where(Y == 2, 2, 0)  # one class twice as frequent, so that an intercept is needed
    options = {"learning_rate": 0.05, "max_epochs": 50, "l2": 0.5}
    free = model(**options).fit(rows, labels)
    held = model(**options, regularize_intercept=True).fit(rows, labels)
    none = model(**options, fit_intercept=False).fit(rows, labels)
    assert 0 < abs(held.intercept_[0]) < abs(free.intercept_[0])
    assert none.intercept_[0] == 0


@pytest.mark.parametrize(
    ("rows", "option", "expected"),
    [
        ("uint8", "auto", "float32"),
        ("int8", "auto", "float32"),
        ("float16", "auto", "float32"),
        ("float32", "auto", "float32"),
        ("float64", "auto", "float64"),
        ("int64", "auto", "float64"),
        ("uint8", "float64", "float64"),
        ("int8", "float64", "float64"),
        ("float16", "float64", "float64"),
        ("float64", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
def test_types_of_weights(rows: str, option: str, expected: str) -> None:
    generator = np.random.default_rng(0)
    values = generator.integers(0, 9, (60, 4)).astype(rows)
    trained = model(dtype=option).fit(values, np.arange(60) % 3)
    assert trained.coef_.dtype == trained.intercept_.dtype == expected
    assert trained.decision_function(values).dtype == expected


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_seed_fixes_the_bits_of_a_fit(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    generator = np.random.default_rng(0)
    rows, labels = generator.standard_normal((300, 784)), np.arange(300) % 10

    def fit(seed: int, n_threads: int | None = None) -> np.ndarray:
        options = {"backend": name, "random_state": seed, "n_threads": n_threads, "batch_size": 128}
        return model(**options).fit(rows, labels).coef_

    np.testing.assert_array_equal(fit(0), fit(0))
    np.testing.assert_array_equal(fit(0, 1), fit(0, 3))
    assert not np.array_equal(fit(0), fit(1))


def test_without_shuffling_the_seed_does_not_matter() -> None:
    one, other = (model(shuffle=False, random_state=seed).fit(X, Y) for seed in (0, 1))
    np.testing.assert_array_equal(one.coef_, other.coef_)


def test_a_generator_as_seed_goes_on() -> None:
    state = np.random.RandomState(0)
    first, second = (model(random_state=state).fit(X, Y) for _ in range(2))
    assert not np.array_equal(first.coef_, second.coef_)


def test_a_line_an_epoch_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    model(verbose=1, max_epochs=3).fit(X, Y, X_val=X, y_val=Y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert all("loss" in line and "val_accuracy" in line and "rows/s" in line for line in lines)
    model().fit(X, Y)
    assert capsys.readouterr().out == ""


def test_callbacks_see_and_stop() -> None:
    seen: list[Progress] = []

    def stop_in_the_third(progress: Progress) -> bool:
        seen.append(progress)
        return progress.epoch == 2

    trained = model(callbacks=[stop_in_the_third], max_epochs=10).fit(X, Y)
    assert trained.n_iter_ == len(seen) == 3
    assert trained.history_.stop_reason == "callback"


# ------------------------------------------------------------------ validation and stopping


def test_a_validation_set_is_recorded_and_changes_nothing() -> None:
    plain = model().fit(X, Y)
    checked = model(checks_per_epoch=2).fit(X, Y, X_val=X[:40], y_val=Y[:40])
    np.testing.assert_array_equal(plain.coef_, checked.coef_)
    history = checked.history_
    assert history.check_step.tolist() == list(range(0, 30, 3))
    assert history.val_loss.shape == history.val_accuracy.shape == (10,)


def test_early_stopping_on_a_set_of_one_s_own_returns_the_best_weights() -> None:
    X_val, y_val = X[:30], (Y[:30] + 1) % 3  # the better the training rows, the worse these
    trained = model(
        early_stopping=True, patience=3, max_epochs=50, checks_per_epoch=6, learning_rate=0.01
    ).fit(X, Y, X_val=X_val, y_val=y_val)
    history = trained.history_
    assert history.stop_reason == "early_stopping"
    assert history.best_step == history.check_step[history.val_loss.argmin()]
    assert len(history.check_step) == int(history.val_loss.argmin()) + 1 + 3
    chosen = trained.predict_log_proba(X_val)[np.arange(30), y_val]
    assert -chosen.mean() == pytest.approx(history.val_loss.min(), rel=1e-12)
    assert trained.n_iter_ == history.stopped_epoch + 1


def test_early_stopping_splits_its_own_part_off() -> None:
    trained = model(early_stopping=True, validation_fraction=0.2).fit(X, WORDS[Y])
    assert trained.history_.steps_per_epoch == -(-72 // 16)
    # 18 rows, of each class alike: accuracies are multiples of 1/18.
    np.testing.assert_allclose(trained.history_.val_accuracy * 18 % 1, 0, atol=1e-9)
    again = model(early_stopping=True, validation_fraction=0.2).fit(X, WORDS[Y])
    np.testing.assert_array_equal(trained.coef_, again.coef_)


def test_tol_ends_the_training() -> None:
    trained = model(tol=10.0, patience=3, max_epochs=100).fit(X, Y)
    assert trained.history_.stop_reason == "tol"
    assert trained.n_iter_ == 4
    for tol in (0, None):
        assert model(tol=tol, patience=1, max_epochs=30).fit(X, Y).n_iter_ == 30


@pytest.mark.parametrize("backend", [b.name for b in backends().values() if b.available])
@pytest.mark.parametrize("sparse", [False, True])
def test_options_may_be_small_numbers_of_numpy(backend: str, sparse: bool) -> None:
    rng = np.random.default_rng(0)
    dense = rng.standard_normal((1500, 6))
    labels = (dense[:, 0] > 0).astype(int)
    rows = csr_array(np.where(rng.random(dense.shape) < 0.5, dense, 0)) if sparse else dense

    def fit(**options: Any) -> LogisticRegression:
        fixed = {"max_epochs": 3, "tol": None, "random_state": 0, "schedule": "invscaling"}
        return LogisticRegression(backend=backend, **{**fixed, **options}).fit(rows, labels)

    plain = fit(batch_size=32)  # before the others, as a search over an array of sizes has it
    for number in (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.uint64):
        same = fit(batch_size=number(32))
        np.testing.assert_array_equal(same.coef_, plain.coef_)
    for name, value in {
        "max_epochs": np.int8(3),
        "n_threads": np.int8(2),
        "l2": np.float16(0.25),
        "momentum": np.float16(0.5),
        "learning_rate": np.float32(0.25),
        "nesterov": np.bool_(False),
        "shuffle": np.bool_(True),
    }.items():
        np.testing.assert_array_equal(fit(**{name: value}).coef_, fit(**{name: value.item()}).coef_)
