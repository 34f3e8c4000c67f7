"""The learning rate: a safe value computed from the data, and its schedule over the steps."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.errors import InputError
from fastlin.kernels.arguments import Samples
from fastlin.rows.interface import Rows
from fastlin.rows.row_weights import counted_rows, evenly_by_weight
from fastlin.rows.scaling import InputScale
from fastlin.solvers.diagnosis import how_to_scale

SCHEDULES = ("constant", "invscaling", "cosine")

PROBE_BYTES = 16 * 2**20
"""Memory, in bytes, for the sample of rows from which the curvature is estimated."""

INTERCEPT_SHARE = 0.1
"""Curvature of the intercept, relative to the weights', that lets it learn as fast as they do."""

FEW_NUMBERS = 2**18
"""Numbers of a sample up to which its largest eigenvalue is computed in float64."""

DENSE_FEATURES = 64
"""With at most this many features, computing all eigenvalues is as quick as computing one."""


def rates(
    schedule: str, learning_rate: float, epochs: NDArray[np.float64], max_epochs: int
) -> NDArray[np.float64]:
    """Return the learning rate of each step, given the epochs ``t (s,)`` done before it.

    ``"constant"``: ``rate``; ``"invscaling"``: ``rate / sqrt(1 + t)``; ``"cosine"``: half a cosine
    from ``rate`` to 0 at the last step of ``max_epochs``, and then again (Loshchilov and Hutter,
    "SGDR", 2017, equation 5). ``t`` is a fraction within an epoch.
    """
    if schedule == "invscaling":
        return learning_rate / np.sqrt(1 + epochs)
    if schedule == "cosine":
        return learning_rate * 0.5 * (1 + np.cos(np.pi * (epochs % max_epochs) / max_epochs))
    return np.full(len(epochs), learning_rate)


class StepSize(NamedTuple):
    """Learning rate of the weights, and the factor by which the intercept's differs from it."""

    learning_rate: float
    intercept_gain: float


@one_blas_thread()
def safe_step_size(
    samples: Samples,
    scale: InputScale,
    n_models: int,
    batch_size: int,
    l2: float,
    fit_intercept: bool,
    dtype: np.dtype[Any],
    momentum: float = 0.0,
    intercept_decay: float = 0.0,
    seed: int = 0,
    in_stream: bool = False,
) -> StepSize:
    """Return the rate ``1 / L``, where ``L`` bounds the curvature of a batch's loss.

    The cross-entropy of a row ``x`` has a Hessian of at most ``c x x^T``, ``c = 1/4`` for the
    sigmoid and ``1/2`` for the softmax (Boehning, "Multinomial logistic regression algorithm",
    1992). For batches of ``B`` out of ``n`` rows, drawn without replacement, ``L`` lies between
    that of all rows, ``L_all``, and that of single rows, ``L_row`` (Gower et al., "SGD: general
    analysis and improved rates", 2019, proposition 3.8):
    ``n (B - 1) / (B (n - 1)) L_all + (n - B) / (B (n - 1)) L_row``. ``L_all`` is the largest
    eigenvalue of ``c E[x x^T]``. For ``L_row`` Gower et al. take the largest row, so that a single
    outlier decides; this takes ``c E[|x|^4] / E[|x|^2]``, an estimate of ``c R^2`` with
    ``E[|x|^2 x x^T] <= R^2 E[x x^T]``, for which steps on single rows are stable in mean square
    (Bach and Moulines, "Non-strongly-convex smooth stochastic approximation with convergence rate
    O(1/n)", 2013).

    Momentum ``m`` does not change ``L_all``, since it is stable up to ``2 (1 + m) / L_all``
    (Polyak, "Some methods of speeding up the convergence of iteration methods", 1964). ``L_row`` is
    multiplied by ``1 / (1 - m)``, because momentum adds up the noise of that many steps.

    The intercept is the weight of a feature that is always 1. A gain of ``s^2`` turns this into a
    feature that is always ``s``, which adds at most ``c s^2`` to both. If ``s^2`` is a tenth of the
    largest eigenvalue of ``E[x x^T]``, the intercept learns as fast as the weights in any unit of
    the features.

    Everything is measured in float64 on a random sample of the rows that fits in 16 MiB, drawn in
    proportion to their weights. If the sample is all rows and they make one batch, a row of weight
    2 counts as two rows, up to rounding; a row of weight 0 never counts.

    Parameters
    ----------
    samples : Samples
    scale : InputScale
        Scale of the inputs, folded into the weights; the rate is for the scaled inputs.
    n_models : int
        1 for the sigmoid.
    dtype : numpy.dtype
        Type of the weights.
    intercept_decay : float
        ``2 * l2`` if the intercept is penalised, else 0.
    in_stream : bool
        Whether the rows are one block of many; then a batch is a small part of all rows even if it
        holds most of this block.

    Raises
    ------
    InputError
        The features are so large that the weights' type cannot hold the result.
    """
    counted = counted_rows(samples.sample_weight)
    n = len(samples.rows) if counted is None else len(counted)
    batch = min(batch_size, n)
    share = (n - batch) / (batch * (n - 1)) if n > 1 else 0.0
    if in_stream:
        share = 1 / batch
    bound = 0.25 if n_models == 1 else 0.5
    with np.errstate(over="ignore", invalid="ignore"):
        x, weight, repeats = _some_scaled_rows(samples, scale, np.random.default_rng(seed))
        squared_norms = x.squared_norms()
        largest = _largest_eigenvalue(x, squared_norms)
        gain = (INTERCEPT_SHARE * largest or 1.0) if fit_intercept else 0.0
        squared_norms = squared_norms + gain * weight
        of_all = bound * (largest + gain)
        mean_norm = squared_norms @ (squared_norms * repeats / (squared_norms.sum() or 1.0))
        of_rows = bound * float(mean_norm)
        curvature = (1 - share) * of_all + share * of_rows / (1 - momentum)
        curvature += max(2 * l2, intercept_decay * gain)
    rate = 1.0 if curvature == 0 else 1.0 / curvature
    if not (rate >= np.finfo(dtype).tiny and gain <= np.finfo(dtype).max):
        raise InputError(
            f"features as large as {x.largest().max():.3g} have squares that {dtype} cannot hold; "
            f"{how_to_scale(samples.rows, np.dtype(dtype))}"
        )
    return StepSize(rate, gain)


def _some_scaled_rows(
    samples: Samples, scale: InputScale, generator: np.random.Generator
) -> tuple[Rows, NDArray[np.float64], NDArray[np.float64]]:
    """Return rows ``(m, d)``, scaled and times the root of their weight, weights and ``repeats``.

    If not all rows fit in the sample, they are drawn in proportion to their weights; each then has
    weight 1, and ``repeats (m,)`` holds its weight in a batch, relative to the mean.
    """
    rows = samples.rows
    counted = counted_rows(samples.sample_weight)
    part = np.arange(len(rows)) if counted is None else counted
    size = min(len(part), max(256, PROBE_BYTES // rows.bytes_of_a_float64_row))
    weight = repeats = np.ones(size)
    weights = None if samples.sample_weight is None else samples.sample_weight[part]
    if weights is not None and (weights == weights[0]).all():
        weights = None
    if weights is None:
        if size < len(part):
            part = part[np.sort(generator.choice(len(part), size, replace=False))]
    else:
        weights = weights / weights.mean()
        if size < len(part):
            chosen = evenly_by_weight(weights, size, generator.random())
            part, repeats = part[chosen], weights[chosen]
        else:
            weight = weights
    if size < len(rows):
        rows = rows.part(part)
    # If the samples have no shift, there is none, or their rows are shifted already.
    shift = None if samples.shift is None else scale.shift
    factors = None if (weight == 1).all() else np.sqrt(weight)
    scales = None if (scale.scale == 1).all() else scale.scale
    return rows.scaled(np.dtype(np.float64), shift, scales, factors), weight, repeats


def _largest_eigenvalue(rows: Rows, squared_norms: NDArray[np.float64]) -> float:
    """Return the largest eigenvalue of ``x.T @ x / n`` within a few percent (Lanczos)."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    n, d = rows.shape
    trace = float(squared_norms.sum()) / n
    if trace == 0 or not np.isfinite(trace):
        return trace
    if d <= DENSE_FEATURES:
        x = rows.to_array()
        eigenvalues = np.linalg.eigvalsh(x.T @ x / n)
    else:
        # Rows of size 1, which float32 can hold: of many, reading them is what takes time.
        size = np.float64(1 / np.sqrt(trace))
        x = rows.matrix
        if n * d <= FEW_NUMBERS:
            x = x * size
        elif isinstance(x, np.ndarray):  # at once, without a second copy in float64
            x = np.multiply(x, size, out=np.empty(x.shape, np.float32), casting="same_kind")
        else:
            x = (x * size).astype(np.float32)
        start = np.random.default_rng(0).standard_normal((d,))

        def multiply(v: NDArray[np.float64]) -> NDArray[Any]:
            product: NDArray[Any] = x.T @ (x @ v.astype(x.dtype))
            return product

        gram = LinearOperator((d, d), matvec=multiply, dtype=np.float64)
        eigenvalues = eigsh(gram, k=1, ncv=8, v0=start, tol=0.05, return_eigenvectors=False)
        eigenvalues = eigenvalues * (trace / n)
    return float(eigenvalues[-1])
