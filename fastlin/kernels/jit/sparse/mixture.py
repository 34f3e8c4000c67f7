"""What steps do to the features that none of their rows stores, for the Numba backend.

It is the same linear map for all of them, of a feature's weights, velocity and average: a
:class:`Mixture`. So the three are held in coordinates in which it is the identity, and a step costs
only the features that its rows store: Bottou, "Stochastic gradient descent tricks" (2012), section
5.1, for the penalty alone.
"""

from __future__ import annotations

from typing import NamedTuple

from fastlin.kernels.jit.options import inner

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
def step_mixture(
    arrays: tuple[int, int],
    rate: float,
    share: float,
    momentum: float,
    nesterov: bool,
    decay: float,
) -> tuple[Mixture, tuple[float, float, float]]:
    """Return what a step does without data, and what it does with a gradient of 1 by the data.

    See :func:`fastlin.kernels.reference.sgd_steps`: the gradient is ``decay * weights`` and that
    by the data. ``arrays``: not 0 where there are velocities, where there are averages.
    """
    vw, vv = (decay, momentum) if arrays[0] else (0.0, 1.0)
    dw, dv, of_data = vw, vv, 1.0
    if not arrays[0]:
        dw, dv = decay, 0.0
    elif nesterov:
        dw, dv, of_data = decay + momentum * vw, momentum * vv, 1.0 + momentum
    ww, wv, to_weights = 1.0 - rate * dw, -rate * dv, -rate * of_data
    if not arrays[1]:
        return Mixture(ww, wv, vw, vv, 0.0, 0.0, 1.0), (to_weights, 1.0, 0.0)
    mixture = Mixture(ww, wv, vw, vv, share * ww, share * wv, 1.0 - share)
    return mixture, (to_weights, 1.0, share * to_weights)


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
