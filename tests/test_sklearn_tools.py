"""The estimator in scikit-learn's tools: searches, pipelines, routing, calibration, selection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from estimators import WORDS, X, Y, model
from sklearn import config_context
from sklearn.calibration import CalibratedClassifierCV
from sklearn.feature_selection import RFE
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_validate
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from fastlin.kernels import BACKEND_NAMES, backends


@pytest.fixture
def routing() -> Iterator[None]:
    with config_context(enable_metadata_routing=True):
        yield


@pytest.mark.parametrize("name", BACKEND_NAMES)
def test_a_search_in_two_processes(name: str) -> None:
    if not backends()[name].available:
        pytest.skip(f"backend {name!r} is not available")
    grid = {"logisticregression__l2": [1e-4, 1e2]}
    estimator = make_pipeline(StandardScaler(), model(backend=name, max_epochs=20))
    options = {"cv": 3, "scoring": "neg_log_loss"}
    search = GridSearchCV(estimator, grid, n_jobs=2, **options).fit(X, WORDS[Y])
    alone = GridSearchCV(estimator, grid, **options).fit(X, WORDS[Y])
    assert search.best_params_ == {"logisticregression__l2": 1e-4}
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], alone.cv_results_["mean_test_score"]
    )
    assert set(search.predict(X)) <= set(WORDS)


def test_a_pipeline_of_data_frames() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    pipeline = make_pipeline(StandardScaler(), model()).set_output(transform="pandas")
    pipeline.fit(frame, Y)
    assert pipeline[-1].feature_names_in_.tolist() == list("abcd")
    plain = make_pipeline(StandardScaler(), model()).fit(X, Y)
    np.testing.assert_array_equal(pipeline.predict(frame), plain.predict(X))


def test_probabilities_that_are_calibrated() -> None:
    calibrated = CalibratedClassifierCV(model(input_scale="standard"), cv=3).fit(X, WORDS[Y])
    probabilities = calibrated.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-9)
    assert calibrated.score(X, WORDS[Y]) > 0.6


def test_features_are_eliminated_by_their_weights() -> None:
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((len(Y), 3))
    rows = np.column_stack([noise[:, 0], (Y == 1) * 3.0 + noise[:, 1], noise[:, 2]])
    chosen = RFE(model(max_epochs=50), n_features_to_select=1).fit(rows, Y == 1)
    assert chosen.support_.tolist() == [False, True, False]
    with_names = RFE(model(max_epochs=50), n_features_to_select=2).fit(rows, Y)
    assert with_names.support_[1]


def test_one_against_the_rest() -> None:
    rest = OneVsRestClassifier(model(input_scale="standard")).fit(X, Y)
    assert len(rest.estimators_) == 3
    assert rest.score(X, Y) > 0.6
    predicted = cross_val_predict(model(input_scale="standard"), X, Y, method="predict_proba")
    assert predicted.shape == (len(Y), 3)


# ------------------------------------------------------------------ metadata routing


def requested(**options: Any) -> Any:
    estimator = model(**options)
    return estimator.set_fit_request(sample_weight=True, X_val=True, y_val=True)


@pytest.mark.usefixtures("routing")
def test_a_pipeline_routes_weights_and_a_validation_set() -> None:
    weight = np.linspace(0.2, 2, len(Y))
    pipeline = Pipeline(
        [("scale", StandardScaler().set_fit_request(sample_weight=False)), ("model", requested())],
        transform_input=["X_val"],
    )
    pipeline.fit(X, Y, sample_weight=weight, X_val=X[:30], y_val=Y[:30])
    scaler = StandardScaler().fit(X)
    scaled = scaler.transform(X)
    alone = model().fit(scaled, Y, sample_weight=weight, X_val=scaled[:30], y_val=Y[:30])
    np.testing.assert_array_equal(pipeline[-1].coef_, alone.coef_)
    np.testing.assert_array_equal(pipeline[-1].history_.val_loss, alone.history_.val_loss)
    assert len(alone.history_.val_loss) == 5


@pytest.mark.usefixtures("routing")
def test_a_search_routes_weights_and_a_validation_set() -> None:
    weight = np.linspace(0.2, 2, len(Y))
    estimator = requested(early_stopping=True, patience=2).set_score_request(sample_weight=True)
    search = GridSearchCV(estimator, {"l2": [1e-4, 1e2]}, cv=3)
    search.fit(X, Y, sample_weight=weight, X_val=X[:30], y_val=Y[:30])
    best = search.best_estimator_
    assert len(best.history_.val_loss) > 0
    alone = model(early_stopping=True, patience=2, **search.best_params_)
    alone.fit(X, Y, sample_weight=weight, X_val=X[:30], y_val=Y[:30])
    np.testing.assert_array_equal(best.coef_, alone.coef_)


@pytest.mark.usefixtures("routing")
def test_weights_that_are_not_requested_are_refused() -> None:
    with pytest.raises(ValueError, match="sample_weight"):
        cross_validate(
            model(), X, Y, params={"sample_weight": np.ones(len(Y))}, error_score="raise"
        )
    results = cross_validate(
        requested().set_score_request(sample_weight=False),
        X,
        Y,
        params={"sample_weight": np.linspace(0.2, 2, len(Y))},
    )
    assert len(results["test_score"]) == 5
