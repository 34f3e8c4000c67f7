"""Predictions of given weights: who makes them, and the check against the formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin.bench.contestants import Contestant, Model, Outcome, limit_blas_threads
from fastlin.bench.correctness import Check, logits_by_block, tolerance
from fastlin.bench.data import Data
from fastlin.bench.problems import Problem


class Predictor(Contestant):
    """``predict`` or ``predict_proba`` of an estimator with scikit-learn's interface.

    Parameters
    ----------
    estimator
        Not fitted; it gets the weights of ``start``, unscaled, since it sees the rows as they are.
    """

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, estimator: Any, n_threads: int
    ) -> None:
        self.problem, self.data, self.model, self.n_threads = problem, data, start, n_threads
        estimator.classes_ = np.arange(problem.n_classes)
        estimator.coef_ = (start.weights * data.scale).astype(problem.weight_dtype)
        estimator.intercept_ = start.intercept
        estimator.n_features_in_ = problem.n_features
        self._answer_of = getattr(estimator, problem.timed)
        self.answer: Any = None

    def reset(self) -> None:
        """Set the threads."""
        limit_blas_threads(self.n_threads)

    def run(self) -> None:
        """Predict for all rows in one call."""
        self.answer = self._answer_of(self.data.rows)

    def outcome(self) -> Outcome:
        """Return the model, which a prediction leaves as it is; there are no losses."""
        return Outcome(self.model, np.empty(0))


def check_prediction(predictor: Predictor) -> Check:
    """Compare all that a predictor answers with the formula in float64.

    The error is the largest difference of a probability. A predicted label's is how much less
    probable it is than the most probable one, since rounding decides between two that are alike.
    """
    problem, data = predictor.problem, predictor.data
    predictor.reset()
    predictor.run()
    answer = np.asarray(predictor.answer)
    n, k = len(data.labels), problem.n_classes
    if answer.shape != ((n,) if problem.timed == "predict" else (n, k)):
        return Check(float("inf"), tolerance(problem))
    error = 0.0
    for block, z in logits_by_block(predictor.model, data):
        right = np.exp(z - np.logaddexp.reduce(z, axis=1, keepdims=True))
        got = answer[block]
        if problem.timed == "predict":
            # A label that there is not has no probability.
            chosen = np.asarray(got)[:, np.newaxis] == np.arange(k)
            off = right.max(axis=1) - np.sum(right, axis=1, where=chosen)
        else:
            off = np.abs(got - right)
        error = np.fmax(error, np.nan_to_num(off, nan=np.inf).max())
    return Check(float(error), tolerance(problem))
