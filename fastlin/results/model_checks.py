"""What the arrays and values of a model file must be, or it is not saved and not loaded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import shown

REQUIRED_ARRAYS = ("coef_", "intercept_", "classes_")
POSITION_ARRAYS = tuple(
    f"position_{name}{kind}"
    for kind in ("", "_velocity", "_average")
    for name in ("weights", "intercept")
)
"""What gradient descent continues from, see :class:`fastlin.kernels.arguments.Parameters`."""
OPTIONAL_ARRAYS = ("feature_names_in_", "input_shift", "input_factor", *POSITION_ARRAYS)

STEPS = ("step", "train_loss", "objective", "gradient_norm", "gap")
CHECKS = ("check_step", "val_loss", "val_accuracy", "train_accuracy")
"""Fields of a history that have a value for each step, and for each check."""


def defect_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Say what is wrong with the arrays of a model, or None."""
    missing = [name for name in REQUIRED_ARRAYS if name not in arrays]
    foreign = [name for name in arrays if name not in REQUIRED_ARRAYS + OPTIONAL_ARRAYS]
    if missing or foreign:
        return f"array {(missing or foreign)[0]} is {'missing' if missing else 'not known'}"
    coef, intercept, classes = (arrays[name] for name in REQUIRED_ARRAYS)
    for name in ("coef_", "intercept_"):
        if arrays[name].dtype not in (np.float32, np.float64):
            return f"{name} has type {arrays[name].dtype}, expected float32 or float64"
        if not np.isfinite(arrays[name]).all():
            return f"{name} has values that are NaN or infinite"
    if classes.dtype.kind not in "biufU":
        return f"classes_ has type {classes.dtype}, expected numbers or strings"
    if classes.ndim != 1 or len(classes) < 2 or not (classes[1:] > classes[:-1]).all():
        return "classes_ is not a sorted list of two or more different labels"
    rows = 1 if len(classes) == 2 else len(classes)
    if coef.ndim != 2 or coef.shape[0] != rows or coef.shape[1] == 0:
        return f"coef_ has shape {coef.shape}, expected ({rows}, d) for {len(classes)} classes"
    if intercept.shape != (rows,):
        return f"intercept_ has shape {intercept.shape}, expected ({rows},)"
    for name, kind, content in (
        ("feature_names_in_", "U", "strings"),
        ("input_shift", "f", "finite numbers"),
        ("input_factor", "f", "finite numbers above 0"),
    ):
        array = arrays.get(name)
        if array is not None and (
            array.dtype.kind != kind
            or array.shape != coef.shape[1:]
            or (kind == "f" and (array.dtype != np.float64 or not np.isfinite(array).all()))
            or (name == "input_factor" and not array.min() > 0)
        ):
            return f"{name} is not {coef.shape[1]} {content}"
    for name in POSITION_ARRAYS:
        array, like = arrays.get(name), intercept if "intercept" in name else coef
        if array is not None and (
            array.dtype != coef.dtype or array.shape != like.shape or not np.isfinite(array).all()
        ):
            return f"{name} is not {like.shape} finite numbers of type {coef.dtype}"
    return None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and _is_number(value) and bool(0 <= value < 2**63)


def _is_size(value: Any) -> bool:
    return _is_number(value) and bool(0 <= value < np.inf)


def _is_counts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2 and all(map(_is_count, value))


def _is_seen(value: Any) -> bool:
    return isinstance(value, dict) and all(
        (_is_size if name == "weight" else _is_count)(number) for name, number in value.items()
    )


def _is_options(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("weights", ""), str)


def _is_rate(value: Any) -> bool:
    return _is_number(value) and (bool(0 < value < np.inf) or bool(np.isnan(value)))


FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "fastlin": (lambda value: isinstance(value, str), "str"),
    "n_iter_": (_is_count, "int"),
    "backend_": (lambda value: isinstance(value, str), "str"),
    "history": (lambda value: isinstance(value, dict), "dict"),
    "learning_rate_": (_is_rate, "a number above 0, or nan"),
    "position": (_is_counts, "two counts"),
    "seen": (_is_seen, "counts by name"),
    "intercept_gain": (_is_size, "a number, 0 or more"),
    "trained_with": (_is_options, "options by name, and the weights' type"),
}
"""What each field of the metadata must be; the first four must be there."""


def defect_of_metadata(
    metadata: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> str | None:
    """Say what is wrong with the metadata of a model, or None."""
    for place, (name, (is_right, expected)) in enumerate(FIELDS.items()):
        value = metadata.get(name)
        if not (is_right(value) or (value is None and place > 3)):
            return f"metadata {name} is {shown(value)}, expected {expected}"
    before = metadata.get("before_centring")
    if before is not None:
        shift = np.asarray(before)
        shapes = ((), arrays["coef_"].shape[1:])
        if (
            shift.dtype.kind not in "if"
            or shift.shape not in shapes
            or not np.isfinite(shift).all()
        ):
            return f"metadata before_centring is {shown(before)}, expected finite numbers"
    return _defect_of_history(metadata["history"])


def _defect_of_history(history: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the history of a model, or None; fields may be missing here."""
    lengths = {}
    for name in STEPS + CHECKS:
        values = np.asarray(history.get(name, ()))
        kinds = "i" if name in ("step", "check_step") else "if"
        if values.ndim != 1 or (values.size and values.dtype.kind not in kinds):
            return f"its history's {name} is {shown(history[name])}"
        if kinds == "i" and values.size and (values[0] < 0 or (values[1:] < values[:-1]).any()):
            return f"its history's {name} do not increase from 0"
        lengths[name] = len(values)
    for names in (STEPS[:2], STEPS[2:], CHECKS):
        present = {lengths[name] for name in names if name in history}
        if len(present) > 1 or (names == STEPS[2:] and present - {0, lengths["step"]}):
            return f"its history's {', '.join(names)} disagree in length"
    for name, least in (("steps_per_epoch", 0), ("steps_per_loss", 1)):
        value = history.get(name, least)
        if not _is_count(value) or value < least:
            return f"its history's {name} is {shown(value)}"
    for name in ("stopped_epoch", "stopped_step", "best_step"):
        value = history.get(name, -1)
        if not (_is_count(value) or (_is_number(value) and value == -1)):
            return f"its history's {name} is {shown(value)}"
    seconds = history.get("seconds", {})
    if not isinstance(seconds, dict) or not all(map(_is_size, seconds.values())):
        return f"its history's seconds are {shown(seconds)}"
    return None
