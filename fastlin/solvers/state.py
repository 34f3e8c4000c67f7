"""The state of a run: plain arrays and numbers from which another run continues, bit for bit."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels import Parameters
from fastlin.rows.scaling import InputScale
from fastlin.solvers.schedules import StepSize
from fastlin.solvers.stream import Seen

PARAMETERS = tuple(field.name for field in fields(Parameters))


@dataclass(frozen=True)
class State:
    """A model, and what a run needs to continue from it; the only holder of the present weights.

    Attributes
    ----------
    coef : (k, d)
        Weights for unscaled rows; None before training, and unchecked if the user assigned them.
    intercept : (k,)
        The intercept; as above.
    scale : InputScale or None
        The run's scale of the inputs; None if weights were only assigned.
    parameters : Parameters or None
        Those at which gradient descent stopped; ``coef`` is their array of weights, or of averages
        if there are any. None after L-BFGS, and after the user assigned weights.
    epochs_done, steps_done : int
        Totals over all runs that continued one another.
    seen : Seen
        Rows of all these runs.
    step_size : StepSize or None
        The automatic step size, if any.
    trained_with : mapping
        Options of the latest run, see :mod:`fastlin.solvers.continuing`.
    digest : int
        Checksum of the trained model, which shows whether the user has written into its arrays.
    """

    coef: Any = None
    intercept: Any = None
    scale: InputScale | None = None
    parameters: Parameters | None = None
    epochs_done: int = 0
    steps_done: int = 0
    seen: Seen = field(default_factory=Seen)
    step_size: StepSize | None = None
    trained_with: Mapping[str, Any] = field(default_factory=dict)
    digest: int = 0

    @classmethod
    def reached(cls, parameters: Parameters, scale: InputScale, **rest: Any) -> State:
        """Return the state in which gradient descent stopped at some parameters."""
        coef, intercept = parameters.to_return()
        raw = scale.learned_intercept(coef, intercept)
        return cls(coef, raw, scale, parameters, digest=_digest(coef, raw), **rest)

    @property
    def is_as_handed_out(self) -> bool:
        """Whether a run can continue from the parameters: the model has not been changed since."""
        return self.parameters is not None and self.digest == _digest(self.coef, self.intercept)

    def begun_anew(self, epochs: int) -> State:
        """Return the state from which a new fit starts: the model and its scale, but no counters.

        Orders of the rows were drawn for ``epochs`` epochs already.
        """
        seen = Seen(epochs=epochs)
        return replace(self, parameters=None, epochs_done=0, steps_done=0, seen=seen)

    def to_plain(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return arrays and numbers, as a model file holds them."""
        assert self.scale is not None, "nothing was trained"
        arrays = {
            "coef_": np.asarray(self.coef),
            "intercept_": np.asarray(self.intercept),
            "input_shift": self.scale.shift,
            "input_factor": self.scale.scale,
        }
        if self.is_as_handed_out:
            named = vars(self.parameters).items()
            arrays |= {f"position_{name}": array for name, array in named if array is not None}
        before: Any = self.scale.before_centring
        if before is not None and (before == before[0]).all():
            before = float(before[0])  # one number instead of many
        return arrays, {
            "position": [self.epochs_done, self.steps_done] if self.steps_done else None,
            "seen": asdict(self.seen) if self.steps_done else None,
            "intercept_gain": None if self.step_size is None else self.step_size.intercept_gain,
            "trained_with": dict(self.trained_with),
            "before_centring": before,
        }

    @classmethod
    def from_plain(
        cls, arrays: Mapping[str, NDArray[Any]], numbers: Mapping[str, Any], learning_rate: float
    ) -> State:
        """Undo :meth:`to_plain`, even that of an earlier version.

        Raises
        ------
        TypeError, ValueError, KeyError, OverflowError
            A value is missing or wrong.
        """
        coef, intercept, shift = arrays["coef_"], arrays["intercept_"], arrays["input_shift"]
        before, gain = numbers.get("before_centring"), numbers.get("intercept_gain")
        if before is not None:
            before = np.broadcast_to(np.asarray(before, np.float64), shift.shape).copy()
        parameters, epochs_done, steps_done = None, 0, 0
        if numbers.get("position") is not None:
            epochs_done, steps_done = map(int, numbers["position"])
            stored = {name: arrays.get(f"position_{name}") for name in PARAMETERS}
            given = {name: array for name, array in stored.items() if array is not None}
            parameters = Parameters(**given) if given else None
        if parameters is not None:
            handed_out = parameters.to_return()[0]
            if np.array_equal(handed_out, coef):
                coef = handed_out
            else:  # the user had assigned another model
                parameters = None
        return cls(
            coef=coef,
            intercept=intercept,
            scale=InputScale(shift, arrays["input_factor"], before),
            parameters=parameters,
            epochs_done=epochs_done,
            steps_done=steps_done,
            seen=Seen.from_dict(numbers.get("seen") or {}),
            step_size=None if gain is None else StepSize(learning_rate, float(gain)),
            trained_with=dict(numbers.get("trained_with") or {}),
            digest=_digest(coef, intercept),
        )


def _digest(coef: NDArray[Any], intercept: NDArray[Any]) -> int:
    of_coef = zlib.crc32(np.ascontiguousarray(coef).data)
    return zlib.crc32(np.ascontiguousarray(intercept).data, of_coef)


def new_parameters(
    n_models: int, n_features: int, dtype: Any, momentum: float, average: bool
) -> Parameters:
    """Return zero parameters, ``(n_models, n_features)``, with what the options need."""

    def zeros() -> tuple[NDArray[Any], NDArray[Any]]:
        return np.zeros((n_models, n_features), dtype), np.zeros(n_models, dtype)

    parameters = Parameters(*zeros())
    if momentum > 0:
        parameters.weights_velocity, parameters.intercept_velocity = zeros()
    if average:
        parameters.weights_average, parameters.intercept_average = zeros()
    return parameters


def copy_parameters(source: Parameters, target: Parameters) -> None:
    """Copy the arrays that both have."""
    for name, values in vars(source).items():
        place = getattr(target, name)
        if values is not None and place is not None:
            place[...] = values
