"""The arguments of every kernel: the samples, the parameters, and the options of a step.

Legend, here and in all kernels: ``n`` rows, ``d`` features, ``k`` classes (``k == 1`` is the
sigmoid with labels 0 and 1, ``k > 1`` the softmax), ``m`` positions of an epoch's order,
``s`` steps.

A kernel reads a row ``u`` in place and works on ``u - shift``. The scale is folded into the
weights: for ``x = (u - shift) * scale`` and the model ``W x + b`` the kernels hold
``V = W * scale``, since ``V (u - shift) = W x``. A gradient step of rate ``r`` on ``W`` is a step
of rate ``r * scale**2`` on ``V`` (chain rule, twice); ``gain`` is this factor. The penalty
``l2 * sum(W**2)`` shrinks ``V`` and ``W`` by the same factor, which ``decay`` gives. So no scaled
copy of the data is needed.

Rows may be sparse (:class:`~fastlin.rows.csr.CsrRows`). Then there is no ``shift``, because it
would fill in the zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastlin.rows.csr import CsrRows
from fastlin.rows.dense import DenseRows
from fastlin.rows.interface import ROW_TYPES, WEIGHT_TYPES, FloatArray, Rows
from fastlin.rows.samples import Samples

__all__ = [
    "ROW_TYPES",
    "WEIGHT_TYPES",
    "CsrRows",
    "DenseRows",
    "FloatArray",
    "Parameters",
    "Rows",
    "Samples",
    "StepOptions",
]


@dataclass
class Parameters:
    """What training changes in place: C-ordered arrays, all float32 or all float64.

    Attributes
    ----------
    weights : (k, d)
        ``V`` in the notation above.
    intercept : (k,)
        ``b``, for shifted rows.
    weights_velocity, intercept_velocity : (k, d) and (k,) or None
        Running sums of momentum; None without momentum.
    weights_average, intercept_average : (k, d) and (k,) or None
        Running averages of the two; None without averaging.
    """

    weights: FloatArray
    intercept: FloatArray
    weights_velocity: FloatArray | None = None
    intercept_velocity: FloatArray | None = None
    weights_average: FloatArray | None = None
    intercept_average: FloatArray | None = None

    def to_return(self) -> tuple[FloatArray, FloatArray]:
        """Return the weights and intercept of the trained model: the averages, if there are any."""
        if self.weights_average is not None and self.intercept_average is not None:
            return self.weights_average, self.intercept_average
        return self.weights, self.intercept


@dataclass(frozen=True)
class StepOptions:
    """The options of a run of steps.

    Attributes
    ----------
    batch_size : int
        Rows of a step; the last step of a run may have fewer.
    learning_rates : (s,) float64
        Rate of each step.
    decay : float
        Coefficient of the penalty's gradient, ``2 * l2``.
    gain : (d,) of the weights' type
        ``scale**2`` for each feature.
    intercept_decay : float
        ``2 * l2`` if the intercept is penalised, else 0.
    intercept_gain : float
        Factor of the intercept's gradient; 0 if it is not trained.
    momentum : float
        Factor of the velocity, in [0, 1).
    nesterov : bool
        Look ahead by one velocity step.
    average_rates : (s,) float64 or None
        Weight of each step's result in the running averages; None without averaging.
    """

    batch_size: int
    learning_rates: NDArray[np.float64]
    decay: float
    gain: FloatArray
    intercept_decay: float = 0.0
    intercept_gain: float = 1.0
    momentum: float = 0.0
    nesterov: bool = False
    average_rates: NDArray[np.float64] | None = None
