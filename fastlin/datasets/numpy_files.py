"""Rows and labels in NumPy's files: an archive .npz, or a pair of .npy.

What a header says is compared with the size of the file before memory is taken for it.
"""

from __future__ import annotations

import io
import math
import os
import warnings
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.compressed import most_unpacked, refusal
from fastlin.datasets.damage import DAMAGE, explain_damage
from fastlin.datasets.dataset import Part
from fastlin.datasets.regular_file import open_regular
from fastlin.errors import InputError, listed, shown

_LONGEST_HEADER = 1 << 14  # bytes; NumPy reads 10 000 characters
_MAGIC = b"\x93NUMPY"
_PARTS = ("_train", "_val", "_test", "")


def read_npz(path: Path) -> tuple[Part, Part | None]:
    """Return the training part of an archive and, if it has one, the validation part."""
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        members = _members(archive)
        found = {part: (f"x{part}", f"y{part}") for part in _PARTS}
        found = {part: both for part, both in found.items() if members.keys() >= set(both)}
        chosen = [members[key][1] for both in found.values() for key in both]
        most = most_unpacked(os.fstat(file.fileno()).st_size)
        if sum(member.file_size for member in chosen) > most:
            raise refusal(most)
        parts = {
            part: (_read_member(archive, members[x][1]), _read_member(archive, members[y][1]))
            for part, (x, y) in found.items()
        }
    train = parts.get("_train") or parts.get("")
    if train is None:
        names = [name for name, _ in members.values()]
        raise InputError(
            f"has the arrays {', '.join(names) or '(none)'}; expected X_train and y_train "
            "(and X_val and y_val, or X_test and y_test), or X and y"
        )
    return train, parts.get("_val") or parts.get("_test")


def _members(archive: zipfile.ZipFile) -> dict[str, tuple[str, zipfile.ZipInfo]]:
    """Return the names of the arrays and their members, by name in small letters."""
    found: dict[str, tuple[str, zipfile.ZipInfo]] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if name.lower() in found:
            raise InputError(
                f"has the arrays {found[name.lower()][0]} and {name}; expected one of them"
            )
        found[name.lower()] = name, member
    return found


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    # zipfile bounds what it unpacks at a time only for the two that NumPy writes.
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise InputError(
            f"has a member that is not compressed as NumPy does it ({member.filename}); save the "
            "arrays again with numpy.savez_compressed"
        )
    with archive.open(member) as file:
        try:
            return _read_array(file, member.file_size)
        except ValueError as error:
            raise InputError(f"member {member.filename} {explain_damage(error)}") from error


def read_npy(path: Path) -> tuple[Part, Part | None]:
    """Return rows with the labels beside them, and the validation pair beside them, if any."""
    stem = path.stem
    names = [f"{stem}_labels.npy", f"{stem}-labels.npy"]
    if stem.lower() == "x" or stem.lower().startswith(("x_", "x-")):
        names.insert(0, f"y{stem[1:]}.npy")
    train = load_npy(path), load_npy(_beside(path, names))
    if stem.lower() in ("x_train", "x-train"):
        for part in ("val", "test"):
            rows, labels = (
                path.with_name(f"{letter}{stem[1]}{part}.npy") for letter in (stem[0], "y")
            )
            if rows.exists() and labels.exists():
                return train, (load_npy(rows), load_npy(labels))
    return train, None


def load_npy(path: Path) -> NDArray[Any]:
    """Return the array in a file, or raise InputError."""
    with open_regular(path) as file:
        if file.read(4) == b"PK\x03\x04":
            raise InputError(f"{path.name} is an .npz archive; rename it to {path.stem}.npz")
        try:
            return _read_array(file, os.fstat(file.fileno()).st_size)
        except DAMAGE as error:
            raise InputError(f"{path.name} {explain_damage(error)}") from error


def _read_array(file: IO[bytes], size: int) -> NDArray[Any]:
    """Return the array in a file of `size` bytes; raise ValueError if the two contradict."""
    file.seek(0)
    start = io.BytesIO(file.read(_LONGEST_HEADER))
    if not start.getvalue().startswith(_MAGIC):
        raise ValueError("it is not an array of NumPy")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an array that Python 2 saved
        version = np.lib.format.read_magic(start)
        read_header = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read_header = np.lib.format.read_array_header_2_0
        try:
            shape, _, dtype = read_header(start)
        except Exception as error:  # an altered header raises almost any type
            raise ValueError(f"its header cannot be read ({str(error)[:100]})") from error
        if dtype.hasobject:
            raise ValueError("it holds a pickle")
        if dtype.itemsize == 0 or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"its header says type {dtype} and shape {shape}")
        expected = start.tell() + math.prod(shape) * dtype.itemsize
        if expected != size:
            raise ValueError(
                f"its header promises {shown(expected)} bytes (shape {listed(shape)}), it has "
                f"{size}"
            )
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    file.read(1)  # at the end of a member, its checksum is compared
    return array


def _beside(path: Path, names: list[str]) -> Path:
    """Return the first of the files that exists, or raise InputError naming them all."""
    for name in names:
        if path.with_name(name).exists():
            return path.with_name(name)
    raise InputError(f"no labels beside it; expected {' or '.join(names)} in the same folder")
