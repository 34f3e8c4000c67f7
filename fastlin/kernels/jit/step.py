"""The update rule, once for dense rows, sparse rows and the intercept; and what it multiplies by.

See ``sgd_steps`` in :mod:`fastlin.kernels.reference`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from fastlin.kernels.jit.memory import array_at
from fastlin.kernels.jit.options import inner, intrinsic
from fastlin.kernels.jit.vectors import Vector, VectorUnit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.kernels.arguments import StepOptions


class Rates(NamedTuple):
    """What a step multiplies by; float64, but for ``nesterov``."""

    learning_rate: float
    momentum: float
    average_rate: float
    decay: float
    intercept_decay: float
    intercept_gain: float
    nesterov: bool


def descend(
    unit: VectorUnit,
    gradient: Vector,
    values: tuple[Vector, Vector, Vector],
    rates: tuple[Vector, Vector, Vector],
    nesterov: ir.Value,
) -> tuple[Vector, Vector, Vector]:
    """Return weight, velocity and average after a step; ``values``: the same before.

    Parameters
    ----------
    gradient : Vector
        That of the penalty included.
    rates : Vector
        Learning rate, momentum and rate of the average. Without momentum or without averages, a
        rate of 0 makes a velocity of 0, or any average, have no effect.
    nesterov : ir.Value
        Whether the direction is taken from the new velocity, rather than the old one.
    """
    weight, velocity, average = values
    rate, momentum, average_rate = rates
    after = unit.multiply_add(velocity, momentum, gradient)
    direction = unit.multiply_add(unit.select(nesterov, after, velocity), momentum, gradient)
    weight = moved(weight, direction, rate)
    return weight, after, unit.multiply_add(weight - average, average_rate, average)


def moved(weight: Vector, direction: Vector, rate: Vector) -> Vector:
    """Return a weight after a step in a direction: the gradient, without momentum."""
    return weight - direction * rate


@intrinsic
def stepped(typingctx: Any, gradient: Any, values: Any, rates: Any, nesterov: Any) -> Any:
    """Return :func:`descend` of single numbers, all float64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        unit = VectorUnit(builder, 1, double=True)
        w, v, mean = (unit.splat(number) for number in cgutils.unpack_tuple(builder, args[1]))
        rate, momentum, share = (unit.splat(f) for f in cgutils.unpack_tuple(builder, args[2]))
        results = descend(unit, unit.splat(args[0]), (w, v, mean), (rate, momentum, share), args[3])
        return context.make_tuple(builder, signature.return_type, map(unit.first, results))

    three = types.UniTuple(types.float64, 3)
    return three(types.float64, three, three, types.boolean), codegen


@inner
def step_number(
    gradient: float, values: tuple[float, float, float], rates: Rates
) -> tuple[float, float, float]:
    """Return a weight, its velocity and its average after a step."""
    three = (rates.learning_rate, rates.momentum, rates.average_rate)
    after: tuple[float, float, float] = stepped(gradient, values, three, rates.nesterov)
    return after


@inner
def step_intercept(k: int, intercept: Any, residual_sum: Any, rates: Rates) -> None:
    """Step with an intercept: ``(3, k)``, its values, velocities and averages."""
    for c in range(k):
        values = (intercept[0, c], intercept[1, c], intercept[2, c])
        gradient = residual_sum[c] + rates.intercept_decay * intercept[0, c]
        values = step_number(rates.intercept_gain * gradient, values, rates)
        intercept[0, c], intercept[1, c], intercept[2, c] = values


# ------------------------------------------------------------------ in the memory of a call


def words_of_rates(
    options: StepOptions, has_velocity: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what :func:`rates_of` reads: of each step ``(2, s)``, and of all ``(4,)``."""
    of_steps = np.zeros((2, len(options.learning_rates)))
    of_steps[0] = options.learning_rates
    if options.average_rates is not None:
        of_steps[1] = options.average_rates
    momentum = options.momentum if has_velocity else 0.0
    of_all = [momentum, options.decay, options.intercept_decay, options.intercept_gain]
    return of_steps, np.array(of_all)


NO_RATES = np.zeros((2, 1)), np.zeros(4)
"""Of a run that makes no step."""


@inner
def rates_of(arguments: Any, step: int) -> Rates:
    """Return what a step multiplies by, from the arguments of a run on rows of either form."""
    of_steps = array_at(numba.float64, arguments.schedule, (2, arguments.n_steps))
    of_all = array_at(numba.float64, arguments.constants, (4,))
    return Rates(
        of_steps[0, step],
        of_all[0],
        of_steps[1, step],
        of_all[1],
        of_all[2],
        of_all[3],
        arguments.nesterov != 0,
    )
