"""Files of named arrays and plain values, in the safetensors format, checked on every read.

The file's metadata has one entry, ``fastlin``: a checksum of everything in the file, and a JSON
text with what kind of file it is, its version, the names of the arrays of strings, which are stored
as UTF-32 code points, and the plain values. ``safetensors.numpy.load_file`` opens such a file too.
"""

from __future__ import annotations

import json
import os
import stat
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import safetensors
from numpy.typing import NDArray

from fastlin.errors import InputError, ModelFileError, shown

ENTRY = "fastlin"

MOST_TEXT = 2**18
"""Largest header in bytes: plain values of so much text take at most 16 MiB of memory."""

TYPES = {
    "BOOL": np.dtype(np.bool_),
    **{f"I{size}": np.dtype(f"<i{size // 8}") for size in (8, 16, 32, 64)},
    **{f"U{size}": np.dtype(f"<u{size // 8}") for size in (8, 16, 32, 64)},
    **{f"F{size}": np.dtype(f"<f{size // 8}") for size in (16, 32, 64)},
}
"""Types of arrays by their names in a file."""

WRONG_VALUES = (
    *(AttributeError, KeyError, TypeError, ValueError),
    *(MemoryError, OverflowError, RecursionError),
)
"""What the values of an altered file may raise."""

LARGEST_CODE_POINT = 0x10FFFF


def write_arrays(
    file_path: Path,
    kind: str,
    version: int,
    arrays: Mapping[str, NDArray[Any]],
    content: Mapping[str, Any],
) -> None:
    """Write arrays and plain values to exactly this path.

    Parameters
    ----------
    file_path : Path
        File to write, or to overwrite; :func:`fastlin.results.output_file.replacing` yields one
        that no reader sees before it is whole.
    kind : str
        What the file is, such as ``"model"``; a noun for messages.
    version : int
        Version of this kind of file, from 1.
    arrays : mapping of str to array
        Arrays of any shape, of booleans, integers, float16, float32, float64 or Unicode strings.
    content : mapping
        By names, None, booleans, numbers, strings, and lists, tuples and dicts of them. Arrays in
        it come back as arrays; anything long belongs in one, because the text of all the rest may
        take at most 256 KiB.

    Raises
    ------
    InputError
        A value cannot be stored.
    OSError
        The file cannot be written.
    """
    from safetensors.numpy import save

    stored = dict(arrays)

    def store(values: NDArray[Any]) -> str:
        name = f"content/{len(stored)}"
        stored[name] = values
        return name

    try:
        plain = {name: _encode(name, value, store) for name, value in content.items()}
        strings = [name for name, array in stored.items() if array.dtype.kind == "U"]
        fields = {"kind": kind, "version": version, "strings": strings, "content": plain}
        text = json.dumps(fields)
    except (RecursionError, ValueError) as error:  # an integer of thousands of digits
        raise InputError(f"cannot save the {kind}: {error}") from error
    tensors = {name: _tensor(kind, name, array) for name, array in stored.items()}
    entry = f"{_checksum(text, tensors):08x} {text}"
    whole = save(tensors, {ENTRY: entry})
    if int.from_bytes(whole[:8], "little") > MOST_TEXT:
        raise InputError(
            f"cannot save the {kind}: its plain values take {len(text)} characters, and at most "
            f"about {MOST_TEXT} can be stored; give long ones as arrays"
        )
    with file_path.open("wb") as file:
        file.write(whole)


def read_arrays(
    path: str | Path, kind: str, newest: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], int]:
    """Read and check a file written by :func:`write_arrays`.

    Nothing in the file is executed. Memory and time are bounded, whatever the file holds: twice its
    size, and 16 MiB.

    Parameters
    ----------
    path : str or Path
        The file.
    kind : str
        What the file must be.
    newest : int
        Largest version that the caller can read.

    Returns
    -------
    arrays : dict of str to array
    content : dict
    version : int

    Raises
    ------
    ModelFileError
        If the file is missing, truncated, altered, of another kind or of a newer version.
    """
    with open_file(path, kind) as file:
        return read_open_file(file, path, kind, newest)


def open_file(path: str | Path, kind: str, remedy: str = "check its name") -> BinaryIO:
    """Open a regular file, or raise ModelFileError; `remedy` says what to do if there is none."""
    name = str(path)[:150]
    try:
        # A pipe without a writer would keep an ordinary call waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelFileError(f"there is no {kind} file '{name}'; {remedy}") from error
    except (OSError, ValueError) as error:  # too long a name, a link to itself, a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelFileError(
            f"cannot read '{name}': {reason}; give the path of a {kind} file"
        ) from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return open(descriptor, "rb")  # noqa: PTH123  # a descriptor, not a path
    os.close(descriptor)
    what = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise ModelFileError(f"'{name}' is {what}; the path of a {kind} file is needed")


def read_open_file(
    file: BinaryIO, path: str | Path, kind: str, newest: int
) -> tuple[dict[str, NDArray[Any]], dict[str, Any], int]:
    """Do what :func:`read_arrays` does, with a file that is open at its beginning."""
    start = file.read(9)
    if len(start) < 9 or start[8:] != b"{":
        raise ModelFileError(foreign(path, kind, "it does not begin as a safetensors file does"))
    header_size = int.from_bytes(start[:8], "little")
    if header_size > MOST_TEXT:
        raise ModelFileError(foreign(path, kind, f"its header has {header_size} bytes"))
    try:
        file.seek(0)
        whole = file.read(os.fstat(file.fileno()).st_size)
        members = safetensors.deserialize(whole)  # type: ignore[no-untyped-call]  # safetensors is
        metadata = json.loads(whole[8 : 8 + header_size]).get("__metadata__") or {}
        del whole
    except (safetensors.SafetensorError, OSError, *WRONG_VALUES) as error:
        raise ModelFileError(damaged(path, kind, str(error))) from error
    if ENTRY not in metadata:
        raise ModelFileError(foreign(path, kind, "its metadata have no entry 'fastlin'"))
    try:
        arrays = {name: _array(member) for name, member in members}
        checksum, _, text = metadata[ENTRY].partition(" ")
        if checksum != f"{_checksum(text, arrays):08x}":
            raise ValueError("its checksum is wrong")
        fields = json.loads(text)
        found, version = fields["kind"], fields["version"]
        if type(version) is not int or version < 1:
            raise ValueError(f"its version is {shown(version)}")
        if found == kind and version <= newest:
            for name in fields["strings"]:
                arrays[name] = _strings(arrays[name])
            content = decoded(dict(fields["content"]), arrays)
    except WRONG_VALUES as error:
        raise ModelFileError(damaged(path, kind, str(error) or type(error).__name__)) from error
    if found != kind:
        raise ModelFileError(foreign(path, kind, f"it is a {shown(found)}"))
    if version > newest:
        raise ModelFileError(
            f"'{path}' was written by a newer fastlin (format {version}; this one reads up to "
            f"{newest}); update with: pip install --upgrade fastlin"
        )
    return arrays, content, version


def damaged(path: str | Path, kind: str, reason: str) -> str:
    """Return the message that a file cannot be used, although it once was of this kind."""
    reason = reason if len(reason) <= 150 else f"{reason[:147]}..."
    return f"'{path}' is truncated or damaged: {reason}; train and save the {kind} again"


def foreign(path: str | Path, kind: str, reason: str) -> str:
    """Return the message that a file is of another kind."""
    return f"'{path}' is not a {kind} that fastlin saved: {reason}"


def _encode(name: str, value: Any, store: Callable[[NDArray[Any]], str]) -> Any:
    """Return `value` for JSON; tuples, arrays and dicts with other keys than strings are marked."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return {"__array__": store(value)}
    if isinstance(value, list):
        return [_encode(name, item, store) for item in value]
    if isinstance(value, tuple):
        return {"__tuple__": [_encode(name, item, store) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("__") for key in value):
            return {key: _encode(key, item, store) for key, item in value.items()}
        pairs = [[_encode(name, item, store) for item in pair] for pair in value.items()]
        return {"__items__": pairs}
    raise InputError(
        f"{name} is a {type(value).__name__}; "
        "only numbers, strings, None, arrays, and lists, tuples and dicts of them can be stored"
    )


def decoded(value: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    """Undo :func:`_encode`, in place: a second copy would double the memory."""
    if isinstance(value, list):
        for place, item in enumerate(value):
            value[place] = decoded(item, arrays)
    elif isinstance(value, dict):
        for key, item in value.items():
            value[key] = decoded(item, arrays)
        match value:
            case {"__tuple__": items}:
                return tuple(items)
            case {"__items__": items}:
                return dict(items)
            case {"__array__": name}:
                return arrays.pop(name)
    return value


def _tensor(kind: str, name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Return an array as it is stored: little-endian, C-ordered, strings as UTF-32 code points."""
    array = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
    if array.dtype.kind == "U":
        array = array.reshape(*array.shape, 1).view("<u4")
    if array.dtype not in TYPES.values():
        raise InputError(f"cannot save the {kind}: {name} has type {array.dtype}")
    return array


def _array(member: Mapping[str, Any]) -> NDArray[Any]:
    """Return what :func:`_tensor` stored."""
    dtype = TYPES.get(member["dtype"])
    if dtype is None:
        raise ValueError(f"arrays of type {shown(member['dtype'])} are not known")
    array: NDArray[Any] = np.ndarray(member["shape"], dtype, member["data"])
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("a boolean is neither 0 nor 1")
    return array


def _strings(codes: NDArray[Any]) -> NDArray[Any]:
    """Return strings from their code points, in the last dimension."""
    if codes.dtype != np.uint32 or not codes.ndim or not codes.shape[-1]:
        raise ValueError("strings are not stored as UTF-32 code points")
    if codes.max(initial=0) > LARGEST_CODE_POINT:
        raise ValueError("a string has a code point that Unicode does not have")
    return codes.view(f"<U{codes.shape[-1]}")[..., 0]


def _checksum(text: str, tensors: Mapping[str, NDArray[Any]]) -> int:
    """Return the CRC-32 of the text and of names, types, shapes and bytes of the arrays."""
    checksum = zlib.crc32(text.encode())
    for name in sorted(tensors):
        array = tensors[name]
        checksum = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.reshape(-1).view(np.uint8).data, checksum)
    return checksum
