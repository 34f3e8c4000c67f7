"""Model files of each format, written without the checks that fastlin makes before it saves one."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastlin.results.array_file import read_arrays, write_arrays
from fastlin.results.model_file import VERSION

FORMS = ("safetensors", "npz")
"""The present format, and that of the first versions."""


def fields_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the arrays, parameters and metadata in a file of the present format."""
    arrays, content, _ = read_arrays(path, "model", VERSION)
    return {"arrays": arrays, **content}


def write_model(
    path: Path,
    form: str,
    arrays: Mapping[str, Any],
    params: Any,
    metadata: Any,
    **header: Any,
) -> None:
    """Write a file with any content, whose checksums are right."""
    if form == "safetensors":
        content = {"params": params, "metadata": metadata}
        write_arrays(path, "model", header.get("version", VERSION), arrays, content)
        return
    content = {
        "format": "fastlin model",
        "version": 1,
        "params": _encoded(params),
        "metadata": _encoded(metadata),
    }
    text = np.array(json.dumps(content | header).encode())
    write_archive(path, {name: npy(array) for name, array in {"header": text, **arrays}.items()})


def write_archive(path: Path, members: Mapping[str, bytes]) -> None:
    """Write an ``.npz`` file with any bytes as its members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)


def npy(array: Any) -> bytes:
    """Return the bytes of a ``.npy`` file."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array))
    return stream.getvalue()


def _encoded(value: Any) -> Any:
    """Return a value for JSON, with tuples and keys that are no strings marked."""
    if isinstance(value, (np.generic, np.ndarray)):
        return _encoded(value.tolist())
    if isinstance(value, list):
        return [_encoded(item) for item in value]
    if isinstance(value, tuple):
        return {"__tuple__": [_encoded(item) for item in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: _encoded(item) for key, item in value.items()}
        return {"__items__": [[_encoded(item) for item in pair] for pair in value.items()]}
    return value
