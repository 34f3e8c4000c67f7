"""Random problems of logistic and softmax regression, each written as one word.

A word describes the whole problem, so that a fault can be repeated, and made smaller by hand::

    lbfgs,c,float32,n=300,d=20,k=3,seed=5,noise=0.3,weights=span,l2=0.01,tol=1e-06
"""

from __future__ import annotations

import random
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

ROWS = (
    *("float32", "float64", "float32", "float64", "uint8", "uint8", "float16"),
    *("csrfloat32", "csrfloat64", "csrfloat64int64"),
)
FEATURES = ("plain", "plain", "unequal", "offset", "far", "correlated", "constant", "all")
BALANCES = ("even", "even", "skewed", "one")
WEIGHTS = ("none", "none", "none", "random", "zeros", "span", "whole", "oneclass")
PARAMETERS_AT_MOST = 1000
"""Of a problem: the oracle solves systems of so many equations."""

STEPS_AT_MOST = {"numpy": 8_000, "c": 60_000, "numba": 60_000}


@dataclass(frozen=True)
class Problem:
    """One fit: the solver, the rows, and how the two are drawn and set."""

    solver: str = "lbfgs"
    backend: str = "numpy"
    rows: str = "float64"
    """A type of dense rows, or ``csr`` with types of values and of columns."""
    n: int = 100
    d: int = 5
    k: int = 2
    seed: int = 0
    features: str = "plain"
    balance: str = "even"
    """Rows of the classes: ``skewed`` is each half of the one before; ``one`` row of the last."""
    separation: float = 1.0
    """Distance of the classes' centres, in deviations; 0 is noise alone."""
    flipped: float = 0.0
    """Share of the labels that are drawn anew."""
    weights: str = "none"
    class_weight: str = "none"
    scale: str = "none"
    l2: float = 1e-4
    intercept: str = "free"
    dtype: str = "auto"
    tol: float = 1e-4
    epochs: int = 100
    early: str = "no"
    """``given`` a validation set, or one that is ``split`` off."""
    batch: int = 128
    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False
    drop_last: bool = False
    schedule: str = "constant"
    threads: int = 1

    def __str__(self) -> str:
        parts = [self.solver, self.backend, self.rows]
        for field in fields(self)[3:]:
            value = getattr(self, field.name)
            if value != field.default:
                parts.append(field.name if value is True else f"{field.name}={value}")
        return ",".join(parts)

    @staticmethod
    def read(word: str) -> Problem:
        """Return the problem that a word describes."""
        solver, backend, rows, *parts = word.split(",")
        kinds = {field.name: type(field.default) for field in fields(Problem)}
        named = {}
        for part in parts:
            name, _, value = part.partition("=")
            named[name] = True if kinds[name] is bool else kinds[name](value)
        return Problem(solver, backend, rows, **named)

    @property
    def n_weights(self) -> int:
        """Weights and intercepts of the model."""
        return (self.k if self.k > 2 else 1) * (self.d + 1)

    @property
    def sparse(self) -> bool:
        return self.rows.startswith("csr")


@dataclass(frozen=True)
class Data:
    """What ``fit`` gets, and the rows as numbers of 53 bits, which are the same."""

    rows: Any
    labels: NDArray[np.int64]
    weight: NDArray[np.float64] | None
    class_weight: Any
    input_scale: Any
    val_rows: Any
    val_labels: NDArray[np.int64]

    @property
    def dense(self) -> NDArray[np.float64]:
        return dense(self.rows)


def dense(rows: Any) -> NDArray[np.float64]:
    """Return rows with their zeros."""
    array = rows.toarray() if scipy.sparse.issparse(rows) else rows
    return np.asarray(array, np.float64)


def data_of(problem: Problem) -> Data:
    """Return the rows and what belongs to them, the same for the same word."""
    p, generator = problem, np.random.default_rng([problem.seed, 9])
    n_val = max(20, p.n // 4)
    labels = np.concatenate([_labels(p, generator, n) for n in (p.n, n_val)])
    rows = _rows(p, generator, labels)
    flipped = generator.random(len(labels)) < p.flipped
    labels[flipped] = generator.permutation(labels)[flipped]
    labels[: p.k] = np.arange(p.k)
    rows, val_rows = rows[: p.n], rows[p.n :]
    return Data(
        rows, labels[: p.n], _weights(p, generator, labels[: p.n]),
        _class_weight(p, generator), _input_scale(p, generator, rows), val_rows, labels[p.n :],
    )  # fmt: skip


def _labels(p: Problem, generator: np.random.Generator, n: int) -> NDArray[np.int64]:
    """Return labels of a class each at least, if there are enough."""
    if p.balance == "skewed":
        share = 0.5 ** np.arange(p.k)
        labels = generator.choice(p.k, n, p=share / share.sum())
    else:
        labels = np.arange(n) % (p.k - 1 if p.balance == "one" else p.k)
    labels = generator.permutation(labels)
    labels[: p.k] = np.arange(min(p.k, n))
    return labels.astype(np.int64)


def _rows(p: Problem, generator: np.random.Generator, labels: NDArray[np.int64]) -> Any:
    n, d = len(labels), p.d
    kinds = {"unequal", "offset", "correlated", "constant"} if p.features == "all" else {p.features}
    centres = generator.standard_normal((p.k, d))
    centres *= p.separation / np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-9)
    x = generator.standard_normal((n, d))
    if "correlated" in kinds:
        n_factors = max(1, d // 4)
        factors = generator.standard_normal((n, n_factors))
        x = factors @ generator.standard_normal((n_factors, d)) + 0.05 * x
    x += centres[labels]
    if "unequal" in kinds:
        x *= 10.0 ** generator.uniform(-3, 3 if p.rows != "float16" else 1, d)
    if p.sparse:
        x *= generator.random((n, d)) < generator.choice([0.03, 0.3])
        if "constant" in kinds:
            x[:, 0] = 0
        index = np.int64 if p.rows.endswith("int64") else np.int32
        values = p.rows.removeprefix("csr").removesuffix("int64")
        sparse = scipy.sparse.csr_array(x.astype(values))
        sparse.indices, sparse.indptr = (a.astype(index) for a in (sparse.indices, sparse.indptr))
        return sparse
    if "offset" in kinds:
        x += np.abs(x).max(axis=0) * generator.choice([0, 1, 10, 100, -100], d)
    if "far" in kinds:
        some = generator.random(d) < 0.3
        some[generator.integers(d)] = True
        x[:, some] += 10.0 ** generator.integers(4, 8, some.sum())
    if "constant" in kinds or ("far" in kinds and d > 1):
        x[:, generator.random(d) < 0.2] = generator.choice([0.0, 0.1, -3.7, 1e3])
        if "far" in kinds and p.rows != "float16":
            x[:, generator.integers(d)] = 1e7 + 1 / 3
    if p.rows == "uint8":
        low, high = x.min(axis=0), x.max(axis=0)
        x = (x - low) / np.where(high > low, high - low, 1) * generator.choice([3, 60, 255], d)
        return np.round(x).astype(np.uint8)
    if p.rows == "float16":
        x = np.clip(x, -6e4, 6e4)
    return np.ascontiguousarray(x.astype(p.rows))


def _weights(
    p: Problem, generator: np.random.Generator, labels: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    n = len(labels)
    if p.weights == "none":
        return None
    if p.weights == "oneclass":
        return (labels == labels[generator.integers(n)]).astype(np.float64)
    if p.weights == "whole":
        return generator.integers(1, 5, n).astype(np.float64)
    if p.weights == "span":
        return np.asarray(10.0 ** generator.uniform(-6, 6, n))
    weights = generator.uniform(0.1, 2.0, n)
    if p.weights == "zeros":
        weights[generator.random(n) < 0.5] = 0
        weights[generator.integers(n)] = 1
    return weights


def _class_weight(p: Problem, generator: np.random.Generator) -> Any:
    if p.class_weight == "dict":
        some = generator.permutation(p.k)[: max(1, p.k // 2)]
        return {int(label): float(generator.choice([0.1, 3.0, 50.0])) for label in some}
    return None if p.class_weight == "none" else p.class_weight


def _input_scale(p: Problem, generator: np.random.Generator, rows: Any) -> Any:
    if p.scale != "pair":
        return None if p.scale == "none" else p.scale
    values = dense(rows)
    with np.errstate(over="ignore"):
        largest = np.abs(values).max(axis=0) if p.sparse else np.ptp(values, axis=0)
    scale = 10.0 ** generator.uniform(-0.5, 0.5, p.d) / np.where(largest > 0, largest, 1)
    return (0, scale) if p.sparse else (values.mean(axis=0) - 0.1 / scale, scale)


def draw(seed: int, number: int) -> Problem:
    """Return the problem of this number among those of a seed."""
    generator = random.Random(f"{seed} {number}")
    pick = generator.choice
    rows = pick(ROWS)
    solver = pick(("lbfgs", "sgd"))
    backend = pick(("c", "c", "c", "numpy", "numpy", "numpy", "numba"))
    k = 2 if generator.random() < 0.45 else generator.randint(3, 20)
    d = max(1, int(200 ** generator.random()))
    d = min(d, PARAMETERS_AT_MOST // (k if k > 2 else 1) - 1)
    n = max(k, int(2 * 1500 ** generator.random()))
    early = pick(("given", "split")) if generator.random() < 0.15 else "no"
    sparse = rows.startswith("csr")
    problem: dict[str, Any] = {
        "solver": solver,
        "backend": backend,
        "rows": rows,
        "n": n,
        "d": d,
        "k": k,
        "seed": generator.randrange(10**6),
        "features": pick(FEATURES),
        "balance": pick(BALANCES if k > 2 or n < 3 else (*BALANCES, "skewed")) if n > k else "even",
        "separation": pick((0.0, 0.0, 0.5, 1.0, 2.0, 5.0, 20.0)),
        "flipped": pick((0.0, 0.0, 0.05, 0.3)),
        "weights": pick(WEIGHTS),
        "class_weight": pick(("none",) * 6 + ("balanced", "dict")),
        "scale": pick(("none", "pair") if sparse else ("none", "minmax", "standard", "pair")),
        "l2": 0.0 if generator.random() < 0.04 else float(f"{10 ** generator.uniform(-8, 1):.2g}"),
        "intercept": pick(("free", "free", "free", "none", "penalised")),
        "dtype": pick(("auto", "auto", "auto", "float32", "float64")),
        "early": early,
        "threads": pick((1, 2)),
    }
    if solver == "lbfgs":
        problem |= {"tol": pick((1e-4, 1e-4, 1e-6, 1e-8, 1e-10)), "epochs": pick((100, 1000, 1000))}
        return Problem(**problem)
    if generator.random() < 0.3:
        return Problem(**problem)  # all defaults
    epochs = pick((20, 100, 100))
    smallest = n * epochs // STEPS_AT_MOST[backend] + 1
    problem |= {
        "epochs": epochs,
        "batch": max(pick((1, 7, 16, 32, 64, 128, 500, 4000)), smallest),
        "momentum": pick((0.0, 0.0, 0.5, 0.9, 0.9, 0.99)),
        "average": generator.random() < 0.25,
        "drop_last": False,
        "schedule": pick(("constant", "constant", "invscaling", "cosine")),
        "tol": pick((1e-4, 1e-4, 0.0)),
    }
    # Rows of weight zero may not count for a batch.
    enough = problem["batch"] <= n / 4 and problem["weights"] not in ("zeros", "oneclass")
    problem["drop_last"] = generator.random() < 0.2 and enough
    problem["nesterov"] = problem["momentum"] > 0 and generator.random() < 0.4
    return Problem(**problem)
