"""Random problems of all noise levels, and how close to the optimum an automatic rate ends.

``python tests/noisy_problems.py COUNT`` prints the table of ``docs/guide/solver.rst``.
"""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from fastlin import LogisticRegression
from fastlin.advice import FastlinWarning

MOMENTA = (0.0, 0.5, 0.9, 0.99)


@dataclass(frozen=True)
class NoisyProblem:
    """Rows (dense or sparse), labels, weights or None, and options of a training."""

    rows: Any
    labels: np.ndarray
    weight: np.ndarray | None
    options: dict[str, Any]

    @property
    def entropy(self) -> float:
        """Loss of the best model without features."""
        shares = np.bincount(self.labels, self.weight)
        shares = shares[shares > 0] / shares.sum()
        return float(-(shares * np.log(shares)).sum())

    def loss(self, model: LogisticRegression) -> float:
        """Weighted mean of the cross-entropy."""
        chosen = model.predict_log_proba(self.rows)[np.arange(len(self.labels)), self.labels]
        return float(-np.average(chosen, weights=self.weight))

    def fit(self, **changes: Any) -> LogisticRegression:
        """Train silently on one thread."""
        model = LogisticRegression(random_state=0, n_threads=1, **{**self.options, **changes})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FastlinWarning)
            return model.fit(self.rows, self.labels, sample_weight=self.weight)


def noisy_problem(seed: int) -> NoisyProblem:
    """Draw 40 to 2000 rows, 1 to 100 features, batches of any size, certain to random labels."""
    generator = np.random.default_rng([99, seed])
    n, d = int(10 ** generator.uniform(1.6, 3.3)), int(10 ** generator.uniform(0, 2))
    k = int(generator.choice([2, 2, 5]))
    rows = generator.standard_t(4, (n, d)) * (generator.random((n, d)) < generator.choice([1, 0.2]))
    rows = rows + generator.choice([0, 0, 3]) * generator.standard_normal(d)
    signal = (rows - rows.mean(axis=0)) @ generator.standard_normal((d, k)) / np.sqrt(d)
    noise = 10 ** generator.uniform(-1, 2)
    labels = np.argmax(signal + noise * generator.gumbel(size=(n, k)), axis=1)
    labels[:k] = np.arange(k)
    weight = None
    if generator.random() < 0.4:
        weight = 10 ** generator.uniform(-2, 2, n) * (generator.random(n) < 0.8)
    rows = rows.astype(generator.choice(["float32", "float64"]))
    return NoisyProblem(
        csr_array(rows) if generator.random() < 0.3 else rows,
        labels,
        weight,
        {
            "batch_size": int(np.exp(generator.uniform(0, np.log(n)))),
            "momentum": float(generator.choice(MOMENTA)),
            "nesterov": bool(generator.random() < 0.3),
            "schedule": str(generator.choice(["constant", "invscaling", "cosine"])),
            "average": bool(generator.random() < 0.3),
            "max_epochs": int(generator.choice([1, 3, 10, 30])),
            "l2": float(generator.choice([1e-4, 1e-2])),
        },
    )


def main(count: int) -> None:
    """Print, by momentum, how much of the way from a constant to the optimum was left."""
    left: dict[float, list[float]] = {momentum: [] for momentum in MOMENTA}
    above: dict[float, list[float]] = {momentum: [] for momentum in MOMENTA}
    for seed in range(count):
        problem = noisy_problem(seed)
        l2, momentum = problem.options["l2"], problem.options["momentum"]

        def objective(
            model: LogisticRegression, problem: NoisyProblem = problem, l2: float = l2
        ) -> float:
            return problem.loss(model) + l2 * float(np.square(model.coef_.astype(float)).sum())

        best = objective(problem.fit(solver="lbfgs", tol=1e-6, max_epochs=5000))
        reached = objective(problem.fit(max_epochs=100))
        way = problem.entropy - best
        above[momentum].append(reached - best)
        left[momentum].append((reached - best) / way if way > 1e-6 else 0.0)
    print("momentum  problems  share of the way left: median  90 %  99 %  most    above, most")
    for momentum in MOMENTA:
        shares = np.quantile(left[momentum], [0.5, 0.9, 0.99, 1])
        print(
            f"{momentum:8}  {len(left[momentum]):8}  " + "  ".join(f"{s:.3f}" for s in shares),
            f"  {max(above[momentum]):.3f}",
        )


if __name__ == "__main__":
    main(int(sys.argv[1]))
