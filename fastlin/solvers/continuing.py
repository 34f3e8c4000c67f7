"""How ``partial_fit``, and ``fit`` with ``warm_start``, continue, even if options have changed.

Options that change between calls take effect for the present model; ``docs/guide/continuing.rst``
says how each of them does.
"""

from __future__ import annotations

import copy
import reprlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.kernels import Parameters
from fastlin.rows.scaling import InputScale
from fastlin.solvers.state import State, copy_parameters

RATE_DEPENDS_ON = ("l2", "momentum", "batch_size", "fit_intercept", "regularize_intercept")
"""Options on which an automatic learning rate depends."""

REMEMBERED = ("input_scale", "average", *RATE_DEPENDS_ON)
"""Options whose values the next call compares with its own."""


def remembered(options: Any) -> dict[str, Any]:
    """Return copies of the options to compare with later, since a caller may change the arrays."""
    return {name: copy.deepcopy(getattr(options, name)) for name in REMEMBERED}


def unchanged(options: Any, before: Mapping[str, Any], *names: str) -> bool:
    """Whether options are as they were ``before``; options that it lacks count as unchanged."""
    return all(name not in before or _equal(before[name], getattr(options, name)) for name in names)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, str) or isinstance(other, str) or one is None or other is None:
        return bool(type(one) is type(other) and one == other)
    if not isinstance(one, tuple | list):
        return bool(one == other)
    try:
        return len(one) == len(other) and all(map(np.array_equal, one, other))
    except (TypeError, ValueError):
        return False


def present_model(
    state: State, n_models: int, n_features: int
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ``coef_ (k, d)`` and ``intercept_ (k,)``, from which training continues, as arrays.

    Raises
    ------
    InputError
        The assigned values are not a model of these classes and features.
    """
    values = []
    for name, given, shape in (
        ("coef_", state.coef, (n_models, n_features)),
        ("intercept_", state.intercept, (n_models,)),
    ):
        try:
            array = np.zeros(shape) if given is None else np.asarray(given)
            if array.dtype.kind not in "fiu":
                array = array.astype(np.float64)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{name} is a {type(given).__name__} that holds no numbers; assign an array of "
                f"shape {shape} to continue from, or fit with warm_start=False"
            ) from error
        if array.shape != shape:
            raise InputError(
                f"{name} has shape {array.shape}, expected {shape} for {n_features} features and "
                f"{max(2, n_models)} classes; assign an array of that shape, or fit with "
                "warm_start=False"
            )
        if not np.isfinite(array).all():
            raise InputError(
                f"{name}, from which training would continue, has nan or infinite values; "
                "assign finite ones, or fit with warm_start=False"
            )
        values.append(array)
    return values[0], values[1]


def known_classes(given: Any) -> NDArray[Any]:
    """Return ``classes_``, which the user may have assigned, as an array.

    Raises
    ------
    InputError
        They are not two or more different labels in sorted order.
    """
    classes = np.asarray(given)
    if classes.ndim != 1 or len(classes) < 2 or not np.array_equal(classes, np.unique(classes)):
        raise InputError(
            f"classes_ is {reprlib.repr(given)}, expected two or more different "
            "labels in sorted order; assign numpy.unique(all_labels), and rows of coef_ in the "
            "same order"
        )
    return classes


def begin_from(
    parameters: Parameters,
    model: tuple[NDArray[Any], NDArray[Any]],
    scale: InputScale,
    fit_intercept: bool,
) -> None:
    """Set new ``parameters`` to a model of unscaled rows, at which an average starts."""
    coef, intercept = model
    with np.errstate(over="ignore"):
        parameters.weights[...] = coef
    shifted = scale.shifted_intercept(coef.astype(parameters.weights.dtype), intercept)
    parameters.intercept[...] = shifted if fit_intercept else 0
    if parameters.weights_average is not None and parameters.intercept_average is not None:
        parameters.weights_average[...] = parameters.weights
        parameters.intercept_average[...] = parameters.intercept


def go_on_from(parameters: Parameters, state: State) -> bool:
    """Set new ``parameters`` to those at which a run stopped; return False if that is impossible.

    It is impossible after L-BFGS, and if the user has assigned weights or written into them.
    """
    if state.parameters is None or not state.is_as_handed_out:
        return False
    copy_parameters(state.parameters, parameters)
    return True
