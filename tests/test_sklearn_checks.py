"""scikit-learn's own checks of an estimator, all of them, for every solver on every backend."""

from __future__ import annotations

from typing import Any

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastlin import LogisticRegression
from fastlin.kernels import BACKEND_NAMES, backends


# Some of the checks train on a few rows, where an epoch is one step. scikit-learn's own run of them
# ignores these warnings as well.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(
    [
        LogisticRegression(solver=solver, backend=name)
        for solver in ("sgd", "lbfgs")
        for name in BACKEND_NAMES
    ]
)
def test_the_estimator_passes(estimator: LogisticRegression, check: Any) -> None:
    if not backends()[estimator.backend].available:
        pytest.skip(f"backend {estimator.backend!r} is not available")
    check(estimator)
