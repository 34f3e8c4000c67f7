"""Sparse rows and labels from a file in the format of svmlight and LIBSVM."""

from __future__ import annotations

import itertools
import math
import re
from array import array
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.compressed import open_bytes, require_bounded
from fastlin.datasets.text_file import lines
from fastlin.errors import InputError

SUFFIXES = (".svm", ".svmlight", ".libsvm")
_ROW = re.compile(rb"\s*[^\s#:]+(\s+(qid|\d+):[^\s:]+)+\s*(#.*)?$")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)
_LONGEST_LABEL = 1000  # characters; Python reads whole numbers of up to 4300


def looks_like_it(path: Path) -> bool:
    """Whether the first row of a file is a label and pairs INDEX:VALUE."""
    with open_bytes(path) as file:
        for line in itertools.islice(lines(file), 100):
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
        int64, or float64 if some are not whole, or words if they are whole and beyond int64.
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

    require_bounded(path)
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
    codes = array("q")
    place: dict[bytes, int] = {}
    with open_bytes(path) as file:
        for line in lines(file):
            content = line.partition(b"#")[0]
            for word in content.split(None, 1)[:1]:
                codes.append(place.setdefault(word, len(place)))
            if b"_" in content:  # Python reads 1_0 as 10, and other readers as 1
                wrong = next(word for word in content.split() if b"_" in word)
                raise InputError(f"has {_shown(wrong)!r}, which is no number")
    if not codes:
        raise InputError("the file is empty")
    for word in place:
        if b"," in word:
            raise InputError(
                f"has rows with several labels ({_shown(word)!r}); expected one in each row"
            )
        if len(word) > _LONGEST_LABEL:
            raise InputError(f"has a label of {len(word)} characters ({_shown(word)}...)")
    distinct = _values([word.decode("ascii", "replace") for word in place])
    return np.take(distinct, np.frombuffer(codes, "q"))


def _values(words: list[str]) -> NDArray[Any]:
    """Return the numbers that different words spell; raise an error if rounding makes two one.

    They are int64 if they are whole and int64 holds them, words if they are whole and larger, and
    else float64.
    """
    if all(map(_INTEGER.fullmatch, words)):
        numbers = [int(word) for word in words]
        inside = all(-(2**63) <= number < 2**63 for number in numbers)
        return np.array(numbers, np.int64) if inside else np.array([str(one) for one in numbers])
    rounded = np.array([float(word) for word in words])
    exact = [Decimal(word) for word in words if math.isfinite(float(word))]
    if np.isfinite(rounded).all() and len(set(exact)) > len(set(rounded.tolist())):
        raise InputError("has different labels that are the same in float64; use whole numbers")
    return rounded


def _shown(word: bytes) -> str:
    return word[:40].decode("ascii", "backslashreplace")
