"""Sparse rows and labels from a file in the format of svmlight and LIBSVM."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.text_file import open_bytes
from fastlin.errors import InputError

SUFFIXES = (".svm", ".svmlight", ".libsvm")
_ROW = re.compile(rb"\s*[^\s#:]+(\s+(qid|\d+):[^\s:]+)+\s*(#.*)?$")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)


def looks_like_it(path: Path) -> bool:
    """Whether the first row of a file is a label and pairs INDEX:VALUE."""
    with open_bytes(path) as file:
        for line in itertools.islice(file, 100):
            if line.strip() and not line.lstrip().startswith(b"#"):
                return _ROW.match(line) is not None
    return False


def read(
    path: Path, n_features: int | None = None, first_index: int | None = None
) -> tuple[Any, NDArray[Any], int]:
    """Read rows, labels, and the number of the first feature.

    The rows stay sparse. The first feature has the number 0 if a row has a feature 0, else 1. A
    part of a file may lack its first and last features, so `n_features` and `first_index` give
    those of the whole file.

    Returns
    -------
    rows : csr_array of float64, shape (n, d)
    labels : ndarray, shape (n,)
        int64, or float64 if some are not whole.
    first_index : int
        0 or 1.

    Raises
    ------
    InputError
        The file has no rows, several labels in a row, or a feature that a model does not know.
    ValueError
        A row is not in this format.
    """
    from scipy.sparse import csr_array
    from sklearn.datasets import load_svmlight_file

    labels = _labels(path)
    with open_bytes(path) as file:
        matrix, _ = load_svmlight_file(file, dtype=np.float64, zero_based=True)
    columns = matrix.indices
    least, most = (int(columns.min()), int(columns.max())) if len(columns) else (1, 0)
    if first_index is None or least < first_index:
        first_index = min(least, 1)
    d = most + 1 - first_index
    if n_features is not None:
        if d > n_features:
            raise InputError(
                f"has a feature of number {most}, the model expects {n_features} features from "
                f"number {first_index} on; give --data the kind of data it was trained on"
            )
        d = n_features
    rows = csr_array((matrix.data, columns - first_index, matrix.indptr), (len(labels), d))
    return rows, labels, first_index


def _labels(path: Path) -> NDArray[Any]:
    """Read the first word of each row, a number; whole numbers are read exactly."""
    words = []
    with open_bytes(path) as file:
        for line in file:
            word = line.partition(b"#")[0].split(None, 1)[:1]
            if word:
                words.append(word[0].decode("ascii", "replace"))
    if not words:
        raise InputError("the file is empty")
    several = next((word for word in words if "," in word), None)
    if several is not None:
        raise InputError(
            f"has rows with several labels ({several[:40]!r}); expected one in each row"
        )
    if all(map(_INTEGER.fullmatch, words)):
        return np.array(list(map(int, words)), np.int64)
    return np.array(list(map(float, words)))
