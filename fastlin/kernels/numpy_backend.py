"""The NumPy backend: the specification, but with a faster version of steps on sparse rows.

BLAS runs on one thread, because the last bits of its products depend on the number of threads.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import ParamSpec, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from fastlin.blas import one_blas_thread
from fastlin.kernels import reference
from fastlin.kernels.arguments import CsrRows, DenseRows, Parameters, Samples, StepOptions
from fastlin.kernels.record import Backend, by_rows

P = ParamSpec("P")
R = TypeVar("R")


def load() -> Backend:
    """Return the NumPy backend, which is always available."""
    features = np.show_config(mode="dicts") or {}
    vectors = features.get("SIMD Extensions", {})
    used = vectors.get("found") or vectors.get("baseline") or []
    blas = features.get("Build Dependencies", {}).get("blas", {}).get("name", "BLAS")
    return Backend(
        name="numpy",
        version=np.__version__,
        n_threads=sys.maxsize,
        threading_layer=blas,
        instruction_set=used[-1] if used else None,
        sgd_steps=_on_one_thread(
            by_rows({DenseRows: reference.sgd_steps, CsrRows: sparse_sgd_steps})
        ),
        loss_gradient=_on_one_thread(reference.loss_gradient),
        score=_on_one_thread(reference.score),
        logits=_on_one_thread(reference.logits),
    )


def _on_one_thread(kernel: Callable[P, R]) -> Callable[P, R]:
    @functools.wraps(kernel)
    def call(*arguments: P.args, **options: P.kwargs) -> R:
        with one_blas_thread():
            return kernel(*arguments, **options)

    return call


def sparse_sgd_steps(
    samples: Samples,
    order: NDArray[np.int64],
    parameters: Parameters,
    options: StepOptions,
    losses_out: NDArray[np.float64],
    n_threads: int = 1,
) -> None:
    """See :func:`fastlin.kernels.reference.sgd_steps`.

    The time of a step is proportional to its non-zeros: the penalty multiplies all weights by the
    same factor, which is stored separately (Bottou, "Stochastic gradient descent tricks", 2012,
    section 5.1). With momentum or averages it is proportional to the number of weights.
    """
    rows, weights = cast(CsrRows, samples.rows), parameters.weights
    if parameters.weights_velocity is not None or parameters.weights_average is not None:
        reference.sgd_steps(samples, order, parameters, options, losses_out, n_threads)
        return
    factor = 1.0
    for step, rate in enumerate(options.learning_rates):
        batch = order[step * options.batch_size : (step + 1) * options.batch_size]
        part = rows.part(batch)
        features, columns = np.unique(part.columns, return_inverse=True)
        x = replace(part, columns=columns, n_features=len(features)).matrix
        logits = x @ (weights[:, features] * weights.dtype.type(factor)).T + parameters.intercept
        losses_out[step], residual = reference.mean_loss(samples, batch, logits)
        factor *= 1 - rate * options.decay
        if not 1e-6 < abs(factor) < 1e6:
            weights *= weights.dtype.type(factor)
            factor = 1.0
        gradient = options.gain[features] * (residual.T @ x)
        weights[:, features] -= weights.dtype.type(rate / factor) * gradient
        reference.descend_intercept(parameters, residual, rate, options)
    weights *= weights.dtype.type(factor)
