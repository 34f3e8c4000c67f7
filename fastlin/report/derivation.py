"""Check every step of the report's derivations, by symbols and by numbers.

The derivations themselves are written out in ``derivations.typ``. Here each of
their equations is proved by SymPy, and each resulting gradient is compared with
central differences of the cost on real images, on every backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.report.problem import Problem, Settings, Split
from fastlin.report.progress import TaskBar

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from fastlin.kernels import Backend, Samples

MODELS = ("logistic", "softmax", "l2")
START_POINTS = ("zero", "random")


def symbolic_checks() -> dict[str, bool]:
    """Prove each equation of the derivations; the keys name them as ``derivations.typ`` does.

    The logistic model has three inputs and the softmax model three classes and
    two inputs: enough for every sum to have more than one term, and for two
    classes other than k.
    """
    return {**_logistic_checks(), **_softmax_checks(), **_l2_checks()}


def _is_zero(expression: Any) -> bool:
    """Whether SymPy can reduce `expression` to 0."""
    import sympy

    return bool(sympy.simplify(expression) == 0)


def _is_gradient(slope: Any, cost: Any, W: Any) -> bool:
    """Whether the matrix `slope` is the derivative of `cost` by each weight."""
    import sympy

    return all(_is_zero(sympy.diff(cost, w) - there) for w, there in zip(W, slope, strict=True))


def _logistic_checks() -> dict[str, bool]:
    """Equations of task 1a."""
    import sympy

    y, z, q = sympy.symbols("y z q", real=True)
    x = sympy.symbols("x1:4", real=True)
    w = sympy.symbols("w1:4", real=True)
    sigmoid = 1 / (1 + sympy.exp(-z))
    cost = -(y * sympy.log(q) + (1 - y) * sympy.log(1 - q))
    logit = sum(w_i * x_i for w_i, x_i in zip(w, x, strict=True))
    p = sigmoid.subs(z, logit)
    whole = cost.subs(q, p)
    return {
        "logit": all(sympy.diff(logit, w_i) == x_i for w_i, x_i in zip(w, x, strict=True)),
        "sigmoid": _is_zero(sympy.diff(sigmoid, z) - sigmoid * (1 - sigmoid)),
        "logistic_cost": _is_zero(sympy.diff(cost, q) + (y - q) / (q * (1 - q))),
        "logistic_gradient": all(
            _is_zero(sympy.diff(whole, w_i) + (y - p) * x_i) for w_i, x_i in zip(w, x, strict=True)
        ),
    }


def _softmax_model() -> tuple[Any, Any, Any, Any, Any]:
    """Return weights (3, 2), inputs (2,), targets (3,) that sum to 1, outputs (3,) and cost."""
    import sympy

    W = sympy.Matrix(3, 2, sympy.symbols("w1:4_1:3", real=True))
    x = sympy.Matrix(sympy.symbols("x1:3", real=True))
    y_1, y_2 = sympy.symbols("y1 y2", real=True)
    y = sympy.Matrix([y_1, y_2, 1 - y_1 - y_2])
    exponentials = (W * x).applyfunc(sympy.exp)
    p = exponentials / sum(exponentials)
    cost = -sum(y[k] * sympy.log(p[k]) for k in range(3))
    return W, x, y, p, cost


def _softmax_checks() -> dict[str, bool]:
    """Equations of task 1b."""
    import sympy

    z = sympy.symbols("z1:4", real=True)
    total = sum(sympy.exp(z_k) for z_k in z)
    q = [sympy.exp(z_k) / total for z_k in z]
    W, x, y, p, cost = _softmax_model()
    cost_of_logits = -sum(y[k] * sympy.log(q[k]) for k in range(3))
    return {
        "softmax_same": all(_is_zero(sympy.diff(q[k], z[k]) - q[k] * (1 - q[k])) for k in range(3)),
        "softmax_other": all(
            _is_zero(sympy.diff(q[m], z[k]) + q[m] * q[k]) for m, k in permutations(range(3), 2)
        ),
        "softmax_cost": all(
            _is_zero(sympy.diff(cost_of_logits, z[k]) + (y[k] - q[k])) for k in range(3)
        ),
        "softmax_gradient": _is_gradient(-(y - p) * x.T, cost, W),
    }


def _l2_checks() -> dict[str, bool]:
    """Equations of task 4a."""
    import sympy

    penalty = sympy.symbols("lambda", positive=True)
    W, x, y, p, cost = _softmax_model()
    R = sum(w**2 for w in W)
    slope = -(y - p) * x.T + 2 * penalty * W
    return {
        "l2_penalty": all(sympy.diff(R, w) == 2 * w for w in W),
        "l2_gradient": _is_gradient(slope, cost + penalty * R, W),
    }


@dataclass(frozen=True)
class GradientCheck:
    """Largest absolute difference between a gradient and central differences of its cost."""

    backend: str
    model: str  # one of MODELS
    start_point: str  # one of START_POINTS
    n_weights: int
    largest_difference: float


def central_differences(
    costs: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    weights: NDArray[np.float64],
    step: float,
) -> NDArray[np.float64]:
    """Differentiate `costs` by every weight: (c(w + step) - c(w - step)) / (2 step).

    Parameters
    ----------
    costs : callable
        Takes weights like `weights`, returns (m,) costs.
    weights : (k, d)
    step : float

    Returns
    -------
    (m, k, d) float64
        The error is of order ``step ** 2``.
    """
    moved = weights.copy()
    slopes = []
    for index in np.ndindex(*weights.shape):
        moved[index] = weights[index] + step
        above = costs(moved)
        moved[index] = weights[index] - step
        slopes.append((above - costs(moved)) / (2.0 * step))
        moved[index] = weights[index]
    return np.moveaxis(np.array(slopes).reshape(*weights.shape, -1), -1, 0)


def gradient_checks(
    problem: Problem, backends: list[Backend], settings: Settings, seed: int, display: Bars
) -> list[GradientCheck]:
    """Check all three gradients on each of `backends`, at zero and at small random weights."""
    bar = TaskBar(display, "1, 4a gradient checks", 2 * len(START_POINTS) * len(backends))
    checks = []
    for backend in backends:
        for split, is_softmax in ((problem.pair, False), (problem.everything, True)):
            samples = _images(problem, split, settings.gradient_rows)
            n_outputs = len(split.class_names) if is_softmax else 1
            for start_point in START_POINTS:
                weights = _weights(start_point, n_outputs, samples.rows.shape[1] + 1, seed)
                checks += _check(backend, samples, weights, start_point, settings)
                bar.advance(f"{backend.name}, {'softmax' if is_softmax else 'logistic'}")
    bar.finish(f"largest difference {max(c.largest_difference for c in checks):.1e}")
    return checks


def _images(problem: Problem, split: Split, n_rows: int) -> Samples:
    """Return the first `n_rows` training rows of `split`, scaled to [-1, 1] in float64."""
    from fastlin.kernels import DenseRows, Samples

    shift, scale = problem.input_scale
    rows = (split.X_train[:n_rows].astype(np.float64) - shift) * scale
    return Samples(DenseRows(np.ascontiguousarray(rows)), split.y_train[:n_rows].astype(np.int32))


def _weights(start_point: str, n_outputs: int, n_inputs: int, seed: int) -> NDArray[np.float64]:
    """Return weights (k, d) at zero, or normal with standard deviation 1/d."""
    if start_point == "zero":
        return np.zeros((n_outputs, n_inputs))
    return np.random.default_rng(seed).normal(0.0, 1.0 / n_inputs, (n_outputs, n_inputs))


def _check(
    backend: Backend,
    samples: Samples,
    weights: NDArray[np.float64],
    start_point: str,
    settings: Settings,
) -> list[GradientCheck]:
    """Compare gradients and central differences of the cost; for softmax also with penalty."""
    n_rows = len(samples.rows)
    is_softmax = len(weights) > 1
    penalty = settings.gradient_penalty

    def costs(at: NDArray[np.float64]) -> NDArray[np.float64]:
        loss_sum, _ = backend.score(samples, *_parts(at), 1)
        cost = loss_sum / n_rows
        return np.array([cost, cost + penalty * np.sum(at**2)] if is_softmax else [cost])

    _, weights_gradient, bias_gradient = backend.loss_gradient(samples, *_parts(weights), 1)
    gradient = np.column_stack([weights_gradient, bias_gradient]) / n_rows
    claimed = {"logistic": gradient}
    if is_softmax:
        claimed = {"softmax": gradient, "l2": gradient + 2.0 * penalty * weights}
    measured = central_differences(costs, weights, settings.gradient_step)
    return [
        GradientCheck(
            backend.name, model, start_point, weights.size, float(np.abs(formula - slopes).max())
        )
        for (model, formula), slopes in zip(claimed.items(), measured, strict=True)
    ]


def _parts(weights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Split weights (k, d + 1) into those of the inputs (k, d) and the bias (k,)."""
    return np.ascontiguousarray(weights[:, :-1]), np.ascontiguousarray(weights[:, -1])
