"""Checks of an installation: every backend trains small models, which are held to the reference.

``fastlin selftest`` runs them. The rows come with scikit-learn.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

REFERENCE = "numpy"
CLOSE = {"float32": 2e-4, "float64": 1e-9}
"""Largest difference of two probabilities: that of some hundred steps' rounding, and a margin."""


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes
    ----------
    backend, what : str
        What was checked.
    seconds : float
        Time that it took, compiling included.
    wrong : str
        What is wrong; empty if nothing is.
    missing : str
        Why the backend cannot run here, and what to do about it; empty if it can.
    """

    backend: str
    what: str
    seconds: float = 0.0
    wrong: str = ""
    missing: str = ""


def findings(names: Sequence[str]) -> Iterator[Finding]:
    """Check backends, and yield each result as soon as it is there."""
    from fastlin.kernels import backends

    for name in names:
        backend = backends()[name]
        if not backend.available:
            yield Finding(name, "load", missing=f"{backend.reason}; {backend.remedy}")
            continue
        for what, check in _checks():
            started = time.perf_counter()
            try:
                wrong = check(name)
            except Exception as error:  # whatever is broken, the other checks go on
                wrong = f"{type(error).__name__}: {error}"
            yield Finding(name, what, time.perf_counter() - started, wrong)


def _checks() -> Iterator[tuple[str, Callable[[str], str]]]:
    from scipy.sparse import csr_matrix
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    bytes_, small = pixels.astype(np.uint8), (pixels / 16).astype(np.float32)
    scale = {"input_scale": (0.0, 1 / 16)}
    two = labels < 2

    def descent(X: Any, y: Any = labels, **options: Any) -> Callable[[str], str]:
        return lambda backend: _compare(backend, X, y, {"max_epochs": 5, **options})

    yield "descent, bytes", descent(bytes_, **scale)
    yield "descent, float32", descent(small, momentum=0.9)
    yield "descent, float64, two classes", descent(pixels[two] / 16, labels[two])
    yield "descent, sparse", descent(csr_matrix(small))
    yield "descent, many classes", descent(small, np.arange(len(small)) % 300)
    yield "loss, gradient and score", lambda backend: _gradient(backend, small, labels)
    yield "L-BFGS, float32", lambda backend: _optimum(backend, small, labels)
    yield "file of a model", lambda backend: _kept(backend, small, labels)


def _fit(backend: str, X: Any, y: Any, options: dict[str, Any]) -> Any:
    from fastlin import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # five epochs are few
        model = LogisticRegression(backend=backend, random_state=0, tol=None)
        return model.set_params(**options).fit(X, y)


def _compare(backend: str, X: Any, y: Any, options: dict[str, Any]) -> str:
    """Compare the probabilities with those of the reference after the same steps."""
    ours, theirs = (_fit(name, X, y, options) for name in (backend, REFERENCE))
    off = float(np.abs(ours.predict_proba(X) - theirs.predict_proba(X)).max())
    close = CLOSE[str(ours.coef_.dtype)]
    return "" if off <= close else f"probabilities are off by {off:.1e}"


def _gradient(backend: str, X: Any, y: Any) -> str:
    """Compare loss, gradient and right predictions over all rows, at random weights."""
    from fastlin.kernels import Samples, get_backend

    random = np.random.default_rng(0)
    weights, intercept = random.standard_normal((10, X.shape[1])), random.standard_normal(10)
    model = weights.astype(np.float32), intercept.astype(np.float32)
    samples = Samples(X, y.astype(np.int32))
    ours, theirs = (
        (*one.loss_gradient(samples, *model, 1), *one.score(samples, *model, 1))
        for one in map(get_backend, (backend, REFERENCE))
    )
    pairs = [(np.asarray(got), np.asarray(right)) for got, right in zip(ours, theirs, strict=True)]
    off = max(float(np.abs(got - right).max() / np.abs(right).max()) for got, right in pairs)
    return "" if off <= CLOSE["float32"] else f"they are off by {off:.1e} of the largest"


def _optimum(backend: str, X: Any, y: Any) -> str:
    """Let the certificate say whether the optimum was reached, and compare with the reference's."""
    options = {"solver": "lbfgs", "l2": 1e-3, "tol": 1e-5, "max_epochs": 200}
    ours, theirs = (_fit(name, X, y, options).history_ for name in (backend, REFERENCE))
    objective, gap = float(ours.objective[-1]), float(ours.gap[-1])
    if ours.stop_reason != "tol":
        return f"it stopped by {ours.stop_reason}"
    off = abs(objective - float(theirs.objective[-1]))
    return "" if off <= gap + float(theirs.gap[-1]) else f"the objective is off by {off:.1e}"


def _kept(backend: str, X: Any, y: Any) -> str:
    """Save a model, load it, and compare its predictions."""
    from fastlin import LogisticRegression

    model = _fit(backend, X, y, {"max_epochs": 2})
    with tempfile.TemporaryDirectory(prefix="fastlin-") as folder:
        path = Path(folder, "model.safetensors")
        model.save(path)
        same = np.array_equal(
            LogisticRegression.load(path).predict_proba(X), model.predict_proba(X)
        )
    return "" if same else "a loaded model predicts otherwise"
