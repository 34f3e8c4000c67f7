"""Data sets in local files: .npz, a pair of .npy, idx, CSV, svmlight."""

from __future__ import annotations

import difflib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets import compressed, csv_file, idx_files, numpy_files, svmlight_file
from fastlin.datasets.checks import check_labels, check_rows
from fastlin.datasets.csv_layout import ColumnOptions, Layout
from fastlin.datasets.damage import DAMAGE, explain_damage
from fastlin.datasets.dataset import FILES, Dataset, Part, split
from fastlin.datasets.regular_file import check_regular
from fastlin.datasets.text_file import bare_suffix
from fastlin.errors import InputError

_NAMES = ("mnist", "fashion-mnist", "digits")


def load(
    given: str | os.PathLike[str],
    validation_fraction: float,
    seed: int,
    columns: ColumnOptions | None = None,
    *,
    trained_on: dict[str, Any] | None = None,
    n_features: int | None = None,
) -> Dataset:
    """Read a local file, or a folder with MNIST's four idx files.

    - ``NAME.npz``: arrays X_train, y_train and, if there is a validation part, X_val, y_val or
      X_test, y_test; or X and y. The names may be in lower case.
    - ``X.npy`` beside ``y.npy``; ``X_train.npy`` beside ``y_train.npy`` (X_val, y_val or X_test,
      y_test beside them are the validation part); any ``NAME.npy`` beside ``NAME_labels.npy``
      or ``NAME-labels.npy``.
    - idx, compressed by gzip or not: ``train-images-idx3-ubyte`` beside
      ``train-labels-idx1-ubyte`` (t10k-images..., t10k-labels... beside them are the validation
      part), any other pair of names that differs in the same words, or their folder.
    - ``.csv``, ``.tsv``, ``.txt``, ``.data``, possibly with ``.gz``, ``.bz2`` or ``.xz`` after it:
      see :func:`fastlin.datasets.csv_file.read`; `columns` apply only to these.
    - ``.svm``, ``.svmlight``, ``.libsvm``, compressed or not, and any text file whose rows are
      a label and pairs INDEX:VALUE: see ``fastlin.datasets.svmlight_file``.

    Rows have shape (n, d), or (n, height, width), which is flattened. uint8, int8,
    float16, float32 and float64 stay; other numbers become float32 if that is exact, else float64.
    Without a validation part, ``validation_fraction`` of the rows is split off by a shuffle with
    ``seed``.

    `trained_on`, a dataset's ``layout``, and `n_features` are those of the model for which the rows
    are read; they decide what a text file leaves open.

    Raises InputError, in one line, if a file cannot be used.
    """
    path = _path(given)
    columns = columns or ColumnOptions()
    with _told(path):
        if _is_table(path):
            table = csv_file.read(
                path, columns, trained_on=_layout(trained_on), n_features=n_features
            )
            assert table.labels is not None, "they are needed"
            return _of_table(path, table, validation_fraction, seed)
        if columns.given:
            raise InputError(
                f"{' and '.join(columns.given)} cannot be given: only text files such as .csv have "
                "columns to choose"
            )
        if _is_svmlight(path):
            rows, labels, first_index = svmlight_file.read(
                path, n_features, _first_index(trained_on)
            )
            dataset = _dataset(path, (rows, labels), None, validation_fraction, seed)
            return replace(dataset, layout={"first_index": first_index})
        train, val = _read(path)
    return _dataset(path, train, val, validation_fraction, seed)


def load_rows(
    given: str | os.PathLike[str],
    columns: ColumnOptions,
    trained_on: dict[str, Any] | None,
    n_features: int,
) -> tuple[Any, csv_file.Table | None]:
    """Read rows (n, d) of a file for a model to predict; labels may be missing or anything.

    For a text file of columns it also returns what is known of them.
    """
    path = _path(given)
    with _told(path):
        if path.suffix.lower() == ".npy" and not columns.given:
            return check_rows(numpy_files.load_npy(path)), None
        if _is_table(path):
            table = csv_file.read(
                path,
                columns,
                trained_on=_layout(trained_on),
                n_features=n_features,
                labels_needed=False,
            )
            return check_rows(table.rows), table
    dataset = load(path, 0, 0, columns, trained_on=trained_on, n_features=n_features)
    both = [X for X in (dataset.X_train, dataset.X_val) if X.shape[0]]
    if len(both) == 1:
        return both[0], None
    return np.concatenate(both), None  # sparse files have no validation part


def _path(given: str | os.PathLike[str]) -> Path:
    """Return the path of a readable file or folder."""
    try:
        path = Path(given).expanduser()
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(_missing(os.fspath(given))) from error
    except (OSError, ValueError, RuntimeError) as error:  # a link to itself, a NUL, no such user
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(f"cannot read {os.fspath(given)!r}: {reason}") from error
    if not stat.S_ISDIR(mode):
        check_regular(path, mode)
    return path


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn every error of reading a file into one line that names the file."""
    try:
        yield
    except InputError as error:
        if str(error).startswith(str(path)):
            raise
        raise InputError(f"{path}: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except DAMAGE as error:
        raise InputError(f"{path} {explain_damage(error)}") from error


def _layout(trained_on: dict[str, Any] | None) -> Layout | None:
    """Return the layout of columns in a model file, or None if it cannot be right."""
    if trained_on is None or "names" not in trained_on:
        return None
    try:
        lists = {  # a model file holds long ones as arrays
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in trained_on.items()
        }
        layout = Layout(**lists)
        n = layout.n_columns
        right = len(layout.names or range(n)) == n and 0 <= layout.label < n
        right = right and all(0 <= column < n for column in layout.features)
    except TypeError:
        return None
    return layout if right else None


def _first_index(trained_on: dict[str, Any] | None) -> int | None:
    found = (trained_on or {}).get("first_index")
    return found if found in (0, 1) else None


def _is_table(path: Path) -> bool:
    if path.is_dir() or bare_suffix(path) not in csv_file.SUFFIXES:
        return False
    return bare_suffix(path) in (".csv", ".tsv", ".tab") or not svmlight_file.looks_like_it(path)


def _is_svmlight(path: Path) -> bool:
    if path.is_dir() or bare_suffix(path) in (".npz", ".npy"):
        return False
    return bare_suffix(path) in svmlight_file.SUFFIXES or (
        "idx" not in path.name and svmlight_file.looks_like_it(path)
    )


def _of_table(path: Path, table: csv_file.Table, validation_fraction: float, seed: int) -> Dataset:
    assert table.labels is not None, "the caller has looked"
    dataset = _dataset(path, (table.rows, table.labels), None, validation_fraction, seed)
    return replace(
        dataset,
        label_column=table.label_column,
        left_out=table.left_out,
        doubtful=table.doubtful,
        layout=vars(table.layout),
    )


def _missing(given: str) -> str:
    if Path(given).suffix or Path(given).name != given:
        return f"no such file: {given}"
    close = difflib.get_close_matches(given.lower(), _NAMES, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown data set {given!r}{hint}; expected {', '.join(_NAMES)}, or a path: {FILES}"


def _dataset(
    path: Path, train: Part, val: Part | None, validation_fraction: float, seed: int
) -> Dataset:
    """Check the parts, split them if there is only one, and return the data set."""
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
    name = path.stem if path.suffix.lower() in compressed.SUFFIXES else path.name
    return Dataset(Path(name).stem or name, *parts, image_shape, str(path))


def _check(
    path: Path, part: str, rows_and_labels: Part
) -> tuple[NDArray[Any], NDArray[Any], tuple[int, int] | None]:
    rows, labels = rows_and_labels
    image_shape = (rows.shape[1], rows.shape[2]) if rows.ndim == 3 else None
    try:
        X = check_rows(rows)
        y = check_labels(labels, n=X.shape[0])
    except InputError as error:
        raise InputError(f"{path}, {part} part: {error}") from error
    return X, y, image_shape


def _read(path: Path) -> tuple[Part, Part | None]:
    """Return the training part and, if the file has one, the validation part."""
    if path.is_dir():
        return idx_files.read_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".npz":
        return numpy_files.read_npz(path)
    if suffix == ".npy":
        return numpy_files.read_npy(path)
    if "idx" in path.name or suffix in (".gz", ""):
        return idx_files.read_pair(path)
    raise InputError(f"unknown kind of file {suffix}; expected {FILES}")
