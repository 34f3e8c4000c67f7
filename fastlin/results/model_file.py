"""The model file: one .npz without pickle, written whole or not at all, checked on every load.

The archive has a member ``header``, a JSON text with the format's name and version, the estimator's
parameters and the metadata, and the fitted arrays under their names. ``numpy.load(path)`` opens it
too.
"""

from __future__ import annotations

import io
import json
import stat
import tokenize
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, ModelFileError
from fastlin.results.output_file import replacing

FORMAT = "fastlin model"
VERSION = 1
REQUIRED_ARRAYS = ("coef_", "intercept_", "classes_")
POSITION_ARRAYS = tuple(
    f"position_{name}{kind}"
    for kind in ("", "_velocity", "_average")
    for name in ("weights", "intercept")
)
"""What gradient descent continues from, see :class:`fastlin.kernels.arguments.Parameters`."""
OPTIONAL_ARRAYS = ("feature_names_in_", "input_shift", "input_factor", *POSITION_ARRAYS)
METADATA = {"fastlin": str, "n_iter_": int, "backend_": str, "history": dict}


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
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise ModelFileError(_damaged(path, f"a field is missing or wrong ({error})")) from error


def save_model(
    path: str | Path,
    *,
    params: Mapping[str, Any],
    arrays: Mapping[str, NDArray[Any]],
    metadata: Mapping[str, Any],
) -> None:
    """Write a model to exactly `path`; no suffix is added.

    Parameters
    ----------
    path : str or Path
        File to write or replace; after an error or Ctrl-C it is as it was before.
    params : mapping
        Values are numbers, strings, None, and lists, tuples and dicts of them.
    arrays : mapping of str to array
        As :class:`SavedModel` names them. Labels are numbers or strings; strings held
        as Python objects are stored as a Unicode array.
    metadata : mapping
        As :class:`SavedModel` names them, plain values only.

    Raises
    ------
    InputError
        If a value cannot be stored, or :func:`load_model` would refuse the file.
    OutputError
        If the file cannot be written.
    """
    plain = {name: _without_objects(name, np.asarray(array)) for name, array in arrays.items()}
    defect = _defect_of_arrays(plain) or _defect_of_metadata(metadata)
    if defect:
        raise InputError(f"cannot save the model: {defect}")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "params": {name: _encode(f"parameter {name}", value) for name, value in params.items()},
        "metadata": {name: _encode(f"metadata {name}", value) for name, value in metadata.items()},
    }
    members: dict[str, Any] = {"header": np.array(json.dumps(content).encode("ascii")), **plain}
    with replacing(path) as temporary, temporary.open("wb") as file:
        # No member holds objects. NumPy before 2.1 would save allow_pickle=False as an array.
        np.savez_compressed(file, **members)


def load_model(path: str | Path) -> SavedModel:
    """Read and check a file written by :func:`save_model`.

    Nothing in the file is executed: it holds no pickle.

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, altered, written by another program, or in a newer
        format.
    """
    members = _read_members(Path(path))
    header = _read_header(path, members.pop("header", None))
    try:
        arrays = {name: _read_array(content) for name, content in members.items()}
    except ValueError as error:
        raise ModelFileError(_damaged(path, str(error))) from error
    try:
        params, metadata = _decode(header["params"]), _decode(header["metadata"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(_damaged(path, f"its header is wrong ({error})")) from error
    defect = _defect_of_arrays(arrays) or _defect_of_metadata(metadata)
    if defect:
        raise ModelFileError(_damaged(path, defect))
    return SavedModel(params=params, arrays=arrays, metadata=metadata)


def _read_members(path: Path) -> dict[str, bytes]:
    """Return the bytes of each member after verifying every checksum."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(
            f"there is no model file '{path}'; train one with: fastlin train --out {path}"
        ) from error
    except (OSError, ValueError) as error:  # too long a name, a link to itself, a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"cannot read '{str(path)[:100]}': {reason}; give the path of a model file"
        ) from error
    if stat.S_ISDIR(mode):
        raise ModelFileError(f"'{path}' is a folder; the path of a model file is needed")
    if not stat.S_ISREG(mode):
        raise ModelFileError(f"'{path}' is not a regular file; the path of a model file is needed")
    try:
        file = path.open("rb")
    except OSError as error:
        raise ModelFileError(f"cannot read '{path}': {error.strerror or error}") from error
    with file:
        if file.read(2) != b"PK":
            raise ModelFileError(_foreign(path, "it is not an .npz archive"))
        try:
            with zipfile.ZipFile(file) as archive:
                # Read members whole before NumPy parses them: an altered array header could
                # otherwise ask for any amount of memory before the checksum is verified.
                return {
                    name.removesuffix(".npy"): archive.read(name) for name in archive.namelist()
                }
        except Exception as error:  # zipfile raises almost any type for damaged bytes
            raise ModelFileError(_damaged(path, str(error) or type(error).__name__)) from error


def _read_header(path: str | Path, content: bytes | None) -> dict[str, Any]:
    if content is None:
        raise ModelFileError(_foreign(path, "the archive has no member 'header'"))
    try:
        header = json.loads(_read_array(content).item())
    except (ValueError, TypeError, RecursionError) as error:
        raise ModelFileError(_foreign(path, f"its header is not JSON text ({error})")) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(_foreign(path, "its header names another format"))
    version = header.get("version")
    if not isinstance(version, int) or version < 1:
        raise ModelFileError(_damaged(path, f"its format version is {version!r}"))
    if version > VERSION:
        raise ModelFileError(
            f"'{path}' was written by a newer fastlin (format {version}; this one reads up to "
            f"{VERSION}); update with: pip install --upgrade fastlin"
        )
    for part in ("params", "metadata"):
        if not isinstance(header.get(part), dict):
            raise ModelFileError(_damaged(path, f"its header has no {part}"))
    return header


def _read_array(content: bytes) -> NDArray[Any]:
    """Return the array of a member, or raise ValueError."""
    stream = io.BytesIO(content)
    try:
        array: NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    except ValueError:
        raise
    # NumPy raises several types for a header that is wrong or truncated.
    except (MemoryError, OverflowError, TypeError, SyntaxError, tokenize.TokenError) as error:
        raise ValueError(f"the header of an array is wrong ({str(error)[:100]})") from error
    return array


def _without_objects(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return strings stored as Python objects as a Unicode array; refuse other objects."""
    if array.dtype.kind not in "OT":
        return array
    if not all(isinstance(item, str) for item in array.flat):
        raise InputError(f"cannot save the model: {name} holds neither numbers nor strings alone")
    return array.astype(np.str_)


def _defect_of_arrays(arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Say what is wrong with the arrays of a model, or None."""
    missing = [name for name in REQUIRED_ARRAYS if name not in arrays]
    foreign = [name for name in arrays if name not in REQUIRED_ARRAYS + OPTIONAL_ARRAYS]
    if missing or foreign:
        return f"array {(missing or foreign)[0]} is {'missing' if missing else 'not known'}"
    coef, intercept, classes = (arrays[name] for name in REQUIRED_ARRAYS)
    for name in ("coef_", "intercept_"):
        if arrays[name].dtype.kind != "f":
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
        ("input_factor", "f", "finite numbers"),
    ):
        array = arrays.get(name)
        if array is not None and (
            array.dtype.kind != kind
            or array.shape != coef.shape[1:]
            or (kind == "f" and not np.isfinite(array).all())
        ):
            return f"{name} is not {coef.shape[1]} {content}"
    for name in POSITION_ARRAYS:
        array, like = arrays.get(name), intercept if "intercept" in name else coef
        if array is not None and (
            array.dtype != coef.dtype or array.shape != like.shape or not np.isfinite(array).all()
        ):
            return f"{name} is not {like.shape} finite numbers of type {coef.dtype}"
    return None


def _defect_of_metadata(metadata: Mapping[str, Any]) -> str | None:
    """Say what is wrong with the metadata of a model, or None."""
    for name, expected in METADATA.items():
        value = metadata.get(name)
        if not isinstance(value, (int, np.integer) if expected is int else expected):
            return f"metadata {name} is {value!r}, expected {expected.__name__}"
    return None


def _encode(name: str, value: Any) -> Any:
    """Return `value` for JSON, with tuples and non-string keys marked."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (np.generic, np.ndarray)):
        return _encode(name, value.tolist())
    if isinstance(value, list):
        return [_encode(name, item) for item in value]
    if isinstance(value, tuple):
        return {"__tuple__": [_encode(name, item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _encode(name, item) for key, item in value.items()}
        return {"__items__": [[_encode(name, item) for item in pair] for pair in value.items()]}
    raise InputError(
        f"cannot save the model: {name} is a {type(value).__name__}; "
        "only numbers, strings, None, and lists, tuples and dicts of them can be stored"
    )


def _decode(value: Any) -> Any:
    """Undo :func:`_encode`."""
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {"__tuple__"}:
            return tuple(_decode(value["__tuple__"]))
        if value.keys() == {"__items__"}:
            return dict(_decode(value["__items__"]))
        return {key: _decode(item) for key, item in value.items()}
    return value


def _damaged(path: str | Path, reason: str) -> str:
    reason = reason if len(reason) <= 150 else f"{reason[:147]}..."
    return f"'{path}' is truncated or damaged: {reason}; train and save the model again"


def _foreign(path: str | Path, reason: str) -> str:
    return f"'{path}' is not a model that fastlin saved: {reason}"
