"""Arrays and options that cannot be used: one line that says what is wrong and what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from estimators import TWO, WORDS, X, Y, model, with_value

from fastlin.errors import BackendUnavailableError, DivergenceError, FastlinError, InputError
from fastlin.kernels import Backend, load_backend

ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "one dimension": ({"X": X[0]}, r"shape \(4,\); expected \(n, d\).* Reshape your data"),
    "three dimensions": (
        {"X": np.zeros((90, 2, 2))},
        r"shape \(90, 2, 2\).* X.reshape\(len\(X\), -1\)",
    ),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "0 sample"),
    "no features": ({"X": X[:, :0]}, "0 feature"),
    "nan": ({"X": with_value(np.nan)}, "X contains NaN"),
    "infinity": ({"X": with_value(np.inf)}, "X contains infinity"),
    "words for numbers": ({"X": np.full((90, 4), "a")}, "could not convert string to float: .*'a'"),
    "other lengths": ({"y": Y[:-1]}, "90 rows and 89 labels in y; pass one"),
    "no labels": ({"y": None}, "requires y to be passed"),
    "labels of two columns": ({"y": np.column_stack([Y, Y])}, r"1d array, got .* \(90, 2\)"),
    "labels nan": ({"y": np.where(Y == 0, np.nan, Y)}, "y contains NaN"),
    "numbers for labels": ({"y": X[:, 0]}, "Unknown label type: continuous"),
    "one class": ({"y": np.full(90, "ant")}, "one class only .'ant'.; .* two different labels"),
    "weights of other length": (
        {"sample_weight": np.ones(89)},
        r"sample_weight.shape == \(89,\), expected \(90,\)",
    ),
    "negative weights": ({"sample_weight": -np.ones(90)}, "Negative values .* `sample_weight`"),
    "weights nan": ({"sample_weight": np.full(90, np.nan)}, "sample_weight contains NaN"),
    "weights whose sum overflows": (
        {"sample_weight": np.full(90, 1e308)},
        "sample_weight as large as 1e.308 overflow when summed up; divide them by their largest",
    ),
    "no weight": ({"sample_weight": np.zeros(90)}, "at least one"),
    "validation without labels": ({"X_val": X}, "y_val is missing: pass both X_val and y_val"),
    "validation without rows": ({"y_val": Y}, "X_val is missing: pass both X_val and y_val"),
    "validation of other width": (
        {"X_val": X[:, :3], "y_val": Y},
        r"validation set \(X_val, y_val\) is wrong: X has 3 features, .* expecting 4",
    ),
    "validation of other length": (
        {"X_val": X, "y_val": Y[1:]},
        "validation set .* 90 rows and 89 labels in y_val",
    ),
    "empty validation": ({"X_val": X[:0], "y_val": Y[:0]}, "validation set .* 0 sample"),
    "validation nan": ({"X_val": with_value(np.nan), "y_val": Y}, "validation set .* NaN"),
    "unseen labels": (
        {"X_val": X, "y_val": Y + 1},
        "y_val holds labels that were not seen in training: 3; expected 0, 1, 2",
    ),
    "labels of another kind": (
        {"X_val": X, "y_val": WORDS[Y]},
        "y_val holds labels that were not seen in training: 'ant', 'bee', 'cat'; expected 0",
    ),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_used(name: str) -> None:
    changes, said = ARRAYS[name]
    estimator = model()
    with pytest.raises(InputError, match=said) as caught:
        estimator.fit(**{"X": X, "y": Y, **changes})
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)
    assert not hasattr(estimator, "coef_")


def test_a_split_that_takes_all_the_weight_is_refused() -> None:
    estimator = model(early_stopping=True, validation_fraction=0.9)
    with pytest.raises(InputError, match=r"early_stopping .* all rows of positive weight.*; pass"):
        estimator.fit(X, Y, sample_weight=np.arange(90) == 0)
    assert not hasattr(estimator, "coef_")


OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"batch_size": 0}, r"'batch_size' .* int in the range \[1, inf\). Got 0"),
    ({"batch_size": -128}, "'batch_size' .* Got -128"),
    ({"batch_size": 2.5}, "'batch_size' .* Got 2.5"),
    ({"max_epochs": 0}, "'max_epochs' .* Got 0"),
    ({"patience": 0}, "'patience' .* Got 0"),
    ({"checks_per_epoch": 0}, "'checks_per_epoch' .* Got 0"),
    ({"n_threads": 0}, "'n_threads' .* Got 0"),
    ({"n_threads": -1}, "'n_threads' .* Got -1"),
    ({"l2": -1e-4}, r"'l2' .* float in the range \[0.0, inf\). Got -0.0001"),
    ({"l2": np.nan}, "'l2' .* Got nan"),
    ({"learning_rate": 0}, r"'learning_rate' .*'auto'.* \(0.0, inf\). Got 0"),
    ({"learning_rate": "fast"}, "'learning_rate' .* Got 'fast'"),
    ({"momentum": 1.0}, r"'momentum' .* \[0.0, 1.0\). Got 1.0"),
    ({"tol": -1}, "'tol' .* Got -1"),
    ({"validation_fraction": 1}, "'validation_fraction' .* Got 1"),
    ({"solver": "newton"}, "'solver' .* Got 'newton'"),
    ({"schedule": "step"}, "'schedule' .* Got 'step'"),
    ({"dtype": "float16"}, "'dtype' .* Got 'float16'"),
    ({"shuffle": "no"}, "'shuffle' .* Got 'no'"),
    ({"backend": "fortran"}, "'backend' .* Got 'fortran'"),
    ({"callbacks": print}, "'callbacks' .* 'list'"),
    ({"callbacks": [print, 5]}, r"callbacks\[1\] is 5, which cannot be called; .* set_callbacks"),
    ({"class_weight": "heavy"}, "'class_weight' .*'balanced'.* Got 'heavy'"),
    ({"class_weight": {0: -1, 1: 1, 2: 1}}, "gives 0 the weight -1; .* not negative"),
    ({"class_weight": {0: np.nan, 1: 1, 2: 1}}, "gives 0 the weight nan; .* finite"),
    (
        {"input_scale": "robust"},
        "'input_scale' .*('minmax', 'standard'|'standard', 'minmax').* Got 'robust'",
    ),
    ({"input_scale": (1, 2, 3)}, r"not a pair \(shift, scale\)"),
    ({"input_scale": (0, 0)}, "positive scales"),
    ({"input_scale": (0, np.ones(3))}, "4 elements, one for each feature"),
    ({"batch_size": 91, "drop_last": True}, "leaves no whole batch of 90 training rows"),
    ({"early_stopping": True, "validation_fraction": 0.01}, "pass X_val and y_val"),
]


@pytest.mark.parametrize(("options", "said"), OPTIONS)
def test_options_that_cannot_be_used(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        model(**options).fit(X, Y)
    assert "\n" not in str(caught.value)


def test_a_named_backend_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Backend:
        if name == "c":
            return Backend("c", reason="it was taken away", remedy="put it back")
        return load_backend(name)

    monkeypatch.setattr("fastlin.kernels.table.load_backend", load)
    with pytest.raises(BackendUnavailableError, match="'c' is not available: it was taken away"):
        model(backend="c").fit(X, Y)
    assert model(backend="numpy").fit(X, Y).backend_ == "numpy"


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_a_loss_that_is_not_finite(solver: str) -> None:
    options = {"solver": solver, "learning_rate": 1e300, "tol": None}
    with pytest.raises(DivergenceError, match="divide the features") as caught:
        model(**options).fit(X * 1e290, Y)
    if solver == "sgd":
        with pytest.raises(DivergenceError, match="input_scale='standard'"):
            model(**options).fit(X * 1e100, Y)
    assert isinstance(caught.value, (FastlinError, RuntimeError))


def test_mistakes_of_partial_fit() -> None:
    with pytest.raises(InputError, match="the first call of partial_fit needs classes"):
        model().partial_fit(X, Y)
    with pytest.raises(InputError, match="classes holds one class only"):
        model().partial_fit(X, Y, classes=[0])
    with pytest.raises(InputError, match="not seen in training: 2; expected 0, 1"):
        model().partial_fit(X, Y, classes=[0, 1])
    trained = model().partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(InputError, match=r"classes=\[0, 1\] differ from those of the first call"):
        trained.partial_fit(X, Y, classes=[0, 1])
    with pytest.raises(InputError, match=r"X has 2 features, .* expecting 4"):
        trained.partial_fit(X[:, :2], Y)
    with pytest.raises(
        InputError, match=r"class_weight='balanced' needs all rows .* compute_class"
    ):
        model(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2])
    assert not hasattr(model(solver="lbfgs"), "partial_fit")
    with pytest.raises(AttributeError, match="'partial_fit'") as caught:
        model(solver="lbfgs").partial_fit(X, Y, classes=[0, 1, 2])
    assert "partial_fit needs solver='sgd'" in str(caught.value.__cause__)


def test_a_warm_start_that_does_not_fit() -> None:
    trained = model(warm_start=True).fit(X, Y)
    with pytest.raises(InputError, match=r"warm_start=True with 3 features, .* trained on 4; fit"):
        trained.fit(X[:, :3], Y)
    trained = model(warm_start=True).fit(X, Y)
    with pytest.raises(InputError, match=r"warm_start=True with classes \[0, 1\], .* \[0, 1, 2\]"):
        trained.fit(X[TWO], Y[TWO])


@pytest.mark.parametrize("method", ["predict", "predict_proba", "decision_function"])
def test_mistakes_of_prediction(method: str) -> None:
    trained = model().fit(X, Y)
    for rows, said in (
        (X[0], "Reshape your data"),
        (X[:, :3], "X has 3 features, .* expecting 4"),
        (with_value(np.nan), "X contains NaN"),
        (X[:0], "0 sample"),
    ):
        with pytest.raises(InputError, match=said):
            getattr(trained, method)(rows)
    with pytest.raises(ValueError, match="not fitted yet"):
        getattr(model(), method)(X)
