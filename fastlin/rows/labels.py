"""Reads labels of every type and container as plain arrays, and finds their classes."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, listed, shown
from fastlin.rows.containers import plain, reading


def read_labels(y: Any, what: str = "y") -> NDArray[Any]:
    """Return labels as an array of booleans, integers, floats, dates, or strings.

    Integers and booleans in object arrays, or of pandas' nullable types, get NumPy's types. Strings
    stay objects or NumPy strings.

    Raises
    ------
    InputError
        A label is missing or of another type, or two different labels would become equal.
    """
    if y is None:
        raise InputError(
            "This classifier requires y to be passed, but the target y is None; pass one label for "
            "each row"
        )
    if isinstance(y, set | frozenset | range):
        y = list(y)
    y = plain(y, what)
    with reading(what, "pass a NumPy array of strings or integers"):
        _require_none_missing(_is_null(y), what)
        dtype = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
        if isinstance(y, list | tuple):
            return _checked(_from_list(y, what), what)
        if dtype is not None and not dtype.hasobject:  # pandas' nullable types
            return _checked(y.to_numpy(dtype), what)
        return _checked(np.asarray(y), what)


def _is_null(y: Any) -> NDArray[Any]:
    """Return which labels are missing according to their container."""
    for name in ("isna", "is_null"):  # of pandas, of Polars and Arrow
        if callable(getattr(y, name, None)):
            return np.asarray(getattr(y, name)())
    return np.zeros(0, bool)


def _require_none_missing(missing: NDArray[Any], what: str) -> None:
    where = np.flatnonzero(missing)
    if len(where):
        raise InputError(
            f"Input {what} contains NaN: {len(where)} labels are missing, the first in row "
            f"{where[0]} (counted from 0); leave those rows out, or name their label"
        )


ALIKE = (str, bool, int, float, np.generic)
"""Types of elements that NumPy converts correctly if all have the same type."""


def _from_list(y: Any, what: str) -> NDArray[Any]:
    """Return a list as an array; NumPy would convert labels of several types to one."""
    objects = np.asarray(y, dtype=object)
    kinds = set(map(type, objects.flat))
    if len(kinds) == 1 and all(issubclass(kind, ALIKE) for kind in kinds):
        array = np.asarray(y)
        if array.dtype.kind == "i" or not kinds <= {int}:  # large integers may become floats
            return array
    array = _from_objects(objects, what)
    return array.astype(np.str_) if array.dtype.kind == "O" and array.size else array


def _from_objects(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return an object array in its real type, if all are booleans, numbers or strings."""
    kinds = set(map(type, array.flat))
    if all(issubclass(kind, str) for kind in kinds):
        return array
    _require_none_missing(np.array([_is_missing(label) for label in array.flat], bool), what)
    if all(issubclass(kind, bool | np.bool_) for kind in kinds):
        return array.astype(bool)
    if not any(issubclass(kind, bool | np.bool_) for kind in kinds):
        if all(issubclass(kind, Integral) for kind in kinds):
            return _integers(array, what)
        if all(issubclass(kind, Integral | float | np.floating) for kind in kinds):
            floats = array.astype(np.float64)
            lost = [a for a, b in zip(array.flat, floats.ravel().tolist(), strict=True) if a != b]
            if lost:
                raise InputError(
                    f"{what} holds {shown(lost[0])} beside floats, which cannot hold it exactly; "
                    "convert all labels to integers or strings"
                )
            return floats
    names = sorted({kind.__name__ for kind in kinds})
    raise InputError(
        f"{what} holds labels of type {', '.join(names[:5])}; convert all of them to strings or "
        "integers"
    )


def _is_missing(label: Any) -> bool:
    if label is None or type(label).__name__ == "NAType":  # pandas.NA cannot be compared
        return True
    try:
        return bool(label != label)
    except Exception:  # an unknown class; the message about its type comes later
        return False


def _integers(array: NDArray[Any], what: str) -> NDArray[Any]:
    labels = [int(label) for label in array.flat]
    least, largest = min(labels, default=0), max(labels, default=0)
    for dtype in (np.int64, np.uint64):
        limits = np.iinfo(dtype)
        if int(limits.min) <= least and largest <= int(limits.max):
            return np.array(labels, dtype).reshape(array.shape)
    raise InputError(
        f"{what} holds integers from {shown(least)} to {shown(largest)}, beyond 64 bits; convert "
        "them to strings"
    )


def _checked(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.dtype.kind == "T":  # strings of any length, which scikit-learn does not know
        array = array.astype(object)
    if array.dtype.kind == "O":
        array = _from_objects(array, what)
    kind = array.dtype.kind
    if kind == "S":
        raise InputError(
            f"{what} holds labels of type bytes; convert them to strings, for example with "
            f"np.char.decode({what})"
        )
    if kind == "c":
        raise InputError(
            f"Complex data not supported: {what} holds {array.dtype} labels; pass integers or "
            "strings"
        )
    if kind not in "biufMUO":
        raise InputError(
            f"{what} holds labels of type {array.dtype}; convert them to strings or integers"
        )
    if kind in "fM":
        _require_none_missing(np.isnan(array) if kind == "f" else np.isnat(array), what)
    return _float_labels(array, what) if kind == "f" else array


def _float_labels(array: NDArray[Any], what: str) -> NDArray[Any]:
    if array.dtype.itemsize > 8:  # long doubles
        with np.errstate(over="ignore"):
            shorter = array.astype(np.float64)
        if not np.array_equal(shorter, array):
            raise InputError(
                f"{what} holds {array.dtype} labels that float64 cannot hold exactly; convert them "
                "to strings or integers"
            )
        array = shorter
    if not np.isfinite(array).all():
        raise InputError(
            f"Input {what} contains infinity or a value too large for dtype('{array.dtype}'). "
            "Leave those rows out, or name their label"
        )
    return array


def require_one_a_row(labels: NDArray[Any], what: str = "y", n_rows: int | None = None) -> None:
    """Raise if labels are not ``(n,)`` or ``(n, 1)``, or not as many as the rows."""
    if labels.ndim != 1 and labels.shape[1:] != (1,):
        raise InputError(
            f"{what} should be a 1d array, got an array of shape {labels.shape} instead. Pass one "
            f"label for each row; for one-hot rows that is {what}.argmax(axis=1)"
        )
    if n_rows is not None and len(labels) != n_rows:
        raise InputError(
            f"there are {n_rows} rows and {len(labels)} labels in {what}; pass one for each row"
        )


def require_whole(labels: NDArray[Any]) -> None:
    """Raise if labels are measurements rather than classes."""
    if labels.dtype.kind != "f":
        return
    fractions = labels[labels != np.round(labels)]
    if len(fractions):
        raise InputError(
            f"Unknown label type: continuous: y holds numbers with fractions, such as "
            f"{fractions[0]:g}; pass whole numbers or strings as labels, or use a regression, for "
            "example sklearn.linear_model.Ridge"
        )


# ------------------------------------------------------------------ classes


MOST_COUNTED = 2**16
"""Range up to which whole numbers are counted and looked up, which is faster than sorting."""


def _offsets(numbers: NDArray[Any], least: int) -> NDArray[np.int64]:
    """Return whole numbers less the least of them; the differences fit in int64."""
    if numbers.dtype.kind == "u":
        return np.asarray((numbers - numbers.dtype.type(least)).astype(np.int64, copy=False))
    return np.asarray(np.subtract(numbers, least, dtype=np.int64))


def classes_of(y: NDArray[Any]) -> NDArray[Any]:
    """Return the labels that occur, sorted, in the machine's order of bytes, as files have them."""
    native = y.dtype.newbyteorder("=")
    if y.dtype.kind in "iu" and len(y):
        least, largest = int(y.min()), int(y.max())
        if largest - least < min(MOST_COUNTED, 4 * len(y)):
            present = np.flatnonzero(np.bincount(_offsets(y, least)))
            return np.asarray(present.astype(native) + native.type(least), native)
    return np.asarray(np.unique(y), native)


def locate(y: NDArray[Any], classes: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return each label's index in the sorted ``classes``, ``(n,)``, and whether it is there.

    Labels and classes of different types are the same if they are equal as numbers, without
    rounding: 2**53 + 1 is not a float64.
    """
    same, exact = _as_type_of(y, classes)
    index = _places(same, classes)
    return index, np.asarray(exact & (classes[index] == same), bool)


def _places(y: NDArray[Any], classes: NDArray[Any]) -> NDArray[np.int64]:
    """Return the index in the sorted classes that a label has if it is one of them."""
    if classes.dtype.kind in "iu" and len(classes) and len(y):
        least, largest = int(classes[0]), int(classes[-1])
        span = largest - least
        inside = least <= int(y.min()) and int(y.max()) <= largest
        if inside and span < min(MOST_COUNTED, 4 * len(y)):
            table = np.zeros(span + 1, np.int64)
            table[_offsets(classes, least)] = np.arange(len(classes))
            return table[_offsets(y, least)]
    return np.searchsorted(classes, y).clip(max=len(classes) - 1)


def _as_type_of(y: NDArray[Any], classes: NDArray[Any]) -> tuple[NDArray[Any], Any]:
    """Return labels in the classes' type, and which of them keep their value."""
    mine, theirs = y.dtype, classes.dtype
    if mine == theirs or (mine.kind in "UO" and theirs.kind in "UO"):
        return y, True
    if mine.kind not in "biuf" or theirs.kind not in "biuf":
        if mine.kind == theirs.kind:  # dates
            return y.astype(theirs), True
        return np.full(y.shape, classes[0], theirs), False
    with np.errstate(invalid="ignore", over="ignore"):
        there = y.astype(theirs)
        exact = (there.astype(mine) == y) & ((there < 0) == (y < 0))
    if theirs.kind in "iu" and mine.kind == "f":
        limits = np.iinfo(theirs)
        # The limits are powers of two, so floats hold them; values beyond them may wrap around.
        exact &= (y >= float(limits.min)) & (y < float(limits.max // 2 + 1) * 2)
    return there, exact


def weights_of_classes(
    class_weight: Mapping[Any, Any], classes: NDArray[Any], complete: bool
) -> tuple[NDArray[np.float64], list[Any]]:
    """Return the weight of each class, ``(k,)``, by default 1, and unknown names to warn of.

    If a class has no weight, an unknown name may be misspelled. This is an error if the classes are
    ``complete``; otherwise these rows may lack a class, as in cross-validation. A string for a
    number, or a number for a string, is always an error.
    """
    place = {label: index for index, label in enumerate(classes.tolist())}
    weights = np.ones(len(classes))
    named: set[int] = set()
    foreign = []
    for name, weight in class_weight.items():
        key = name.item() if isinstance(name, np.generic) else name
        try:
            number = np.nan if isinstance(weight, str | bytes) else float(weight)
        except (TypeError, ValueError, OverflowError):
            number = np.nan
        if not (np.isfinite(number) and number >= 0):
            raise InputError(
                f"class_weight gives {shown(key)} the weight {shown(weight)}; class_weight needs "
                "finite weights that are not negative"
            )
        if key in place:
            weights[place[key]] = number
            named.add(place[key])
        else:
            foreign.append(key)
    if len(named) == len(classes):
        return weights, []
    for key in foreign:
        if complete or isinstance(key, str) != (classes.dtype.kind in "UO"):
            raise InputError(
                f"class_weight names {shown(key)}, which is not a label; the labels are "
                f"{listed(classes.tolist())}" + _how_to_write(key, place)
            )
    return weights, foreign


def _how_to_write(key: Any, place: dict[Any, int]) -> str:
    for label in place:
        if str(label) == str(key) or (isinstance(key, Real) and str(label) == str(float(key))):
            return f"; write {shown(label)}"
    return "; leave it out, or write it as the labels are"
