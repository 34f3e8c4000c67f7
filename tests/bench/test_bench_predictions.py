"""Predictions and the fit beside its kernel as benchmarks, on tiny problems."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from fastlin.bench import contestants, suite
from fastlin.bench.correctness import random_model
from fastlin.bench.data import make_data
from fastlin.bench.limits import Limits
from fastlin.bench.peers import PEERS, PREDICTORS, SUITES
from fastlin.bench.predictions import Predictor, check_prediction
from fastlin.bench.problems import DTYPES, Problem
from fastlin.kernels import get_backend

NUMPY = get_backend("numpy")
PREDICT = Problem("labels", 5000, 16, 5, 5000, "float32", timed="predict")
FIT = Problem("fit", 128, 16, 3, 32, "uint8", timed="fit")


@pytest.fixture(autouse=True)
def fixed_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite, "measure_limits", lambda n: Limits(n, n * 100e9, n * 50e9, n * 10e9, "by hand")
    )


def run(problem: Problem, *peers: str) -> Any:
    known = [(PEERS | PREDICTORS)[name] for name in peers]
    return suite.run(suite.Plan([problem], [NUMPY], known, 1, rounds=1))


@pytest.mark.parametrize("n_rows", [5000, 1])
@pytest.mark.parametrize("n_classes", [2, 5])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("timed", ["predict", "predict_proba"])
def test_fastlin_and_scikit_learn_pass(timed: str, dtype: str, n_classes: int, n_rows: int) -> None:
    shape = {"n_rows": n_rows, "batch_size": n_rows, "n_classes": n_classes}
    found = run(replace(PREDICT, timed=timed, dtype=dtype, **shape), "sklearn")
    assert found.wrong == []
    assert [(case.contestant, case.kind) for case in found.cases] == [
        ("fastlin numpy", "kernel"),
        ("scikit-learn LogisticRegression", "peer"),
    ]
    for case in found.cases:
        assert case.error < case.tolerance / 2
        assert case.flops == 2 * n_rows * 16 * (1 if n_classes == 2 else n_classes)


class Estimator(SimpleNamespace):
    """Softmax in float64, with a mistake in one of the last rows."""

    def __init__(self, mistake: str) -> None:
        super().__init__(mistake=mistake)

    def predict_proba(self, rows: np.ndarray) -> np.ndarray:
        p = softmax(rows.astype(np.float64) @ self.coef_.T + self.intercept_, axis=1)
        if self.mistake == "nan":
            p[-2, 1] = np.nan
        elif self.mistake == "row":
            p[-2] = p[-1]
        elif self.mistake == "rounding":
            p[-2, 1] += 1e-3
        return p[:-1] if self.mistake == "shape" else p

    def predict(self, rows: np.ndarray) -> np.ndarray:
        labels = self.classes_[self.predict_proba(rows).argmax(axis=1)]
        if self.mistake == "label":
            labels[-2] = 77
        elif self.mistake == "second":
            labels[-2] = (labels[-2] + 1) % 5
        return labels


def predictor(problem: Problem, mistake: str) -> Predictor:
    start, data = random_model(problem), make_data(problem)
    return Predictor(problem, data, start, estimator=Estimator(mistake), n_threads=1)


@pytest.mark.parametrize(
    ("timed", "mistake"),
    [
        *(("predict_proba", mistake) for mistake in ("nan", "row", "rounding", "shape")),
        *(("predict", mistake) for mistake in ("label", "second", "shape")),
    ],
)
def test_a_wrong_prediction_does_not_pass(timed: str, mistake: str) -> None:
    problem = replace(PREDICT, timed=timed)
    assert check_prediction(predictor(problem, "none")).error < 1e-12
    assert not check_prediction(predictor(problem, mistake)).passed


def test_the_check_takes_either_of_two_labels_that_are_alike() -> None:
    one = predictor(PREDICT, "none")
    one.model.weights[:] = 0
    assert check_prediction(one).passed


def test_a_peer_that_predicts_wrongly_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        suite.Peer, "variants", lambda *_: [SimpleNamespace(label="odd", build=build)]
    )

    def build(problem: Problem, *_: object) -> Predictor:
        return predictor(problem, "second")

    found = run(PREDICT, "sklearn")
    assert [case.contestant for case in found.cases] == ["fastlin numpy"]
    (wrong,) = found.wrong
    assert wrong.contestant == "scikit-learn LogisticRegression (odd)"
    assert wrong.reason.startswith("its probabilities are off by ")


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_the_fit_is_beside_its_kernel(dtype: str, n_classes: int) -> None:
    found = run(replace(FIT, dtype=dtype, n_classes=n_classes), "sgdclassifier")
    assert found.wrong == []
    assert [(case.contestant, case.kind) for case in found.cases] == [
        ("fastlin numpy", "kernel"),
        ("fastlin numpy, fit", "fit"),
        ("fastlin numpy, fit, rate auto", "fit"),
        ("scikit-learn SGDClassifier", "peer"),
    ]
    assert all(case.error <= case.tolerance for case in found.cases[:3])


def test_the_automatic_rate_is_another_than_the_given_one() -> None:
    data = make_data(FIT)
    outcomes = []
    for rate in (None, "auto"):
        fit = contestants.Fit(NUMPY, FIT, data, 1, learning_rate=rate)
        fit.run()
        outcomes.append(fit.outcome().model.weights)
    assert not np.allclose(*outcomes, rtol=0.1)


def test_a_fit_with_a_wrong_kernel_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The automatic rate's steps are compared with those in float64."""
    right = contestants.Fit.outcome

    def off(self: contestants.Fit) -> contestants.Outcome:
        found = right(self)
        factor = 1.01 if found.model.weights.dtype == np.float32 else 1.0
        return replace(found, losses=found.losses * factor)

    monkeypatch.setattr(contestants.Fit, "outcome", off)
    found = run(FIT)
    assert [case.contestant for case in found.cases] == ["fastlin numpy"]
    assert [failure.contestant for failure in found.wrong] == [
        "fastlin numpy, fit",
        "fastlin numpy, fit, rate auto",
    ]


def test_each_suite_has_its_peers() -> None:
    assert set(SUITES["probe"]) == {"numpy", "pytorch-manual", "pytorch", "jax"}
    assert set(SUITES["fit"]) == {"sgdclassifier"}
    assert set(SUITES["predict"]) == {"sklearn"}
