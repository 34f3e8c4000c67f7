"""The learning rate: a safe one from the data, and how it changes over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array, hstack, issparse

from fastlin.kernels.arguments import CsrRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import Rows, Samples
    from fastlin.scaling import InputScale

SCHEDULES = ("constant", "invscaling", "cosine")

PROBE_BYTES = 16 * 2**20
"""Memory that the probe of the data's curvature may take."""


def rates(
    schedule: str, learning_rate: float, epochs: NDArray[np.float64], max_epochs: int
) -> NDArray[np.float64]:
    """Return the learning rate of each step, given the epochs ``t (s,)`` done before it.

    ``"constant"``: ``rate``; ``"invscaling"``: ``rate / sqrt(1 + t)``; ``"cosine"``: half a cosine
    from ``rate`` to 0 at the last step (Loshchilov and Hutter, "SGDR", 2017, equation 5, without
    restarts). ``t`` is a fraction within an epoch.
    """
    if schedule == "invscaling":
        return learning_rate / np.sqrt(1 + epochs)
    if schedule == "cosine":
        return learning_rate * 0.5 * (1 + np.cos(np.pi * np.minimum(epochs / max_epochs, 1)))
    return np.full(len(epochs), learning_rate)


def safe_learning_rate(
    samples: Samples,
    scale: InputScale,
    n_classes: int,
    batch_size: int,
    l2: float,
    fit_intercept: bool,
    seed: int = 0,
) -> float:
    """Return ``1 / L``, where ``L`` bounds the curvature that a batch of this size can meet.

    The cross-entropy of a row ``x`` has a Hessian of at most ``c |x|^2``, ``c = 1/4`` for the
    sigmoid and ``1/2`` for the softmax (Boehning, "Multinomial logistic regression algorithm",
    1992). Over batches of ``B`` of ``n`` rows drawn without replacement the expected smoothness is
    ``n (B - 1) / (B (n - 1)) L_all + (n - B) / (B (n - 1)) L_max``, between the largest row and
    the whole set (Gower et al., "SGD: general analysis and improved rates", 2019, proposition
    3.8). Both are measured on a random part of the rows that fits in 16 MiB, the largest
    eigenvalue by power iteration.

    Parameters
    ----------
    samples : Samples
    scale : InputScale
        Folded scale of the inputs; the rate is for the scaled ones.
    n_classes : int
        1 for the sigmoid.
    """
    n = len(samples.rows)
    generator = np.random.default_rng(seed)
    size = min(n, max(256, PROBE_BYTES // _bytes_of_row(samples.rows)))
    part = np.sort(generator.choice(n, size, replace=False)) if size < n else np.arange(n)
    row_weight = None if samples.sample_weight is None else samples.sample_weight[part]
    x: Any = _inputs(samples.rows, part, scale, fit_intercept)
    sparse = issparse(x)
    if sparse:
        squared_norms = x.multiply(x).sum(axis=1, dtype=np.float64)
    else:
        squared_norms = np.einsum("ij,ij->i", x, x, dtype=np.float64)
    if row_weight is not None:
        squared_norms = squared_norms * row_weight
        root = np.asarray(np.sqrt(row_weight), np.float32)[:, np.newaxis]
        x = x.multiply(root).tocsr() if sparse else np.multiply(x, root, out=x)
    bound = 0.25 if n_classes == 1 else 0.5
    largest_row = bound * float(squared_norms.max())
    whole = bound * _largest_eigenvalue(x, generator)
    batch = min(batch_size, n)
    share = (n - batch) / (batch * (n - 1)) if n > 1 else 0.0
    curvature = (1 - share) * whole + share * largest_row + 2 * l2
    return 1.0 / curvature if curvature > 0 else 1.0


def _bytes_of_row(rows: Rows) -> int:
    if isinstance(rows, CsrRows):
        return 8 * (1 + len(rows.values) // max(1, len(rows)))
    return 4 * max(1, int(rows.shape[1]))


def _inputs(rows: Rows, part: NDArray[np.int64], scale: InputScale, fit_intercept: bool) -> Any:
    """Return some rows scaled, with a 1 appended for the intercept: ``(size, d + 1)`` float32.

    Sparse rows become a sparse array of SciPy, which has the same ``@``.
    """
    if isinstance(rows, CsrRows):
        sparse = rows.part(part).to_scipy().astype(np.float32)
        sparse.data *= scale.scale.astype(np.float32)[sparse.indices]
        ones = coo_array(np.ones((len(part), int(fit_intercept)), np.float32))
        return hstack([sparse, ones], "csr")
    x = np.ones((len(part), rows.shape[1] + fit_intercept), np.float32)
    inputs = x[:, : rows.shape[1]]
    inputs[:] = rows[part]
    inputs -= scale.shift.astype(np.float32)
    inputs *= scale.scale.astype(np.float32)
    return x


def _largest_eigenvalue(x: Any, generator: np.random.Generator) -> float:
    """Return the largest eigenvalue of ``x.T @ x / n`` within a few percent."""
    direction = generator.standard_normal((x.shape[1],)).astype(np.float32)
    eigenvalue = 0.0
    for _ in range(20):
        norm = float(np.linalg.norm(direction))
        if norm == 0:
            return 0.0
        direction = x.T @ (x @ (direction / np.float32(norm))) / np.float32(x.shape[0])
        eigenvalue = float(np.linalg.norm(direction))
    return 1.05 * eigenvalue
