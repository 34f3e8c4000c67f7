"""The rows a command works on: which data set, which labels, which part; checked before use."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastlin.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastlin.datasets import Dataset
    from fastlin.estimator import LogisticRegression

PARTS = ("train", "val", "all")

# The split of data without a validation part must not follow --seed: `fastlin evaluate`
# has to find the very rows that `fastlin train` kept aside.
SPLIT_SEED = 0


def load(
    data: str, labels: tuple[str, ...] | None, validation_fraction: float, progress: bool
) -> Dataset:
    """Load a data set and keep the rows with `labels`, all if None."""
    from fastlin import datasets

    dataset = datasets.load(
        data, validation_fraction=validation_fraction, seed=SPLIT_SEED, progress=progress
    )
    return dataset if labels is None else _keep(dataset, labels)


def local_file(data: str) -> Path | None:
    """Return the path that `data` is, or None where it names a known data set."""
    from fastlin import datasets

    if data in {listing.name for listing in datasets.available()}:
        return None
    return Path(data).expanduser()


def check_trainable(dataset: Dataset) -> None:
    """Refuse a data set that nothing can be learned from."""
    if dataset.X_train.size == 0:
        raise InputError(f"{dataset.name} has no training rows; expected at least two")
    found = np.unique(dataset.y_train)
    if len(found) < 2:
        raise InputError(
            f"the training rows of {dataset.name} have one class only, {found[0]}; "
            "expected two or more"
        )
    unknown = np.setdiff1d(dataset.y_val, found)
    if len(unknown):
        raise InputError(
            f"the validation rows of {dataset.name} have labels that no training row has: "
            f"{_listed(unknown)}"
        )


def rows_for(
    model: LogisticRegression,
    data: str,
    part: str,
    labels: tuple[str, ...] | None,
    progress: bool,
) -> tuple[Dataset, NDArray[Any], NDArray[Any]]:
    """Load the rows of one part that `model` can be applied to.

    Returns
    -------
    dataset : Dataset
    X : (n, d) array
    y : (n,) array
        For ``"all"``, training rows before validation rows; a file's rows in their order.
    """
    fraction = 0.0 if part == "all" else float(model.validation_fraction)
    dataset = load(data, labels, fraction, progress)
    if part == "all":
        X = np.concatenate([dataset.X_train, dataset.X_val])
        y = np.concatenate([dataset.y_train, dataset.y_val])
    elif part == "train":
        X, y = dataset.X_train, dataset.y_train
    else:
        X, y = dataset.X_val, dataset.y_val
    if len(X) == 0:
        raise InputError(f"{dataset.name} has no rows in part '{part}'; try --part all")
    _check_width(model, X, dataset.name)
    return dataset, X, y


def rows_to_predict(
    model: LogisticRegression,
    data: str,
    part: str,
    labels: tuple[str, ...] | None,
    progress: bool,
) -> NDArray[Any]:
    """Load rows (n, d) for `model` as :func:`rows_for` does, or from a file without labels."""
    path = local_file(data)
    if part == "all" and labels is None and path is not None and path.is_file():
        rows = _rows_without_labels(path, model.n_features_in_)
        if rows is not None:
            _check_width(model, rows, path.name)
            return rows
    return rows_for(model, data, part, labels, progress)[1]


def check_labels_known(model: LogisticRegression, y: NDArray[Any], name: str) -> None:
    """Refuse rows whose true label `model` cannot predict."""
    known = set(model.classes_.tolist())
    unknown = [label for label in np.unique(y).tolist() if label not in known]
    if unknown:
        some = ",".join(str(label) for label in model.classes_[:10])
        raise InputError(
            f"{name} has labels that the model does not know: {_listed(unknown)}; it knows "
            f"{_listed(model.classes_)}; keep only those with --classes {some}"
        )


def _keep(dataset: Dataset, labels: tuple[str, ...]) -> Dataset:
    """Return the rows whose label, written as text, is one of `labels`."""
    found = np.unique(np.concatenate([dataset.y_train, dataset.y_val]))
    missing = [label for label in labels if label not in found.astype(str)]
    if missing:
        raise InputError(
            f"--classes names labels that {dataset.name} does not have: {_listed(missing)}; "
            f"it has {_listed(found)}"
        )
    kept = found[np.isin(found.astype(str), labels)]
    train, val = np.isin(dataset.y_train, kept), np.isin(dataset.y_val, kept)
    return replace(
        dataset,
        X_train=dataset.X_train[train],
        y_train=dataset.y_train[train],
        X_val=dataset.X_val[val],
        y_val=dataset.y_val[val],
    )


def _check_width(model: LogisticRegression, X: NDArray[Any], name: str) -> None:
    if X.shape[1] != model.n_features_in_:
        raise InputError(
            f"the model expects {model.n_features_in_} features a row, {name} has "
            f"{X.shape[1]}; give --data the kind of data it was trained on"
        )


def _rows_without_labels(path: Path, n_features: int) -> NDArray[Any] | None:
    """Return the rows of a file that holds features alone; None for any other file."""
    from fastlin import datasets
    from fastlin.datasets.checks import check_rows
    from fastlin.datasets.csv_file import LABEL_NAMES

    if path.suffix.lower() == ".npy":
        try:
            return check_rows(np.load(path, allow_pickle=False))
        except (ValueError, EOFError) as error:
            raise InputError(f"{path}: {error}") from error
    if path.suffix.lower() not in (".csv", ".tsv", ".txt"):
        return None
    dataset = datasets.load(str(path), validation_fraction=0)
    X, last = dataset.X_train, dataset.y_train
    with path.open(encoding="utf-8-sig") as file:
        names = {cell.strip(' "\n').lower() for cell in re.split("[,;\t]", file.readline())}
    # Where no column is called the label, the last one was taken for it.
    if X.shape[1] + 1 != n_features or names & set(LABEL_NAMES) or last.dtype.kind not in "if":
        return None
    return check_rows(np.column_stack([X, last]))


def _listed(labels: Any) -> str:
    """Return up to ten labels with commas between."""
    shown = ", ".join(str(label) for label in labels[:10])
    return f"{shown}, ..." if len(labels) > 10 else shown
