"""The NumPy backend: the specification of all kernels, readable as mathematics.

The other backends have the same functions with the same arguments and are tested against these.
Shapes and the folding of the input scale: see :mod:`fastlin.kernels.arguments`.

Gradients: Bishop, "Pattern Recognition and Machine Learning" (2006), equations 4.91 (sigmoid) and
4.109 (softmax). Momentum: Sutskever et al., "On the importance of initialization and momentum in
deep learning" (ICML 2013), in the form ``v <- momentum * v + g``, ``w <- w - rate * v``.
Averaging: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging" (1992).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.arguments import FloatArray, Parameters, Samples, StepOptions

ROWS_AT_ONCE = 1024
"""Rows that a full pass converts at a time, so that memory stays small."""


def cross_entropy(
    logits: FloatArray, labels: NDArray[np.int32]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return each row's cross-entropy ``(n,)`` and its gradient by the logits ``(n, k)``.

    Sigmoid: ``C = ln(1 + e^z) - y z`` and ``dC/dz = sigmoid(z) - y``. Softmax:
    ``C = ln(sum_j e^z_j) - z_y`` and ``dC/dz_j = softmax(z)_j - [j = y]``. Both are shifted by the
    largest exponent, so that any finite logits give a finite loss.
    """
    rows = np.arange(len(labels))
    if logits.shape[1] == 1:
        z = logits[:, 0]
        small = np.exp(-np.abs(z))
        losses = np.maximum(z, 0) + np.log1p(small) - labels * z
        probability = np.where(z >= 0, 1, small) / (1 + small)
        return losses, (probability - labels)[:, np.newaxis].astype(logits.dtype)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1)
    losses = np.log(total) - shifted[rows, labels]
    residual = exponentials / total[:, np.newaxis]
    residual[rows, labels] -= 1
    return losses, residual


def sgd_steps(
    samples: Samples,
    order: NDArray[np.int64],
    parameters: Parameters,
    options: StepOptions,
    losses_out: NDArray[np.float64],
    n_threads: int = 1,
) -> None:
    """Make one step of gradient descent for each ``batch_size`` positions of ``order``.

    Parameters
    ----------
    samples : Samples
    order : (m,) int64
        Rows in the order in which they are used.
    parameters : Parameters
        Changed in place.
    options : StepOptions
    losses_out : (s,) float64
        Receives each step's mean cross-entropy before its own update, ``s = ceil(m / batch_size)``.
    n_threads : int
        Ignored here: NumPy's BLAS library decides.
    """
    weights, intercept = parameters.weights, parameters.intercept
    for step, rate in enumerate(options.learning_rates):
        batch = order[step * options.batch_size : (step + 1) * options.batch_size]
        x = _shifted(samples, batch, weights.dtype)
        losses_out[step], residual = mean_loss(samples, batch, x @ weights.T + intercept)
        gradient = options.gain * (residual.T @ x) + options.decay * weights
        _descend(weights, parameters.weights_velocity, gradient, rate, options)
        descend_intercept(parameters, residual, rate, options)
        if options.average_rates is not None:
            assert parameters.weights_average is not None
            assert parameters.intercept_average is not None
            share = weights.dtype.type(options.average_rates[step])
            parameters.weights_average += share * (weights - parameters.weights_average)
            parameters.intercept_average += share * (intercept - parameters.intercept_average)


def mean_loss(
    samples: Samples, batch: NDArray[np.int64], logits: FloatArray
) -> tuple[float, NDArray[Any]]:
    """Return the mean of a batch's weighted losses and its gradient by the logits ``(n, k)``."""
    losses, residual = cross_entropy(logits, samples.labels[batch])
    if samples.sample_weight is not None:
        losses = losses * samples.sample_weight[batch]
        residual = residual * samples.sample_weight[batch, np.newaxis].astype(logits.dtype)
    residual /= len(batch)
    return np.sum(losses, dtype=np.float64) / len(batch), residual


def descend_intercept(
    parameters: Parameters, residual: NDArray[Any], rate: float, options: StepOptions
) -> None:
    """Update the intercept in a step; ``residual (n, k)`` is that of :func:`mean_loss`."""
    intercept = parameters.intercept
    gradient = options.intercept_gain * (
        _sum_of_rows(residual) + options.intercept_decay * intercept
    )
    _descend(intercept, parameters.intercept_velocity, gradient, rate, options)


def loss_gradient(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the sums over all rows of the loss and of its gradient, in one pass.

    Returns
    -------
    loss_sum : float
    weights_gradient : (k, d) float64
        The gradient by ``weights``, without the penalty and without ``gain``.
    intercept_gradient : (k,) float64
    """
    loss_sum = 0.0
    weights_gradient = np.zeros(weights.shape)
    intercept_gradient = np.zeros(intercept.shape)
    for block in _blocks(samples):
        x = _shifted(samples, block, weights.dtype)
        losses, residual = cross_entropy(x @ weights.T + intercept, samples.labels[block])
        if samples.sample_weight is not None:
            losses = losses * samples.sample_weight[block]
            residual = residual * samples.sample_weight[block, np.newaxis].astype(weights.dtype)
        loss_sum += float(np.sum(losses, dtype=np.float64))
        weights_gradient += residual.T @ x
        intercept_gradient += residual.sum(axis=0, dtype=np.float64)
    return loss_sum, weights_gradient, intercept_gradient


def score(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> tuple[float, int]:
    """Return the sum of the losses and the number of correctly predicted rows.

    ``sample_weight`` weighs only the losses.
    """
    loss_sum, n_correct = 0.0, 0
    for block in _blocks(samples):
        z = _shifted(samples, block, weights.dtype) @ weights.T + intercept
        labels = samples.labels[block]
        losses, _ = cross_entropy(z, labels)
        if samples.sample_weight is not None:
            losses = losses * samples.sample_weight[block]
        loss_sum += float(np.sum(losses, dtype=np.float64))
        n_correct += int(np.count_nonzero(predicted(z) == labels))
    return loss_sum, n_correct


def predicted(logits: FloatArray) -> NDArray[np.int64]:
    """Return the class that logits ``(n, k)`` predict, ``(n,)``: the first of the largest.

    If ``k == 1``, it is 1 if the logit is positive, else 0.
    """
    if logits.shape[1] == 1:
        return (logits[:, 0] > 0).astype(np.int64)
    return np.asarray(logits.argmax(axis=1))


def logits(
    samples: Samples, weights: FloatArray, intercept: FloatArray, n_threads: int = 1
) -> FloatArray:
    """Return ``weights (u - shift) + intercept`` of every row, ``(n, k)`` of the weights' type."""
    out = np.empty((len(samples.rows), len(weights)), weights.dtype)
    for block in _blocks(samples):
        out[block] = _shifted(samples, block, weights.dtype) @ weights.T + intercept
    return out


def _shifted(samples: Samples, rows: NDArray[np.int64] | slice, dtype: Any) -> Any:
    """Return some rows minus the shift, as a NumPy array or a SciPy sparse array."""
    return samples.rows.part(rows).scaled(dtype, samples.shift).matrix


def _blocks(samples: Samples) -> list[slice]:
    return [slice(i, i + ROWS_AT_ONCE) for i in range(0, len(samples.rows), ROWS_AT_ONCE)]


def _sum_of_rows(residual: NDArray[Any]) -> NDArray[np.float64]:
    """Return the sum of residuals ``(n, k)``, ``(k,)``, which nearly cancel.

    NumPy adds rows up one after the other, with as many roundings; in blocks there are fewer.
    """
    total = np.zeros(residual.shape[1])
    for first in range(0, len(residual), ROWS_AT_ONCE):
        total += residual[first : first + ROWS_AT_ONCE].sum(axis=0, dtype=np.float64)
    return total


def _descend(
    values: FloatArray,
    velocity: FloatArray | None,
    gradient: FloatArray,
    rate: float,
    options: StepOptions,
) -> None:
    direction = gradient
    if velocity is not None:
        velocity *= options.momentum
        velocity += gradient
        direction = gradient + options.momentum * velocity if options.nesterov else velocity
    values -= values.dtype.type(rate) * direction
