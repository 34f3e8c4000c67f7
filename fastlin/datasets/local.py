"""Data sets in local files: .npz, a pair of .npy, idx, CSV."""

from __future__ import annotations

import csv
import difflib
import os
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets import csv_file, idx
from fastlin.datasets.checks import check_labels, check_rows
from fastlin.datasets.dataset import Dataset, split
from fastlin.errors import InputError

#: Rows and labels of one part, as the file has them.
Part = tuple[NDArray[Any], NDArray[Any]]

#: What the readers of the standard library and of NumPy raise on a damaged file.
_DAMAGE = (
    ValueError,
    EOFError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    csv.Error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
_NAMES = ("mnist", "fashion-mnist", "digits")
_TRAIN_IMAGES = "train-images-idx3-ubyte"
_KINDS = (
    ".npz, .npy with its labels beside it, .csv, an idx file of images, or a folder of idx files"
)


def load(given: str | os.PathLike[str], validation_fraction: float, seed: int) -> Dataset:
    """Read a local file, or a folder with MNIST's four idx files.

    - ``NAME.npz``: arrays X_train, y_train and, if there is a validation part, X_val, y_val or
      X_test, y_test; or X and y. Small letters will do.
    - ``X.npy`` beside ``y.npy``; ``X_train.npy`` beside ``y_train.npy`` (X_val, y_val or X_test,
      y_test beside them are the validation part); any ``NAME.npy`` beside ``NAME_labels.npy``
      or ``NAME-labels.npy``.
    - idx, compressed by gzip or not: ``train-images-idx3-ubyte`` beside
      ``train-labels-idx1-ubyte`` (t10k-images..., t10k-labels... beside them are the validation
      part), any other pair of names that differs in the same words, or their folder.
    - ``.csv``, ``.tsv``: see :func:`fastlin.datasets.csv_file.read`.

    Rows have shape (n, d), or (n, height, width), which is flattened. uint8, float32 and
    float64 stay; other numbers become float32 where that is exact, else float64. Without a
    validation part, ``validation_fraction`` of the rows is split off by a shuffle with ``seed``.

    Raises InputError, in one line, for whatever cannot be used.
    """
    path = Path(given).expanduser()
    if not path.exists():
        raise InputError(_missing(os.fspath(given)))
    try:
        train, val = _read(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except _DAMAGE as error:
        raise InputError(f"{path} {_damage(error)}") from error
    return _dataset(path, train, val, validation_fraction, seed)


def _damage(error: Exception) -> str:
    # NumPy takes whatever is not in its own format for a pickle.
    if "pickle" in str(error):
        return (
            "is damaged, or holds Python objects: those are not read, because reading them "
            "could run code; save arrays of numbers or strings instead"
        )
    return f"is damaged, or not what its name says: {error}"


def _missing(given: str) -> str:
    if Path(given).suffix or Path(given).name != given:
        return f"no such file: {given}"
    close = difflib.get_close_matches(given.lower(), _NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown data set {given!r}{hint}; expected {', '.join(_NAMES)}, or a path: {_KINDS}"


def _dataset(
    path: Path, train: Part, val: Part | None, validation_fraction: float, seed: int
) -> Dataset:
    """Check the parts, split where there is only one, and put them together."""
    X_train, y_train, image_shape = _check(path, "training", train)
    if val is None:
        parts = split(X_train, y_train, validation_fraction, seed)
    else:
        X_val, y_val, _ = _check(path, "validation", val)
        if X_val.shape[1] != X_train.shape[1]:
            raise InputError(
                f"{path}: training rows have {X_train.shape[1]} features, "
                f"validation rows {X_val.shape[1]}; expected the same number"
            )
        parts = X_train, y_train, X_val, y_val
    name = path.name.removesuffix(".gz")
    return Dataset(Path(name).stem or name, *parts, image_shape, str(path))


def _check(
    path: Path, part: str, rows_and_labels: Part
) -> tuple[NDArray[Any], NDArray[Any], tuple[int, int] | None]:
    rows, labels = rows_and_labels
    image_shape = (rows.shape[1], rows.shape[2]) if rows.ndim == 3 else None
    try:
        X = check_rows(rows)
        y = check_labels(labels, n=len(X))
    except InputError as error:
        raise InputError(f"{path}, {part} part: {error}") from error
    return X, y, image_shape


def _read(path: Path) -> tuple[Part, Part | None]:
    """Give the training part and, where the file has one, the validation part."""
    if path.is_dir():
        return _read_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return _read_npz(path)
    if suffix == ".npy":
        return _read_npy(path)
    if suffix in (".csv", ".tsv", ".txt"):
        return csv_file.read(path), None
    if "idx" in path.name or suffix in (".gz", ""):
        return _read_idx(path)
    raise InputError(f"unknown kind of file {suffix}; expected {_KINDS}")


def _read_npz(path: Path) -> tuple[Part, Part | None]:
    with zipfile.ZipFile(path):  # np.load would take another kind of file by its content
        pass
    with np.load(path, allow_pickle=False) as archive:
        keys = {key.lower(): key for key in archive.files}
        found = {
            part: (archive[keys[f"x{part}"]], archive[keys[f"y{part}"]])
            for part in ("_train", "_val", "_test", "")
            if f"x{part}" in keys and f"y{part}" in keys
        }
    train = found.get("_train") or found.get("")
    if train is None:
        raise InputError(
            f"has the arrays {', '.join(keys.values()) or '(none)'}; expected X_train and y_train "
            "(and X_val and y_val, or X_test and y_test), or X and y"
        )
    return train, found.get("_val") or found.get("_test")


def _read_npy(path: Path) -> tuple[Part, Part | None]:
    stem = path.stem
    names = [f"{stem}_labels.npy", f"{stem}-labels.npy"]
    if stem.lower() == "x" or stem.lower().startswith(("x_", "x-")):
        names.insert(0, f"y{stem[1:]}.npy")
    train = _load_npy(path), _load_npy(_beside(path, names))
    if stem.lower() in ("x_train", "x-train"):
        for part in ("val", "test"):
            rows, labels = (
                path.with_name(f"{letter}{stem[1]}{part}.npy") for letter in (stem[0], "y")
            )
            if rows.exists() and labels.exists():
                return train, (_load_npy(rows), _load_npy(labels))
    return train, None


def _load_npy(path: Path) -> NDArray[Any]:
    try:
        array = np.load(path, allow_pickle=False)
    except _DAMAGE as error:
        raise InputError(f"{path.name} {_damage(error)}") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path.name} is an .npz archive; rename it to {path.stem}.npz")
    return array


def _read_folder(folder: Path) -> tuple[Part, Part | None]:
    for name in (_TRAIN_IMAGES, f"{_TRAIN_IMAGES}.gz"):
        if (folder / name).exists():
            return _read_idx(folder / name)
    raise InputError(
        f"is a folder without {_TRAIN_IMAGES} or {_TRAIN_IMAGES}.gz; expected {_KINDS}"
    )


def _read_idx(path: Path) -> tuple[Part, Part | None]:
    rows = idx.read(path)
    if "images" not in path.name:
        raise InputError(
            "an idx file of images has 'images' in its name, so that its labels can be found "
            f"beside it; rename the pair to {_TRAIN_IMAGES} and train-labels-idx1-ubyte, say"
        )
    train = rows, idx.read(_idx_labels(path))
    if path.name.startswith("train-"):
        val_name = "t10k-" + path.name.removeprefix("train-")
        for val_path in (path.with_name(name) for name in _with_or_without_gz(val_name)):
            if val_path.exists():
                return train, (idx.read(val_path), idx.read(_idx_labels(val_path)))
    return train, None


def _idx_labels(images: Path) -> Path:
    name = images.name.replace("images", "labels").replace("idx3", "idx1")
    return _beside(images, _with_or_without_gz(name))


def _with_or_without_gz(name: str) -> list[str]:
    return [name, name.removesuffix(".gz") if name.endswith(".gz") else f"{name}.gz"]


def _beside(path: Path, names: list[str]) -> Path:
    """Give the first of the files that is there, or raise InputError naming them all."""
    for name in names:
        if path.with_name(name).exists():
            return path.with_name(name)
    raise InputError(f"no labels beside it; expected {' or '.join(names)} in the same folder")
