"""scikit-learn's ``LogisticRegression``, which predicts from the same weights.

Narrow rows are given as they are, as a user would; NumPy then widens them within the product.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from sklearn.linear_model import LogisticRegression

from fastlin.bench.contestants import Model
from fastlin.bench.data import Data
from fastlin.bench.peers import Variant, thread_counts, variant_label
from fastlin.bench.predictions import Predictor
from fastlin.bench.problems import Problem


def _build(problem: Problem, data: Data, start: Model, *, n_threads: int) -> Predictor:
    estimator: Any = LogisticRegression()
    return Predictor(problem, data, start, estimator=estimator, n_threads=n_threads)


def variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Return its form on one and all threads of BLAS."""
    return [
        Variant(
            variant_label(threads, all_threads=n_threads),
            partial(_build, n_threads=threads),
        )
        for threads in thread_counts(n_threads)
    ]
