"""What is timed: an epoch of mini-batch gradient descent, the way to the optimum, or a prediction.

Every contestant does the same mathematics on the same rows in the same order.
For each batch of ``m`` rows ``x``, with ``k`` classes::

    logits   = x W^T + b                                 (m, k)
    residual = softmax(logits) - one_hot(labels)         (m, k)
    W       -= learning_rate * (residual^T x / m + 2 l2 W)
    b       -= learning_rate * mean(residual)

and keeps the batch's mean cross-entropy. Two classes take one weight vector and
the sigmoid. An incomplete last batch is dropped, so that compilers that want
one shape (XLA) need no special case.

To the optimum, everybody minimises the mean cross-entropy plus ``l2 * sum(W**2)`` over all rows, by
any method, until the objective is within a relative ``gap`` of the least.

Predictions are those of given weights, for all rows in one call.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

DTYPES = ("uint8", "float16", "float32", "float64")
MNIST_DTYPES = ("uint8", "float32", "float64")
GRID_FEATURES = (64, 784, 4096)
GRID_CLASSES = (2, 10, 100, 1000)
GRID_BATCH_SIZES = (32, 128, 1024, 8192)

PROBE_DTYPES = ("float16", "float32")
PROBES = (
    (512, 100, 1024),
    (512, 300, 128),
    (512, 1000, 1024),
    (768, 100, 128),
    (768, 300, 1024),
    (768, 1000, 128),
    (768, 1000, 1024),
    (2048, 100, 1024),
    (2048, 300, 4096),
    (2048, 1000, 4096),
)
"""Features, classes and batch size of the linear probes: layers on top of frozen embeddings."""
SHORT_PROBES = ((768, 100, 128), (768, 1000, 1024))
"""Those that are also timed with one batch a call, which shows what a call costs by itself."""

FIT_DTYPES = PREDICT_DTYPES = ("uint8", "float32")

OPTIMUM_GAP = 1e-5
OPTIMUM_PROBE_CLASSES = (10, 100, 400)
# A grid cell: what a plain NumPy loop does in about 0.2 s, so that the slowest
# contestant stays near half a second and the fastest stays well above a timer's
# and a barrier's noise.
_CELL_SECONDS = 0.2
_ASSUMED_FLOPS_PER_SECOND = 30e9
_ASSUMED_BYTES_PER_SECOND = 5e9
_ASSUMED_SECONDS_PER_STEP = 40e-6
# As float64. Contestants that gather a batch hold it beside the rows, so if few
# batches fill a cell, the process takes a few times this.
_CELL_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Problem:
    """One epoch on ``n_rows`` rows of ``n_features`` features.

    Attributes
    ----------
    name : str
        Identifies the problem in tables, in JSON and between two runs.
    dtype : str
        Type of the rows, one of :data:`DTYPES`. Weights are float64 for float64 rows, else
        float32.
    source : str
        ``"mnist"``, ``"synthetic"``, ``"text"`` or ``"embedding"``.
    l2 : float
        The penalty is ``l2 * sum(W**2)``; the intercept is free.
    rate : float or None
        Learning rate; None is a safe one.
    gap : float or None
        Relative distance from the least objective at which the clock stops; None is one epoch.
    nonzeros : int or None
        Stored values of a row in CSR; None is dense.
    timed : str
        ``"training"``; ``"fit"``, the kernel beside the ``fit`` with a given and with an automatic
        rate; ``"predict"`` or ``"predict_proba"``, on all rows.
    """

    name: str
    n_rows: int
    n_features: int
    n_classes: int
    batch_size: int
    dtype: str
    source: str = "synthetic"
    l2: float = 1e-4
    rate: float | None = None
    seed: int = 0
    gap: float | None = None
    nonzeros: int | None = None
    timed: str = "training"

    @property
    def predicts(self) -> bool:
        """Whether predictions are timed, not training."""
        return self.timed in ("predict", "predict_proba")

    @property
    def n_outputs(self) -> int:
        """Number of weight vectors: one for two classes, else one a class."""
        return 1 if self.n_classes == 2 else self.n_classes

    @property
    def n_steps(self) -> int:
        """Full batches in an epoch."""
        return self.n_rows // self.batch_size

    @property
    def learning_rate(self) -> float:
        """The rate asked for, or a step that cannot diverge.

        Features lie in [0, 1], so a row's squared norm is at most ``d`` and the
        largest eigenvalue of the loss's Hessian at most ``d / 2``: below
        ``4 / d`` gradient descent is stable.
        """
        return 1.0 / self.n_features if self.rate is None else self.rate

    @property
    def weight_dtype(self) -> np.dtype[Any]:
        """Type of the weights and of the arithmetic."""
        return np.dtype(np.float64 if self.dtype == "float64" else np.float32)

    @property
    def narrow(self) -> str:
        """Type of the rows if arithmetic has to widen them, else empty."""
        return self.dtype if np.dtype(self.dtype) != self.weight_dtype else ""

    @property
    def flops(self) -> float:
        """Floating-point operations: products of 2 n d k each, 2 an epoch, 1 a prediction."""
        products = 1 if self.predicts else 2
        return 2.0 * products * self.n_steps * self.batch_size * self._stored * self.n_outputs

    @property
    def bytes(self) -> float:
        """Bytes of one pass over an epoch's rows, the least that must be read."""
        indices = 0 if self.nonzeros is None else np.dtype(np.int32).itemsize
        row = self._stored * (np.dtype(self.dtype).itemsize + indices)
        return float(self.n_steps * self.batch_size * row)

    @property
    def _stored(self) -> int:
        return self.n_features if self.nonzeros is None else self.nonzeros


def mnist_problems(
    *, quick: bool = False, source: str = "mnist", dtypes: tuple[str, ...] | None = None
) -> list[Problem]:
    """Softmax and binary logistic regression on MNIST's 60 000 x 784 rows.

    Parameters
    ----------
    quick : bool
        Take a tenth of the rows and only the softmax.
    source : str
        ``"synthetic"`` takes random rows of the same shape instead, for a machine
        that cannot fetch MNIST; the arithmetic is the same.
    dtypes : tuple of str, optional
        Types of the rows; :data:`MNIST_DTYPES` unless given.
    """
    n_rows, suffix = _rows_and_suffix(quick)
    kinds = [("softmax", 10, 128), ("softmax", 10, 1024), ("logistic", 2, 128)]
    return [
        Problem(
            f"{source}-{model}-{dtype}-batch{batch}{suffix}", n_rows, 784, k, batch, dtype, source
        )
        for model, k, batch in kinds[: 1 if quick else None]
        for dtype in dtypes or MNIST_DTYPES
    ]


def optimum_problems(*, quick: bool = False, source: str = "mnist") -> list[Problem]:
    """Softmax and logistic regression on MNIST, to 1e-5 of the optimum, and probes to half of it.

    ``quick`` takes a tenth of the rows of MNIST and only the softmax on bytes.
    """
    n, suffix = _rows_and_suffix(quick)
    kinds = [("softmax", 10, "uint8"), ("softmax", 10, "float32"), ("logistic", 2, "uint8")]
    found = [
        Problem(name, n, 784, k, n, dtype, source, gap=OPTIMUM_GAP)
        for model, k, dtype in kinds[: 1 if quick else None]
        for name in [f"{source}-{model}-{dtype}-optimum{suffix}"]
    ]
    for k in () if quick else OPTIMUM_PROBE_CLASSES:
        name, n, d = f"probe-d768-k{k}-optimum", 20_000, 768
        probe = Problem(name, n, d, k, n, "float32", "embedding", 1e-5, gap=OPTIMUM_GAP / 2)
        found.append(probe)
    return found


def _rows_and_suffix(quick: bool) -> tuple[int, str]:
    return (6_000, "-quick") if quick else (60_000, "")


def sparse_problems(*, quick: bool = False) -> list[Problem]:
    """Words of texts in CSR: one epoch, and to the optimum.

    ``quick`` takes a tenth of the rows and of the words.
    """
    size = 10_000 if quick else 100_000
    name = "text-softmax-epoch" + ("-quick" if quick else "")
    # Rows have length 1, so a rate of 1 is safe.
    epoch = Problem(name, size, size, 20, 128, "float32", "text", l2=1e-5, rate=1.0, nonzeros=100)
    name = epoch.name.replace("epoch", "optimum")
    return [epoch, replace(epoch, name=name, batch_size=size, gap=OPTIMUM_GAP)]


def probe_problems(*, quick: bool = False, dtypes: tuple[str, ...] | None = None) -> list[Problem]:
    """Linear probes: an epoch of several batches, for some also a run of one batch a call.

    ``quick`` takes a tenth of the work, and two batches of the largest. The rows are synthetic.
    """
    seconds, least, suffix = (_CELL_SECONDS / 10, 2, "-quick") if quick else (_CELL_SECONDS, 4, "")
    found = []
    for (d, k, batch), dtype in product(PROBES, dtypes or PROBE_DTYPES):
        name = f"probe-d{d}-k{k}-batch{batch}-{dtype}"
        n = max(_cell_rows(d, k, batch, seconds), least * batch)
        found.append(Problem(name + suffix, n, d, k, batch, dtype))
        if (d, k, batch) in SHORT_PROBES:
            found.append(replace(found[-1], name=f"{name}-short{suffix}", n_rows=batch))
    return found


def fit_problems(
    *, quick: bool = False, source: str = "mnist", dtypes: tuple[str, ...] | None = None
) -> list[Problem]:
    """Softmax regression on MNIST's 60 000 x 784 rows: the epoch beside the ``fit`` that makes it.

    ``quick`` takes a tenth of the rows.
    """
    n, suffix = _rows_and_suffix(quick)
    return [
        Problem(f"{source}-fit-{dtype}{suffix}", n, 784, 10, 128, dtype, source, timed="fit")
        for dtype in dtypes or FIT_DTYPES
    ]


def predict_problems(
    *, quick: bool = False, source: str = "mnist", dtypes: tuple[str, ...] | None = None
) -> list[Problem]:
    """Predictions of ten classes for MNIST's 60 000 x 784 rows, and for one of them.

    ``quick`` takes a tenth of the rows, or one.
    """
    n_rows, suffix = _rows_and_suffix(quick)
    return [
        Problem(f"{source}-{timed}-{dtype}{end}", n, 784, 10, n, dtype, source, timed=timed)
        for timed in ("predict", "predict_proba")
        for dtype in dtypes or PREDICT_DTYPES
        for n, end in ((n_rows, suffix), (1, f"-one-row{suffix}"))
    ]


def grid_problems(*, quick: bool = False, **chosen: tuple[Any, ...] | None) -> list[Problem]:
    """Synthetic problems over features, classes, batch sizes and types.

    Parameters
    ----------
    quick : bool
        A tenth of the work in each cell.
    **chosen : tuple
        ``features``, ``classes``, ``batch_sizes`` or ``dtypes``: the values to
        keep instead of all; any positive size is allowed.
    """
    axes: dict[str, tuple[Any, ...]] = {
        "features": GRID_FEATURES,
        "classes": GRID_CLASSES,
        "batch_sizes": GRID_BATCH_SIZES,
        "dtypes": DTYPES,
    }
    axes |= {axis: values for axis, values in chosen.items() if values}
    seconds = _CELL_SECONDS / 10 if quick else _CELL_SECONDS
    return list(_cells(axes, seconds, "-quick" if quick else ""))


def _cells(axes: dict[str, tuple[Any, ...]], seconds: float, suffix: str) -> Iterator[Problem]:
    for d, k, batch, dtype in product(
        axes["features"], axes["classes"], axes["batch_sizes"], axes["dtypes"]
    ):
        name = f"grid-d{d}-k{k}-batch{batch}-{dtype}{suffix}"
        yield Problem(name, _cell_rows(d, k, batch, seconds), d, k, batch, dtype)


def _cell_rows(d: int, k: int, batch: int, seconds: float) -> int:
    """Return how many rows fill a cell's time within its memory; whole batches, one or more."""
    outputs = 1 if k == 2 else k
    seconds_per_row = (
        4.0 * d * outputs / _ASSUMED_FLOPS_PER_SECOND
        + 4.0 * d / _ASSUMED_BYTES_PER_SECOND
        + _ASSUMED_SECONDS_PER_STEP / batch
    )
    rows = min(int(seconds / seconds_per_row), _CELL_BYTES // (8 * d))
    return max(rows // batch, 1) * batch
