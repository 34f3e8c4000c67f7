"""The model file: arrays and plain values, written whole or not at all, checked on every load.

It holds no code. :mod:`fastlin.results.array_file` describes the format.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, ModelFileError
from fastlin.results.array_file import (
    WRONG_VALUES,
    damaged,
    open_file,
    read_arrays,
    read_open_file,
    write_arrays,
)
from fastlin.results.model_checks import defect_of_arrays, defect_of_metadata
from fastlin.results.npz_model_file import read_npz_model
from fastlin.results.output_file import replacing

VERSION = 2
"""Version 1 was an ``.npz`` file."""

RUN = "run_"
"""Prefix of the arrays of a run that has not ended."""

PARTS = ("params", "metadata")
"""Names of a file's plain values."""

MOST_LISTED = 1000
"""Longer lists of numbers or of strings are stored as arrays."""

MOST_KEYS = 2**16
"""Longest dict, such as the weights of classes: in memory a name and its value take 200 bytes."""


@dataclass(frozen=True)
class SavedModel:
    """What a model file holds.

    Attributes
    ----------
    params : dict
        Parameters of the estimator by name.
    arrays : dict of str to array
        ``coef_`` (k or 1, d), ``intercept_`` (k or 1,), ``classes_`` (k,) and, if the
        model has them, ``feature_names_in_`` (d,), ``input_shift`` and ``input_factor`` (d,), and
        the fields of :class:`fastlin.kernels.arguments.Parameters` after ``position_``.
    metadata : dict
        ``fastlin`` (version), ``n_iter_``, ``backend_``, ``history`` and any other saved fields.
    """

    params: dict[str, Any]
    arrays: dict[str, NDArray[Any]]
    metadata: dict[str, Any]


@contextmanager
def reading(path: str | Path) -> Iterator[None]:
    """Raise the error that a file is damaged if its content cannot be used."""
    try:
        yield
    except WRONG_VALUES as error:
        reason = f"a field is missing or wrong ({error})"
        raise ModelFileError(damaged(path, "model", reason)) from error


def save_model(
    path: str | Path,
    *,
    params: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, Any],
    run: tuple[Mapping[str, NDArray[Any]], Mapping[str, Any]] | None = None,
) -> None:
    """Write a model to exactly `path`; no suffix is added.

    Parameters
    ----------
    path : str or Path
        File to write or replace; after an error or Ctrl-C it is as it was before.
    params : mapping
        Values are numbers, strings, None, arrays, and lists, tuples and dicts of them.
    arrays : mapping of str to array
        As :class:`SavedModel` names them. Labels are numbers or strings; strings held
        as Python objects are stored as a Unicode array.
    metadata : mapping
        As :class:`SavedModel` names them, of the same kinds of values as ``params``.
    run : tuple of mappings, optional
        Arrays and plain values of a run that has not ended, see :func:`load_run`.

    Raises
    ------
    InputError
        If a value cannot be stored, or :func:`load_model` would refuse the file.
    OutputError
        If the file cannot be written.
    """
    plain = {name: _without_objects(name, np.asarray(array)) for name, array in arrays.items()}
    defect = defect_of_arrays(plain) or defect_of_metadata(metadata, plain)
    if defect:
        raise InputError(f"cannot save the model: {defect}")
    content = {"params": _compact(dict(params)), "metadata": _compact(dict(metadata))}
    if run is not None:
        plain |= {f"{RUN}{name}": array for name, array in run[0].items()}
        content["run"] = _compact(dict(run[1]))
    with replacing(path) as temporary:
        write_arrays(temporary, "model", VERSION, plain, content)


def load_model(path: str | Path) -> SavedModel:
    """Read and check a file written by :func:`save_model`, of this or an earlier version.

    Nothing in the file is executed: it holds no pickle.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, altered, written by another program, or in a newer
        format.
    """
    with open_file(path, "model", f"train one with: fastlin train --out {path}") as file:
        is_archive = file.read(2) == b"PK"
        file.seek(0)
        if is_archive:
            arrays, params, metadata = read_npz_model(file, path)
        else:
            arrays, content, _ = read_open_file(file, path, "model", VERSION)
            arrays = {name: arrays[name] for name in arrays if not name.startswith(RUN)}
            with reading(path):
                params, metadata = (_expanded(content.get(part)) for part in PARTS)
    for part, value in zip(PARTS, (params, metadata), strict=True):
        if not isinstance(value, dict):
            raise ModelFileError(damaged(path, "model", f"it has no {part}"))
    with reading(path):
        defect = defect_of_arrays(arrays) or defect_of_metadata(metadata, arrays)
    if defect:
        raise ModelFileError(damaged(path, "model", defect))
    return SavedModel(params=params, arrays=arrays, metadata=metadata)


def load_run(path: str | Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays and plain values of the run in a file, which is a model beside it.

    Raises
    ------
    ModelFileError
        If the file is no model, or there is no run in it.
    """
    arrays, content, _ = read_arrays(path, "model", VERSION)
    with reading(path):
        values = _expanded(content.get("run"))
    if not isinstance(values, dict):
        raise ModelFileError(f"'{path}' is not a checkpoint but a model; name another file")
    found = {name: array for name, array in arrays.items() if name.startswith(RUN)}
    return {name.removeprefix(RUN): array for name, array in found.items()}, values


def _without_objects(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return strings stored as Python objects as a Unicode array; refuse other objects."""
    if array.dtype.kind not in "OT":
        return array
    if not all(isinstance(item, str) for item in array.flat):
        raise InputError(f"cannot save the model: {name} holds neither numbers nor strings alone")
    return array.astype(np.str_)


def _compact(value: Any) -> Any:
    """Return a value with long lists of numbers or of strings as arrays."""
    if isinstance(value, dict):
        if len(value) > MOST_LISTED:
            keys, values = _compact(list(value)), _compact(list(value.values()))
            if isinstance(keys, np.ndarray) and isinstance(values, np.ndarray):
                return {"__keys__": keys, "__values__": values}
        return {key: _compact(item) for key, item in value.items()}
    if not isinstance(value, (list, tuple)):
        return value
    if len(value) > MOST_LISTED and len({type(item) for item in value}) == 1:
        array = np.array(value)
        if array.ndim == 1 and array.dtype.kind in "ifU" and array.tolist() == list(value):
            return array
    return type(value)(_compact(item) for item in value)


def _expanded(value: Any) -> Any:
    """Undo :func:`_compact` for dicts, such as the weights of classes; lists stay arrays."""
    if not isinstance(value, dict):
        return value
    if value.keys() == {"__keys__", "__values__"}:
        keys, values = value["__keys__"], value["__values__"]
        if len(keys) > MOST_KEYS:
            raise ValueError(f"there are {len(keys)} names, more than {MOST_KEYS}")
        return dict(zip(keys.tolist(), values.tolist(), strict=True))
    return {key: _expanded(item) for key, item in value.items()}
