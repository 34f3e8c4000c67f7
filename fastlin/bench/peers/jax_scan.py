"""JAX: the whole epoch in one ``jit``-compiled ``lax.scan`` over the batches.

XLA sizes its thread pool by the cores that the process may use when JAX is first
imported; :func:`fastlin.bench.timing.pinned_to_cores` is what limits them.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fastlin.bench.contestants import Contestant, Model, Outcome
from fastlin.bench.data import Data
from fastlin.bench.peers import Variant, variant_label
from fastlin.bench.problems import Problem

_configuration: Any = jax.config
_configuration.update("jax_enable_x64", True)  # else float64 would silently become float32
_configuration.update("jax_platforms", "cpu")


class JaxScan(Contestant):
    """Rows, labels and batches on the device; one call an epoch.

    Parameters
    ----------
    converted : bool
        Take float rows made beforehand instead of widening each narrow batch.
    by_hand : bool
        Write the gradient out instead of ``jax.value_and_grad``.
    """

    def __init__(
        self, problem: Problem, data: Data, start: Model, *, converted: bool, by_hand: bool
    ) -> None:
        self.rows = jnp.asarray(data.float_rows if converted else data.rows)
        self.labels = jnp.asarray(data.labels)
        self.batches = jnp.asarray(data.order.reshape(-1, problem.batch_size).astype(np.int32))
        self.start = (jnp.asarray(start.weights), jnp.asarray(start.intercept))
        self.parameters: Any = self.start
        self.losses: Any = None
        one_step = partial(
            _step_by_hand if by_hand else _step_by_autodiff,
            rate=problem.learning_rate,
            l2=problem.l2,
        )
        scale = problem.weight_dtype.type(data.scale)
        self.epoch: Any = jax.jit(partial(_epoch, one_step=one_step, scale=scale))

    def reset(self) -> None:
        """Start again from the first parameters, which no call changes."""
        self.parameters = self.start

    def run(self) -> None:
        """Run the compiled epoch to its end."""
        self.parameters, self.losses = self.epoch(
            self.parameters, self.rows, self.labels, self.batches
        )
        self.losses.block_until_ready()
        self.parameters[0].block_until_ready()

    def outcome(self) -> Outcome:
        """Copy the parameters to NumPy."""
        weights, intercept = (np.array(value) for value in self.parameters)
        return Outcome(Model(weights, intercept), np.array(self.losses))


def _epoch(
    parameters: Any, rows: Any, labels: Any, batches: Any, *, one_step: Any, scale: Any
) -> Any:
    def body(parameters: Any, batch: Any) -> Any:
        x = rows.at[batch].get(mode="promise_in_bounds")
        if x.dtype != scale.dtype:
            x = x.astype(scale.dtype) * scale
        y = labels.at[batch].get(mode="promise_in_bounds")
        return one_step(parameters, x, y)

    return jax.lax.scan(body, parameters, batches)


def _losses(logits: Any, y: Any) -> Any:
    if logits.shape[1] == 1:
        z = logits[:, 0]
        return jax.nn.softplus(z) - y * z
    right = jnp.take_along_axis(logits, y[:, None], axis=1)[:, 0]
    return jax.nn.logsumexp(logits, axis=1) - right


def _descend(parameters: Any, gradient: Any, rate: float, l2: float) -> Any:
    (weights, intercept), (by_weights, by_intercept) = parameters, gradient
    return (
        weights - rate * (by_weights + 2.0 * l2 * weights),
        intercept - rate * by_intercept,
    )


def _step_by_autodiff(parameters: Any, x: Any, y: Any, *, rate: float, l2: float) -> Any:
    def mean_loss(parameters: Any) -> Any:
        weights, intercept = parameters
        return _losses(x @ weights.T + intercept, y).mean()

    loss, gradient = jax.value_and_grad(mean_loss)(parameters)
    return _descend(parameters, gradient, rate, l2), loss


def _step_by_hand(parameters: Any, x: Any, y: Any, *, rate: float, l2: float) -> Any:
    weights, intercept = parameters
    logits = x @ weights.T + intercept
    if logits.shape[1] == 1:
        residual = jax.nn.sigmoid(logits) - y[:, None].astype(logits.dtype)
    else:
        residual = jax.nn.softmax(logits, axis=1) - jax.nn.one_hot(
            y, logits.shape[1], dtype=logits.dtype
        )
    residual = residual / len(y)
    gradient = (residual.T @ x, residual.sum(axis=0))
    return _descend(parameters, gradient, rate, l2), _losses(logits, y).mean()


def variants(problem: Problem, n_threads: int) -> list[Variant]:
    """Autodiff or by hand; narrow rows kept or converted beforehand."""
    narrow = problem.narrow
    found = []
    for by_hand in (False, True):
        for converted in [False, True] if narrow else [False]:
            plain = variant_label(
                n_threads, all_threads=n_threads, narrow=narrow, converted=converted
            )
            label = ", ".join(filter(None, ["gradient by hand" if by_hand else "", plain]))
            found.append(Variant(label, partial(JaxScan, converted=converted, by_hand=by_hand)))
    return found
