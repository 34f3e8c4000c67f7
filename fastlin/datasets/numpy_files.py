"""Rows and labels in NumPy's files: an archive .npz, or a pair of .npy."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.damage import DAMAGE, explain_damage
from fastlin.datasets.dataset import Part
from fastlin.errors import InputError


def read_npz(path: Path) -> tuple[Part, Part | None]:
    """Return the training part of an archive and, if it has one, the validation part."""
    with zipfile.ZipFile(path):  # np.load would read another kind of file, too
        pass
    with np.load(path, allow_pickle=False) as archive:
        keys: dict[str, str] = {}
        for key in archive.files:
            if key.lower() in keys:
                raise InputError(
                    f"has the arrays {keys[key.lower()]} and {key}; expected one of them"
                )
            keys[key.lower()] = key
        found = {
            part: (archive[keys[f"x{part}"]], archive[keys[f"y{part}"]])
            for part in ("_train", "_val", "_test", "")
            if f"x{part}" in keys and f"y{part}" in keys
        }
    for arrays in found.values():
        if not all(isinstance(array, np.ndarray) for array in arrays):
            raise InputError("is damaged: a member of the archive is not an array")
    train = found.get("_train") or found.get("")
    if train is None:
        raise InputError(
            f"has the arrays {', '.join(keys.values()) or '(none)'}; expected X_train and y_train "
            "(and X_val and y_val, or X_test and y_test), or X and y"
        )
    return train, found.get("_val") or found.get("_test")


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
    try:
        array = np.load(path, allow_pickle=False)
    except DAMAGE as error:
        raise InputError(f"{path.name} {explain_damage(error)}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path.name} is an .npz archive; rename it to {path.stem}.npz")
    return array


def _beside(path: Path, names: list[str]) -> Path:
    """Return the first of the files that exists, or raise InputError naming them all."""
    for name in names:
        if path.with_name(name).exists():
            return path.with_name(name)
    raise InputError(f"no labels beside it; expected {' or '.join(names)} in the same folder")
