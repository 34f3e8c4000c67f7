"""Reads the model files of the first versions of fastlin, which were ``.npz`` archives.

The archive has a member ``header``, a JSON text with the format's name and version, the estimator's
parameters and the metadata, and the fitted arrays under their names. Neither NumPy's reader of
array headers nor what an archive may hold besides is needed: both can be made to take any amount of
memory, or to raise any type of error.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import ModelFileError, shown
from fastlin.results.array_file import WRONG_VALUES, damaged, decoded, foreign

FORMAT, VERSION = "fastlin model", 1

FREE = 32 * 2**20
"""Bytes that a file may take in memory besides twice its size."""

MOST_OF_DIRECTORY = 2**16
"""Largest table of contents in bytes: an entry of fifty bytes becomes an object of thousands."""

TAIL = 42
"""Bytes of the end of an archive: perhaps a locator of 64-bit sizes, then a record of 22."""

HEADER = re.compile(
    rb"\x93NUMPY(?:\x01\x00..|[\x02\x03]\x00....)"
    rb"\{'descr': '([<>|][bifuSU]\d{1,10})', 'fortran_order': (True|False), "
    rb"'shape': \(((?:\d{1,18}, )*\d{1,18},?)?\), ?\} *\n",
    re.DOTALL,
)
"""What begins a ``.npy`` file of numbers or strings, as NumPy writes it."""

MOST_OF_HEADER = 1024


def read_npz_model(file: BinaryIO, path: str | Path) -> tuple[dict[str, NDArray[Any]], Any, Any]:
    """Return arrays, parameters and metadata of an open model file; their values are not checked.

    Raises
    ------
    ModelFileError
        The file is damaged, or no model.
    """
    try:
        members = _unpacked(file)
        if "header" not in members:
            raise ModelFileError(foreign(path, "model", "the archive has no member 'header'"))
        arrays = {name: _array(content) for name, content in members.items()}
    except ModelFileError:
        raise
    except Exception as error:  # zipfile raises almost any type for damaged bytes
        raise ModelFileError(damaged(path, "model", str(error) or type(error).__name__)) from error
    try:
        header = json.loads(arrays.pop("header").item())
    except WRONG_VALUES as error:
        reason = f"its header is not JSON text ({error})"
        raise ModelFileError(foreign(path, "model", reason)) from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ModelFileError(foreign(path, "model", "its header names another format"))
    version = header.get("version")
    if type(version) is not int or version != VERSION:
        raise ModelFileError(damaged(path, "model", f"its format version is {shown(version)}"))
    try:
        return arrays, decoded(header.get("params"), {}), decoded(header.get("metadata"), {})
    except WRONG_VALUES as error:
        raise ModelFileError(damaged(path, "model", f"its header is wrong ({error})")) from error


def _unpacked(file: BinaryIO) -> dict[str, bytearray]:
    """Return the bytes of each member, whose checksums are right, or raise any error."""
    size = os.fstat(file.fileno()).st_size
    file.seek(max(0, size - TAIL))
    locator, end = file.read(TAIL - 22), file.read()
    if not end.startswith(b"PK\x05\x06") or not end.endswith(b"\0\0"):
        raise ValueError("the end of the archive is missing")
    if locator.startswith(b"PK\x06\x07") and size < 2**32:
        raise ValueError("its table of contents is elsewhere")
    if int.from_bytes(end[12:16], "little") > MOST_OF_DIRECTORY:
        raise ValueError("its table of contents is too long")
    members, left = {}, 2 * size + FREE
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            left -= info.file_size
            name = info.filename.removesuffix(".npy")
            if name in members:
                raise ValueError(f"it has two members {shown(name)}")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"member {shown(name)} is compressed in an unknown way")
            if left < 0:
                raise ValueError("it would take more than twice its size and 32 MiB in memory")
            members[name] = _member(archive, info)
            if name == "header":
                left -= _cost_of_text(members[name])
    if left < 0:
        raise ValueError("its header would take more than twice its size and 32 MiB in memory")
    return members


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytearray:
    """Return the bytes of a member; ``archive.read`` would hold them twice."""
    content, place = bytearray(info.file_size), 0
    with archive.open(info) as stream:
        while part := stream.read(2**20):
            content[place : place + len(part)] = part
            place += len(part)
    if place != info.file_size:
        raise ValueError(f"member {shown(info.filename)} is cut off")
    return content


def _cost_of_text(text: bytearray) -> int:
    """Return an upper bound on the memory of a JSON text and of what it holds, in CPython."""
    n_containers = text.count(b"[") + text.count(b"{")
    return 4 * len(text) + 250 * n_containers + 40 * text.count(b",") + 40 * text.count(b'"')


def _array(content: bytearray) -> NDArray[Any]:
    """Return the array in the bytes of a ``.npy`` file."""
    start = HEADER.match(content[:MOST_OF_HEADER])
    data = 10 if content[6:7] == b"\x01" else 12
    data += int.from_bytes(content[8:data], "little")
    if start is None or start.end() != data:
        raise ValueError("the header of an array is wrong, or it holds objects")
    dtype = np.dtype(start[1].decode())
    shape = tuple(int(length) for length in (start[3] or b"").replace(b",", b" ").split())
    n_elements = 1
    for length in shape:
        n_elements *= length
    if n_elements * dtype.itemsize != len(content) - data:
        raise ValueError(f"an array of shape {shown(shape)} has {len(content)} bytes")
    in_columns = start[2] == b"True"
    array: NDArray[Any] = np.ndarray(shape, dtype, content, data, order="F" if in_columns else "C")
    if dtype.kind == "b" and array.view(np.uint8).max(initial=0) > 1:
        raise ValueError("a boolean is neither 0 nor 1")
    if dtype.kind == "U" and dtype.itemsize:
        codes = np.ndarray((len(content) - data) // 4, f"{start[1].decode()[0]}u4", content, data)
        if codes.max(initial=0) > 0x10FFFF:
            raise ValueError("a string has a code point that Unicode does not have")
    return array.astype(dtype.newbyteorder("="), copy=False)
