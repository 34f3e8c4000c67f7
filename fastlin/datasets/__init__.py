"""Data sets by name (MNIST, Fashion-MNIST, digits) and from local files."""

from __future__ import annotations

import os
from collections.abc import Sequence

from fastlin.datasets.dataset import Dataset, Listing, check_split
from fastlin.errors import InputError

__all__ = ["Dataset", "Listing", "available", "load"]


def load(
    name: str | os.PathLike[str] = "digits",
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    progress: bool = False,
    label: str | int | None = None,
    separator: str | None = None,
    drop: str | int | Sequence[str | int] = "auto",
) -> Dataset:
    """Load a data set by its name, or a local file by its path.

    Parameters
    ----------
    name : str or path
        ``"mnist"`` or ``"fashion-mnist"`` (60 000 training and 10 000 validation images of
        28 x 28, fetched once and kept in the folder FASTLIN_DATA_DIR, else in the user's
        cache), ``"digits"`` (1797 images of 8 x 8, needs no network), or a path; see
        :func:`fastlin.datasets.local.load` for the files that are read.
    validation_fraction : float
        Fraction of the rows to split off, in [0, 1), if the data has no validation part of its own.
    seed : int
        Seed of the shuffle before that split.
    progress : bool
        Show size and rate of a download on standard error.
    label : str, int or None
        The column of labels of a text file, by its name in the first line or its number
        from 1 (-1 is the last). By default the column called label, labels, y, target or class,
        else the last.
    separator : str or None
        The separator of the columns of a text file: a character, or ``"comma"``, ``"semicolon"``,
        ``"tab"``, ``"space"`` or ``"pipe"``. By default it is found in the file.
    drop : str, int or sequence of them
        Columns of a text file to leave out, by name or number. Row numbers, as pandas writes
        them, are left out too, with a warning, unless ``"none"`` is given; ``"auto"`` leaves out
        nothing else.

    Returns
    -------
    Dataset
        Training and validation rows with their labels. The validation part is the set's own
        if it has one.

    Raises
    ------
    DatasetError
        The data set could not be fetched, or the data folder cannot be used.
    InputError
        There is no such name or file, or the file lacks something.

    Warns
    -----
    LeftOutWarning
        Columns of row numbers were left out.
    ColumnsWarning
        A feature looks like row numbers.

    Examples
    --------
    >>> from fastlin import datasets
    >>> digits = datasets.load("digits", validation_fraction=0.25)
    >>> digits.X_train.shape, digits.X_val.shape, digits.image_shape
    ((1348, 64), (449, 64), (8, 8))
    """
    from fastlin.datasets.csv_layout import ColumnOptions

    check_split(validation_fraction, seed)
    columns = ColumnOptions.of(label, separator, drop)
    from fastlin.datasets import mnist

    if columns.given and isinstance(name, str) and name in (*mnist.COLLECTIONS, "digits"):
        raise InputError(
            f"{' and '.join(columns.given)} cannot be given for {name}: only text files have "
            "columns to choose"
        )
    if name == "digits":
        from fastlin.datasets import digits

        return digits.load(validation_fraction, seed)
    if isinstance(name, str) and name in mnist.COLLECTIONS:
        return mnist.load(mnist.COLLECTIONS[name], progress)
    from fastlin.datasets import local

    dataset = local.load(name, validation_fraction, seed, columns)
    _warn_of_columns(dataset)
    return dataset


def _warn_of_columns(dataset: Dataset) -> None:
    """Warn of columns that were left out without being named, and of features to leave out."""
    left_out = [column for column in dataset.left_out if not column.endswith("(as asked for)")]
    if left_out or dataset.doubtful:
        from fastlin.advice import ColumnsWarning, LeftOutWarning, warn

        if left_out:
            warn(
                f"{dataset.source}: left out {_listed(left_out)}; keep such columns with "
                'drop="none"',
                LeftOutWarning,
            )
        if dataset.doubtful:
            warn(
                f"{dataset.source}: {_listed(dataset.doubtful)} may number the rows; leave it out "
                "with drop= unless it is a feature",
                ColumnsWarning,
            )


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(columns[:3]) + (", ..." if len(columns) > 3 else "")


def available() -> list[Listing]:
    """List the data sets known by name, with their sizes and folders.

    Returns
    -------
    list of Listing
        One for each name that ``load`` accepts.

    Examples
    --------
    >>> from fastlin import datasets
    >>> [listing.name for listing in datasets.available()]
    ['mnist', 'fashion-mnist', 'digits']
    """
    from fastlin.datasets import digits, mnist

    collections = [mnist.listing(collection) for collection in mnist.COLLECTIONS.values()]
    return [*collections, digits.listing(validation_fraction=0.2)]
