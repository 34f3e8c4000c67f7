"""scikit-learn's ``SGDClassifier``: one-vs-rest, one sample at a time.

Not the same mathematics (no batches, no softmax), so its outcome is not compared;
it is here because it is what people use for this task.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sklearn.linear_model import SGDClassifier

from fastlin.bench.contestants import Contestant, Model, Outcome
from fastlin.bench.data import Data
from fastlin.bench.peers import Variant
from fastlin.bench.problems import Problem


class SgdClassifier(Contestant):
    """One epoch of ``SGDClassifier.fit``; the classes are shared out among threads."""

    same_mathematics = False

    def __init__(self, problem: Problem, data: Data, start: Model, *, n_threads: int) -> None:
        n_used = len(data.order)
        # It has no kernel for narrow rows and would copy to float64 inside: give it float32.
        self.rows, self.labels = data.float_rows[:n_used], data.labels[:n_used]
        self.estimator = SGDClassifier(
            loss="log_loss",
            penalty="l2",
            alpha=2.0 * problem.l2,  # its penalty is alpha / 2 * sum(w**2)
            learning_rate="constant",
            eta0=problem.learning_rate,
            max_iter=1,
            tol=None,
            n_jobs=n_threads,
            random_state=problem.seed,
        )

    def reset(self) -> None:
        """Nothing to do: ``fit`` starts afresh."""

    def run(self) -> None:
        """Train for one epoch."""
        self.estimator.fit(self.rows, self.labels)

    def outcome(self) -> Outcome:
        """Return the model; it keeps no losses."""
        return Outcome(Model(self.estimator.coef_, self.estimator.intercept_), np.empty(0))


def variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Return its one form."""
    label = "float32 copy made beforehand" if problem.narrow else ""
    return [Variant(label, partial(SgdClassifier, n_threads=n_threads))]
