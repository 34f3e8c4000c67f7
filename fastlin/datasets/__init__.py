"""Data sets by name (MNIST, Fashion-MNIST, digits) and from local files."""

from __future__ import annotations

import os

from fastlin.datasets.dataset import Dataset, Listing, check_split

__all__ = ["Dataset", "Listing", "available", "load"]


def load(
    name: str | os.PathLike[str] = "digits",
    *,
    validation_fraction: float = 0.2,
    seed: int = 0,
    progress: bool = False,
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
        Part of the rows to set aside, in [0, 1), where the data has no validation part of its own.
    seed : int
        Of the shuffle before that split.
    progress : bool
        Show size and rate of a download on standard error.

    Returns
    -------
    Dataset
        Training and validation rows with their labels. The validation part is the set's own
        where it has one.

    Raises
    ------
    DatasetError
        The data set could not be fetched, or the data folder cannot be used.
    InputError
        No such name or file, or the file does not hold what is needed.

    Examples
    --------
    >>> from fastlin import datasets
    >>> digits = datasets.load("digits", validation_fraction=0.25)
    >>> digits.X_train.shape, digits.X_val.shape, digits.image_shape
    ((1348, 64), (449, 64), (8, 8))
    """
    check_split(validation_fraction, seed)
    if name == "digits":
        from fastlin.datasets import digits

        return digits.load(validation_fraction, seed)
    from fastlin.datasets import mnist

    if isinstance(name, str) and name in mnist.COLLECTIONS:
        return mnist.load(mnist.COLLECTIONS[name], progress)
    from fastlin.datasets import local

    return local.load(name, validation_fraction, seed)


def available() -> list[Listing]:
    """List the data sets known by name: sizes, whether they are here already, and where.

    Returns
    -------
    list of Listing
        One for each name that ``load`` takes.

    Examples
    --------
    >>> from fastlin import datasets
    >>> [listing.name for listing in datasets.available()]
    ['mnist', 'fashion-mnist', 'digits']
    """
    from fastlin.datasets import digits, mnist

    collections = [mnist.listing(collection) for collection in mnist.COLLECTIONS.values()]
    return [*collections, digits.listing(validation_fraction=0.2)]
