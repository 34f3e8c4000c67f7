"""Selects the rows for a command: the data set, the labels and the part, all checked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.cli.streams import say
from fastlin.errors import InputError

if TYPE_CHECKING:
    from fastlin.datasets import Dataset
    from fastlin.datasets.csv_file import Table
    from fastlin.datasets.csv_layout import ColumnOptions
    from fastlin.estimator import LogisticRegression
    from fastlin.rows.stored import StoredRows

PARTS = ("train", "val", "all")

# The split of data without a validation part must not follow --seed: `fastlin evaluate`
# has to find the very rows that `fastlin train` kept aside.
SPLIT_SEED = 0


@dataclass(frozen=True)
class Source:
    """The options of all commands that read data."""

    data: str
    classes: tuple[str, ...] | None
    labels: str | None
    label: str | None
    separator: str | None
    drop: tuple[str, ...]
    quiet: bool

    @property
    def columns(self) -> ColumnOptions:
        """What was printed about the columns of a text file."""
        from fastlin.datasets.csv_layout import ColumnOptions

        return ColumnOptions.of(self.label, self.separator, self.drop)


def load(
    source: Source, validation_fraction: float, model: LogisticRegression | None = None
) -> Dataset:
    """Load a data set, for `model` if there is one, and keep the rows of the chosen labels.

    One line on standard error says how the columns of a text file were interpreted.
    """
    from fastlin import datasets
    from fastlin.datasets import local

    if is_stored(source):
        return _load_stored(source, validation_fraction)
    if local_file(source.data) is None:
        dataset = datasets.load(
            source.data,
            validation_fraction=validation_fraction,
            seed=SPLIT_SEED,
            progress=not source.quiet,
            label=source.label,
            separator=source.separator,
            drop=source.drop,
        )
    else:
        dataset = local.load(
            source.data,
            validation_fraction,
            SPLIT_SEED,
            source.columns,
            trained_on=None if model is None else model._data_layout,
            n_features=None if model is None else model.n_features_in_,
        )
    _say_columns(dataset.name, dataset)
    return dataset if source.classes is None else _keep(dataset, source.classes)


def is_stored(source: Source) -> bool:
    """Whether the rows are in files that are not read into memory as a whole."""
    from fastlin.storage.paths import are_stored

    return source.labels is not None or (
        local_file(source.data) is not None and are_stored(source.data)
    )


def open_stored(source: Source) -> StoredRows:
    """Open rows that need not fit in memory, with their labels if there are any."""
    from fastlin.storage import open_rows

    if source.classes is not None or source.separator is not None:
        option = "--separator" if source.classes is None else "--classes"
        raise InputError(
            f"{option} is for data that are read into memory; leave it out for {source.data}"
        )
    return open_rows(
        source.data, labels=source.labels, label=source.label, drop=source.drop, said=say
    )


def _load_stored(source: Source, validation_fraction: float) -> Dataset:
    from fastlin.datasets import Dataset
    from fastlin.rows.stored import divided

    rows = open_stored(source)
    if rows.labels is None:
        how = "--label COLUMN" if source.data.lower().endswith(".parquet") else "--labels PATH"
        raise InputError(f"the rows of {source.data} have no labels; name them with {how}")
    name = Path(source.data).stem.strip("*_-.") or Path(source.data).parent.name or "rows"
    if validation_fraction == 0:
        nothing: Any = rows[:0]
        parts: tuple[Any, Any, Any, Any] = rows, rows.labels, nothing, rows.labels[:0]
    else:
        generator = np.random.default_rng(SPLIT_SEED)
        train, val = divided(rows, validation_fraction, generator)
        parts = train, train.labels, val, val.labels
    return Dataset(name, *parts, None, source.data)


def _say_columns(name: str, columns: Dataset | Table) -> None:
    """Say on standard error which column is the label and which are not features."""
    parts = []
    if columns.label_column is not None:
        parts.append(f"the label is {columns.label_column}")
    if columns.left_out:
        parts.append(f"left out: {_listed(columns.left_out)}")
    if parts:
        say(f"{name}: {'; '.join(parts)}")
    if columns.doubtful:
        say(
            f"warning: {_listed(columns.doubtful)} may number the rows; leave it out with --drop "
            "unless it is a feature"
        )


def local_file(data: str) -> Path | None:
    """Return the path that `data` is, or None if it names a known data set."""
    from fastlin import datasets

    if data in {listing.name for listing in datasets.available()}:
        return None
    return Path(data).expanduser()


def check_trainable(dataset: Dataset) -> None:
    """Refuse a data set from which nothing can be learned."""
    if 0 in dataset.X_train.shape:
        raise InputError(f"{dataset.name} has no training rows; expected at least two")
    found = np.unique(dataset.y_train)
    if len(found) < 2:
        raise InputError(
            f"the training rows of {dataset.name} have one class only, {found[0]}; "
            "expected two or more"
        )
    if len(dataset.y_val) and (found.dtype.kind == "U") != (dataset.y_val.dtype.kind == "U"):
        raise InputError(
            f"{dataset.name} has words as labels in one part and numbers in the other: training "
            f"{_listed(found)}, validation {_listed(np.unique(dataset.y_val))}; save both alike"
        )
    unknown = np.setdiff1d(dataset.y_val, found)
    if len(unknown):
        raise InputError(
            f"the validation rows of {dataset.name} have labels that no training row has: "
            f"{_listed(unknown)}; leave more rows for training with a smaller "
            "--validation-fraction, or leave these labels out with --classes"
        )


def rows_for(
    model: LogisticRegression, source: Source, part: str
) -> tuple[Dataset, Any, NDArray[Any]]:
    """Load the rows of one part, to which `model` can be applied.

    Returns
    -------
    dataset : Dataset
    X : (n, d) array
    y : (n,) array
        For ``"all"``, training rows come before validation rows; a file's rows keep their order.
    """
    fraction = 0.0 if part == "all" else float(model.validation_fraction)
    dataset = load(source, fraction, model)
    if part == "all":
        X = _concatenated(dataset.X_train, dataset.X_val)
        y = np.concatenate([dataset.y_train, dataset.y_val])
    elif part == "train":
        X, y = dataset.X_train, dataset.y_train
    else:
        X, y = dataset.X_val, dataset.y_val
    if X.shape[0] == 0:
        raise InputError(f"{dataset.name} has no rows in part '{part}'; try --part all")
    _check_width(model, X, dataset.name)
    return dataset, X, y


def rows_to_predict(model: LogisticRegression, source: Source, part: str) -> Any:
    """Load rows (n, d) for `model` as :func:`rows_for` does, or from a file without labels."""
    from fastlin.datasets import local

    if part == "all" and is_stored(source):
        rows = open_stored(source)
        _check_width(model, rows, source.data)
        return rows
    path = local_file(source.data)
    if part == "all" and source.classes is None and path is not None and path.is_file():
        X, table = local.load_rows(
            source.data, source.columns, model._data_layout, model.n_features_in_
        )
        if table is not None:
            _say_columns(path.stem, table)
        _check_width(model, X, path.name)
        return X
    return rows_for(model, source, part)[1]


def _concatenated(one: Any, other: Any) -> Any:
    """Return the rows of two arrays, dense or sparse, one after another."""
    if other.shape[0] == 0:
        return one
    if isinstance(one, np.ndarray):
        return np.concatenate([one, other])
    from scipy.sparse import vstack

    return vstack([one, other], format="csr")


def in_the_models_labels(model: LogisticRegression, y: NDArray[Any], name: str) -> NDArray[Any]:
    """Return labels in the type of `model`'s; refuse those that it does not know.

    Whether a file's labels are read as numbers or words depends on all of them, so the labels of a
    part are compared by their spelling.
    """
    classes = model.classes_
    distinct, codes = np.unique(y, return_inverse=True)
    known, found = classes.tolist(), distinct.tolist()
    if y.dtype.kind == "U" or classes.dtype.kind in "UO":
        known, found = list(map(str, known)), list(map(str, found))
    place = {label: index for index, label in enumerate(known)}
    index = np.array([place.get(label, -1) for label in found], np.intp)
    if (index < 0).any():
        some = ",".join(str(label) for label in classes[:10])
        raise InputError(
            f"{name} has labels that the model does not know: {_listed(distinct[index < 0])}; it "
            f"knows {_listed(classes)}; keep only those with --classes {some}"
        )
    return np.asarray(classes[index][codes])


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


def _check_width(model: LogisticRegression, X: Any, name: str) -> None:
    if X.shape[1] != model.n_features_in_:
        raise InputError(
            f"the model expects {model.n_features_in_} features, {name} has "
            f"{X.shape[1]}; give --data the kind of data it was trained on"
        )


def _listed(labels: Any) -> str:
    """Return up to ten labels, separated by commas."""
    shown = ", ".join(str(label) for label in labels[:10])
    return f"{shown}, ..." if len(labels) > 10 else shown
