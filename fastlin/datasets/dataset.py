"""A data set in memory, its description, and its split into training and validation rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError

Part: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
"""Rows and labels of one part, as a file has them."""

FILES = (
    ".npz, .npy with its labels beside it, .csv, .svmlight, an idx file of images, or a folder of "
    "idx files"
)
"""The kinds of files that can be read, for messages."""


@dataclass(frozen=True)
class Dataset:
    """Training and validation rows with their labels.

    Attributes
    ----------
    name : str
        ``"mnist"``, ``"fashion-mnist"``, ``"digits"``, or the stem of a local file.
    X_train, X_val : ndarray or CSR array, shapes (n, d) and (m, d)
        uint8, int8, float16, float32 or float64, C-ordered, possibly read-only. m may be 0. Sparse
        if the file is in svmlight's format.
    y_train, y_val : ndarray, shapes (n,) and (m,)
        int64, or the file's own labels if those are not whole numbers.
    image_shape : (int, int) or None
        Height and width in pixels if a row is an image, height * width = d.
    source : str
        Origin of the data, in one line.
    label_column : str or None
        Column of a text file from which the labels were read, in words.
    left_out : tuple of str
        Columns of a text file that are not features, and why, in words.
    doubtful : tuple of str
        Features of a text file that look like row numbers, in words.
    layout : dict or None
        How a text file was read, in plain values, for other files of the same kind.
    """

    name: str
    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_val: NDArray[Any]
    y_val: NDArray[Any]
    image_shape: tuple[int, int] | None
    source: str
    label_column: str | None = None
    left_out: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()
    layout: dict[str, Any] | None = None


@dataclass(frozen=True)
class Listing:
    """One data set that :func:`fastlin.datasets.load` knows by name.

    Attributes
    ----------
    name : str
        Name for ``load``.
    title : str
        Description, in words.
    n_train, n_val, n_features : int
        Rows of the two parts, and features of a row.
    size : int
        Bytes, in memory and in the cache.
    cached : bool
        Whether it can be loaded without a network.
    where : str
        Folder that holds it or will hold it.
    """

    name: str
    title: str
    n_train: int
    n_val: int
    n_features: int
    size: int
    cached: bool
    where: str


def split(
    X: NDArray[Any], y: NDArray[Any], validation_fraction: float, seed: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Split shuffled rows into training and validation: X_train, y_train, X_val, y_val.

    If all rows of a class would go to validation, one of them changes places with a training row
    of a larger class, so that every validation label also occurs in training.

    Parameters
    ----------
    X, y : ndarray or CSR array, ndarray, shapes (n, d) and (n,)
    validation_fraction : float
        Fraction of the rows for validation, in [0, 1). 0 keeps all rows, in their order,
        for training; otherwise each part gets at least one row.
    seed : int
        Seed of the shuffle: the same seed gives the same split.
    """
    check_split(validation_fraction, seed)
    n = X.shape[0]
    if validation_fraction == 0:
        return X, y, X[:0], y[:0]
    if n < 2:
        raise InputError(
            f"one row cannot be split into training and validation (validation fraction "
            f"{validation_fraction:g}); use more rows or a validation fraction of 0"
        )
    n_val = min(max(round(validation_fraction * n), 1), n - 1)
    # Rows stay in shuffled order, so that a file sorted by label can still
    # be trained on without shuffling or by its first rows only.
    order = np.random.default_rng(seed).permutation(n)
    _keep_classes_in_training(order, n_val, y)
    train, val = order[n_val:], order[:n_val]
    return X[train], y[train], X[val], y[val]


def _keep_classes_in_training(order: NDArray[np.intp], n_val: int, y: NDArray[Any]) -> None:
    """Swap entries of `order` so that its part from `n_val` on has a row of each class."""
    classes, codes = np.unique(y, return_inverse=True)
    codes = codes[order]
    left = np.bincount(codes[n_val:], minlength=len(classes))
    missing = np.flatnonzero(left == 0)
    if not len(missing):
        return
    first_row = np.full(len(classes), n_val)
    np.minimum.at(first_row, codes[:n_val], np.arange(n_val))
    taken = iter(first_row[missing])
    place = next(taken, None)
    for other in range(n_val, len(order)):
        if place is None:
            return
        if left[codes[other]] > 1:
            left[codes[other]] -= 1
            order[[place, other]] = order[[other, place]]
            place = next(taken, None)


def check_split(validation_fraction: float, seed: int) -> None:
    """Raise InputError unless the two arguments of a split can be used."""
    if not 0 <= validation_fraction < 1:
        raise InputError(
            f"validation fraction is {validation_fraction!r}; expected at least 0 and less than 1"
        )
    if seed < 0:
        raise InputError(f"seed is {seed!r}; expected a whole number of at least 0")
