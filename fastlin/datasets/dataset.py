"""What a data set is, once it is in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError


@dataclass(frozen=True)
class Dataset:
    """Training and validation rows with their labels.

    Attributes
    ----------
    name : str
        ``"mnist"``, ``"fashion-mnist"``, ``"digits"``, or the stem of a local file.
    X_train, X_val : ndarray, shapes (n, d) and (m, d)
        uint8, float32 or float64, C-ordered, possibly read-only. m may be 0.
    y_train, y_val : ndarray, shapes (n,) and (m,)
        int64, or the file's own labels where those are not whole numbers.
    image_shape : (int, int) or None
        Height and width in pixels where a row is an image, height * width = d.
    source : str
        Where the bytes came from, one line for people.
    """

    name: str
    X_train: NDArray[Any]
    y_train: NDArray[Any]
    X_val: NDArray[Any]
    y_val: NDArray[Any]
    image_shape: tuple[int, int] | None
    source: str


@dataclass(frozen=True)
class Listing:
    """One data set that :func:`fastlin.datasets.load` knows by name.

    Attributes
    ----------
    name : str
        What ``load`` takes.
    title : str
        What it is, for people.
    n_train, n_val, n_features : int
        Rows of the two parts, and features of a row.
    size : int
        Bytes, as kept in memory and in the cache.
    cached : bool
        Whether it is here without a network.
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

    Parameters
    ----------
    X, y : ndarray, shapes (n, d) and (n,)
    validation_fraction : float
        Part of the rows that goes to validation, in [0, 1). 0 keeps all rows, in their order,
        for training; otherwise each part gets at least one row.
    seed : int
        Of the shuffle: the same seed gives the same split.
    """
    check_split(validation_fraction, seed)
    n = len(X)
    if validation_fraction == 0:
        return X, y, X[:0], y[:0]
    if n < 2:
        raise InputError(
            f"one row cannot be split into training and validation (validation fraction "
            f"{validation_fraction:g}); use more rows or a validation fraction of 0"
        )
    n_val = min(max(round(validation_fraction * n), 1), n - 1)
    # Rows stay in shuffled order, so that a file sorted by label is still
    # fit for training without shuffling and for taking the first rows only.
    order = np.random.default_rng(seed).permutation(n)
    train, val = order[n_val:], order[:n_val]
    return X[train], y[train], X[val], y[val]


def check_split(validation_fraction: float, seed: int) -> None:
    """Raise InputError unless the two arguments of a split can be used."""
    if not 0 <= validation_fraction < 1:
        raise InputError(
            f"validation fraction is {validation_fraction!r}; expected at least 0 and less than 1"
        )
    if seed < 0:
        raise InputError(f"seed is {seed!r}; expected a whole number of at least 0")
