"""What steps do to the features that none of their rows stores, for the Numba backend.

It is the same linear map for all of them, of a feature's weights, velocity and average: a
:class:`Mixture`. So the three are held in coordinates in which it is the identity, and a step costs
only the features that its rows store: Bottou, "Stochastic gradient descent tricks" (2012), section
5.1, for the penalty alone.
"""

from __future__ import annotations

from typing import NamedTuple

from fastlin.kernels.jit.options import inner
from fastlin.kernels.jit.step import Rates, step_number

GROWTH = 64.0
"""How much the coordinates may grow by a mixture before they are made values again."""


class Mixture(NamedTuple):
    """A feature's weights, velocity and average from its coordinates; all float64.

    ``weights = ww * x + wv * y``, ``velocity = vw * x + vv * y``, ``average = aw * x + av * y +
    aa * z``.
    """

    ww: float
    wv: float
    vw: float
    vv: float
    aw: float
    av: float
    aa: float


@inner
def step_values(
    arrays: tuple[int, int],
    rates: Rates,
    values: tuple[float, float, float],
    data_gradient: float,
) -> tuple[float, float, float]:
    """Return a feature's weight, velocity and average after a step.

    ``arrays``: not 0 if there are velocities, if there are averages; absent ones stay as they are.
    """
    gradient = data_gradient + rates.decay * values[0]
    weight, velocity, average = step_number(gradient, values, rates)
    return weight, velocity if arrays[0] else values[1], average if arrays[1] else values[2]


@inner
def mixture_of(arrays: tuple[int, int], rates: Rates) -> Mixture:
    """Return what a step does without a gradient by the data: the rule's map, by columns."""
    of_weight = step_values(arrays, rates, (1.0, 0.0, 0.0), 0.0)
    of_velocity = step_values(arrays, rates, (0.0, 1.0, 0.0), 0.0)
    of_average = step_values(arrays, rates, (0.0, 0.0, 1.0), 0.0)
    return Mixture(
        of_weight[0],
        of_velocity[0],
        of_weight[1],
        of_velocity[1],
        of_weight[2],
        of_velocity[2],
        of_average[2],
    )


@inner
def after(step: Mixture, before: Mixture) -> Mixture:
    """Return the mixture of a step after another mixture."""
    return Mixture(
        step.ww * before.ww + step.wv * before.vw,
        step.ww * before.wv + step.wv * before.vv,
        step.vw * before.ww + step.vv * before.vw,
        step.vw * before.wv + step.vv * before.vv,
        step.aw * before.ww + step.av * before.vw + step.aa * before.aw,
        step.aw * before.wv + step.av * before.vv + step.aa * before.av,
        step.aa * before.aa,
    )


@inner
def has_grown(mixture: Mixture) -> bool:
    """Return whether coordinates have become much larger or smaller than what they stand for."""
    size = abs(mixture.ww * mixture.vv - mixture.wv * mixture.vw)
    return not (1 / GROWTH <= size <= GROWTH and abs(mixture.aa) >= 1 / GROWTH)


@inner
def coordinates(mixture: Mixture, change: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the coordinates of a change of weights, velocity and average."""
    size = mixture.ww * mixture.vv - mixture.wv * mixture.vw
    x = (mixture.vv * change[0] - mixture.wv * change[1]) / size
    y = (mixture.ww * change[1] - mixture.vw * change[0]) / size
    return x, y, (change[2] - mixture.aw * x - mixture.av * y) / mixture.aa
