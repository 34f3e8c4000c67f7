"""Mean loss and accuracy, with weights of rows and without."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from problems import make_problem

from fastlin.kernels import get_backend
from fastlin.solvers.evaluation import mean_score


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("factor", [0, 1])
def test_weights_of_one_change_nothing(k: int, factor: int) -> None:
    """Even if all logits are equal, and the first class is predicted."""
    problem = make_problem(201, 5, k)
    model = factor * problem.weights, factor * problem.intercept
    samples = problem.samples
    plain = mean_score(get_backend("numpy"), samples, *model, 1)
    weighted = replace(samples, sample_weight=np.ones(201))
    assert mean_score(get_backend("numpy"), weighted, *model, 1) == pytest.approx(plain, rel=1e-14)
    if factor == 0:
        assert plain[1] == np.mean(samples.labels == 0)


@pytest.mark.parametrize("k", [1, 3])
def test_a_row_of_weight_two_is_two_rows(k: int) -> None:
    problem = make_problem(200, 5, k)
    times = np.arange(200) % 3
    weighted = replace(problem.samples, sample_weight=times.astype(np.float64))
    repeated = problem.samples.part(np.repeat(np.arange(200), times))
    got, expected = (
        mean_score(get_backend("numpy"), samples, *problem.model, 1)
        for samples in (weighted, repeated)
    )
    assert got == pytest.approx(expected, rel=1e-13)
