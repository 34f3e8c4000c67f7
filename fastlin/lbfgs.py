"""Full-batch training to the optimum: SciPy's L-BFGS over the fused ``loss_gradient`` kernel."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.errors import DivergenceError
from fastlin.history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels import Parameters
    from fastlin.scaling import InputScale
    from fastlin.train import Descent


def minimize(descent: Descent, parameters: Parameters, scale: InputScale, tol: float) -> History:
    """Minimise mean cross-entropy plus penalty over the scaled weights ``W`` and the intercept.

    The gradient by ``W`` is that by the folded weights times ``scale`` (chain rule). Stops when no
    component of the gradient exceeds ``tol`` (0 for as far as the arithmetic allows), or after
    ``max_epochs`` iterations. Byrd, Lu, Nocedal and Zhu, "A limited memory algorithm for bound
    constrained optimization" (1995).
    """
    from scipy.optimize import minimize as scipy_minimize

    started = time.perf_counter()
    shape = parameters.weights.shape
    dtype: np.dtype[Any] = parameters.weights.dtype
    n = len(descent.samples.rows)
    l2 = descent.decay.astype(np.float64) / 2
    losses: list[float] = []
    latest = {"loss": np.nan}

    def split(point: NDArray[np.float64]) -> tuple[NDArray[Any], NDArray[Any]]:
        scaled = point[: -shape[0]].reshape(shape)
        return scaled, point[-shape[0] :]

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled, intercept = split(point)
        folded = np.ascontiguousarray(scaled * scale.scale, dtype)
        loss_sum, gradient, intercept_gradient = descent.backend.loss_gradient(
            descent.samples, folded, intercept.astype(dtype), descent.n_threads
        )
        latest["loss"] = loss_sum / n
        penalty = np.sum(l2 * scaled**2) + descent.intercept_decay / 2 * np.sum(intercept**2)
        gradient = gradient * (scale.scale / n) + 2 * l2 * scaled
        intercept_gradient = intercept_gradient / n + descent.intercept_decay * intercept
        if not descent.fit_intercept:
            intercept_gradient[:] = 0
        return loss_sum / n + penalty, np.concatenate([gradient.ravel(), intercept_gradient])

    start = np.concatenate(
        [(parameters.weights / scale.scale).ravel(), parameters.intercept]
    ).astype(np.float64)
    result = scipy_minimize(
        objective,
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": descent.max_epochs, "gtol": tol, "ftol": 0.0, "maxls": 50},
        callback=lambda _: losses.append(latest["loss"]),
    )
    if not np.isfinite(result.fun):
        raise DivergenceError(
            f"the objective became {result.fun} after {result.nit} iterations; scale the features "
            "with input_scale='standard' or raise l2"
        )
    scaled, intercept = split(result.x)
    parameters.weights[...] = scaled * scale.scale
    parameters.intercept[...] = intercept
    seconds = time.perf_counter() - started
    return History(
        step=np.arange(len(losses)),
        train_loss=np.array(losses),
        steps_per_epoch=1,
        stopped_epoch=len(losses) - 1,
        stopped_step=len(losses) - 1,
        best_step=len(losses) - 1,
        stop_reason="tol" if result.status == 0 else "max_epochs",
        seconds={"steps": seconds, "checks": 0.0, "total": seconds},
    )
