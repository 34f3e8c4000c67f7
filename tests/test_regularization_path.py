"""A regularisation path gives the same models as separate fits, at less cost."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning

import fastlin
from fastlin import LogisticRegression
from fastlin.errors import InputError
from fastlin.solvers import lbfgs

L2 = [1e-4, 1e-1, 1e-3, 1e-2]
OPTIONS: dict[str, Any] = {"backend": "numpy", "input_scale": (0, 1 / 16), "tol": 1e-9}


def digits(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    X, y = load_digits(n_class=k, return_X_y=True)
    labels = np.array(list("abcdefghij"))[y]
    return X[::2], labels[::2], X[1::2], labels[1::2]


@pytest.mark.parametrize("k", [2, 5])
@pytest.mark.parametrize(
    "options", [{}, {"regularize_intercept": True, "class_weight": "balanced"}]
)
def test_every_fit_is_that_of_its_penalty_alone(k: int, options: dict[str, Any]) -> None:
    X, y, X_val, y_val = digits(k)
    weight = np.linspace(0.5, 2, len(y))
    options = OPTIONS | options
    found = fastlin.path(X, y, L2, sample_weight=weight, X_val=X_val, y_val=y_val, **options)
    assert list(found.l2) == sorted(L2, reverse=True)
    alone = []
    of_classes = 1 / np.bincount(np.unique(y, return_inverse=True)[1], weight)
    val_weight = of_classes[np.unique(y_val, return_inverse=True)[1]]
    if "class_weight" not in options:
        val_weight[:] = 1
    for at, l2 in enumerate(found.l2):
        one = LogisticRegression(solver="lbfgs", l2=l2, **options).fit(X, y, weight)
        alone.append(one)
        assert found.objective[at] == pytest.approx(one.history_.objective[-1], rel=1e-8)
        np.testing.assert_allclose(found.coef[at], one.coef_, atol=2e-3 * abs(one.coef_).max())
        assert found.val_accuracy[at] == pytest.approx(
            one.score(X_val, y_val, val_weight), abs=0.01
        )
        index = np.searchsorted(one.classes_, y_val)
        chosen = one.predict_log_proba(X_val)[np.arange(len(y_val)), index]
        assert found.val_loss[at] == pytest.approx(
            -np.average(chosen, weights=val_weight), rel=1e-3
        )
        assert found.objective[at] - found.gap[at] <= one.history_.objective[-1] * (1 + 1e-9)
    assert set(found.stop_reason) == {"tol"}
    assert found.n_iter.sum() < sum(one.n_iter_ for one in alone)


def test_the_best_is_an_estimator_like_any_other() -> None:
    X, y, X_val, y_val = digits(5)
    found = fastlin.path(X, y, L2, X_val=X_val, y_val=y_val, **OPTIONS)
    at = int(np.argmin(found.val_loss))
    best = found.best
    assert at > 0
    assert type(best) is LogisticRegression
    assert best.get_params()["l2"] == found.l2[at]
    np.testing.assert_array_equal(best.coef_, found.coef[at])
    np.testing.assert_array_equal(best.intercept_, found.intercept[at])
    assert best.score(X_val, y_val) == found.val_accuracy[at]
    assert best.history_.objective[-1] == found.objective[at]
    copy = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(copy.predict(X_val), best.predict(X_val))
    best.set_params(warm_start=True).fit(X, y)
    assert best.n_iter_ <= 5


def test_without_a_validation_set_there_is_no_best() -> None:
    X, y, *_ = digits(3)
    found = fastlin.path(X, y, [1e-2], **OPTIONS)
    assert found.best is found.val_loss is found.val_accuracy is None
    assert found.coef.shape == (1, 3, 64)
    assert found.intercept.shape == (1, 3)


def test_the_rows_are_sampled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastlin import regularization_path
    from fastlin.solvers.curvature import Curvature

    made = []

    def counted(objective: Any) -> Curvature:
        made.append(objective)
        return Curvature(objective)

    monkeypatch.setattr(regularization_path, "Curvature", counted)
    monkeypatch.setattr(lbfgs, "Curvature", counted)
    X, y, *_ = digits(3)
    fastlin.path(X, y, L2, **OPTIONS)
    assert len(made) == 1


def test_fits_that_fall_short_are_named_in_one_warning() -> None:
    X, y, *_ = digits(3)
    with pytest.warns(ConvergenceWarning) as caught:
        found = fastlin.path(X, y, [1e-2, 1e-3], **OPTIONS | {"max_epochs": 3})
    assert len(caught) == 1
    assert "l2=0.01, 0.001 fell short" in str(caught[0].message)
    assert "raise max_epochs" in str(caught[0].message)
    assert found.stop_reason == ("max_epochs", "max_epochs")
    assert list(found.n_iter) == [3, 3]


@pytest.mark.parametrize("l2", [[], 0.1, [-1.0], [np.nan], ["strong"], [[0.1]], None])
def test_penalties_that_are_none(l2: Any) -> None:
    X, y, *_ = digits(3)
    with pytest.raises(InputError, match="is not a list of penalties"):
        fastlin.path(X, y, l2)


@pytest.mark.parametrize(
    "option", [{"solver": "sgd"}, {"warm_start": True}, {"early_stopping": True}]
)
def test_options_that_make_no_sense_on_a_path(option: dict[str, Any]) -> None:
    X, y, *_ = digits(3)
    with pytest.raises(InputError, match=f"path does not take {next(iter(option))}="):
        fastlin.path(X, y, L2, **option)


def test_a_mistake_is_told_as_by_fit() -> None:
    X, y, *_ = digits(3)
    with pytest.raises(InputError, match="y_val is missing"):
        fastlin.path(X, y, L2, X_val=X)
    with pytest.raises(InputError, match="'momentum' parameter"):
        fastlin.path(X, y, L2, momentum=2.0)
