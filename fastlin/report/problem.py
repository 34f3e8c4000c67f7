"""The two classification problems of the report, cut out of one data set."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, printable
from fastlin.report.wording import listing

if TYPE_CHECKING:
    from fastlin.datasets import Dataset


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters of every task; the defaults are the course's own."""

    train_rows: int = 20_000
    batch_size: int = 128
    checks_per_epoch: int = 5
    patience: int = 10
    binary_learning_rate: float = 0.05
    binary_epochs: int = 500
    softmax_learning_rate: float = 0.01
    softmax_epochs: int = 50
    penalties: tuple[float, ...] = (1.0, 0.1, 0.01, 0.001)
    gradient_rows: int = 100
    gradient_step: float = 1e-3
    gradient_bound: float = 1e-6
    gradient_penalty: float = 1.0


@dataclass(frozen=True)
class Split:
    """Training and validation rows of one problem.

    Attributes
    ----------
    X_train, X_val : (n, d) and (m, d)
        Raw rows, as the data set holds them.
    y_train, y_val : (n,) and (m,) int64
        Index of each row's class in `class_names`.
    class_names : tuple of str
    batch_size : int
        Rows in one mini-batch.
    """

    X_train: NDArray[Any]
    y_train: NDArray[np.int64]
    X_val: NDArray[Any]
    y_val: NDArray[np.int64]
    class_names: tuple[str, ...]
    batch_size: int

    @property
    def steps_per_epoch(self) -> int:
        """Full mini-batches per epoch; an incomplete last one is dropped."""
        return len(self.X_train) // self.batch_size


@dataclass(frozen=True)
class Problem:
    """One data set as the report uses it.

    Attributes
    ----------
    name, source : str
        Name of the data set and origin of its bytes.
    everything : Split
        All classes, for the softmax tasks.
    pair : Split
        Two classes, for the logistic tasks; class 1 is the one named first.
    input_range : (float, float)
        Smallest and largest value of the training rows.
    image_shape : (int, int) or None
        Rows and columns of an image, None if the rows are not images.
    """

    name: str
    source: str
    everything: Split
    pair: Split
    input_range: tuple[float, float]
    image_shape: tuple[int, int] | None

    @property
    def input_scale(self) -> tuple[float, float]:
        """Shift and scale that map `input_range` to [-1, 1]: x = (u - shift) * scale."""
        low, high = self.input_range
        return (low + high) / 2.0, 2.0 / (high - low)

    @property
    def positive_name(self) -> str:
        """Name of the class that has target 1 in the logistic tasks."""
        return self.pair.class_names[1]

    @property
    def negative_name(self) -> str:
        """Name of the class that has target 0 in the logistic tasks."""
        return self.pair.class_names[0]


def make_problem(data: Dataset, settings: Settings) -> Problem:
    """Cut the report's two problems out of `data`.

    Raises
    ------
    InputError
        Rows are sparse, there is no validation part, a validation label is unknown in training,
        there are fewer than three classes, every value is the same, or there
        are too few rows to train on.
    """
    if not isinstance(data.X_train, np.ndarray):
        raise InputError(
            f"the data set {data.name!r} has sparse rows, the report needs dense ones; use"
            " `fastlin train` for it"
        )
    X_train, labels = data.X_train[: settings.train_rows], data.y_train[: settings.train_rows]
    if len(data.X_val) == 0:
        raise InputError(
            f"the data set {data.name!r} has no validation rows, which every task of the report"
            " needs; use a file with a validation part, or --data digits"
        )
    classes, y_train = np.unique(labels, return_inverse=True)
    class_names = tuple(_as_text(label) for label in classes.tolist())
    if len(class_names) < 3:
        raise InputError(
            f"the data set {data.name!r} has {len(class_names)} class(es) in its training rows;"
            " the report's softmax tasks need at least 3; use `fastlin train` for two classes"
        )
    y_val = _encode(data.y_val, classes, data.name)
    low, high = float(X_train.min()), float(X_train.max())
    if not low < high:
        raise InputError(
            f"every value of the data set {data.name!r} is {low:g}; expected rows that differ"
        )
    everything = Split(
        X_train, y_train.astype(np.int64), data.X_val, y_val, class_names, settings.batch_size
    )
    everything = _with_steps_for_checks(everything, settings, data.name)
    return Problem(
        name=_as_text(data.name),
        source=_as_text(data.source, most=200),
        everything=everything,
        pair=_pair(everything, settings, data.name),
        input_range=(low, high),
        image_shape=data.image_shape,
    )


def _as_text(value: object, most: int = 40) -> str:
    """Return a label or a name as text that pages and figures can hold, of `most` characters."""
    text = printable(str(value)).encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _encode(labels: NDArray[Any], classes: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Return the position of each of `labels` (m,) in the sorted `classes` (k,)."""
    position = np.searchsorted(classes, labels).clip(max=len(classes) - 1)
    unknown = classes[position] != labels
    if unknown.any():
        raise InputError(
            f"the data set {name!r} has the validation label {labels[unknown][0]!s}, which none of"
            " its training rows has; remove those rows or add training rows of that class"
        )
    return position.astype(np.int64)


def _pair(everything: Split, settings: Settings, name: str) -> Split:
    """Return the rows of 2 and 3, or of the first two classes if those do not exist.

    The target is 1 for the class named first: a 2, or the first class.
    """
    names = everything.class_names
    pair = [names.index("2"), names.index("3")] if {"2", "3"} <= set(names) else [0, 1]
    positive, negative = (names[label] for label in pair)
    train, val = np.isin(everything.y_train, pair), np.isin(everything.y_val, pair)
    if not val.any():
        raise InputError(
            f"the data set {name!r} has no validation rows of the classes {positive} and"
            f" {negative}, which the report's logistic tasks need; use a larger validation part"
        )
    split = Split(
        everything.X_train[train],
        (everything.y_train[train] == pair[0]).astype(np.int64),
        everything.X_val[val],
        (everything.y_val[val] == pair[0]).astype(np.int64),
        (negative, positive),
        settings.batch_size,
    )
    return _with_steps_for_checks(split, settings, name)


def _with_steps_for_checks(split: Split, settings: Settings, name: str) -> Split:
    """Return the problem with the largest batch that leaves a step for each check of an epoch."""
    n_rows, n_checks, batch_size = len(split.X_train), settings.checks_per_epoch, split.batch_size
    while batch_size > 1 and n_rows // batch_size < n_checks:
        batch_size //= 2
    if n_rows // batch_size < n_checks:
        raise InputError(
            f"the data set {name!r} has {n_rows} training rows of {listing(split.class_names)};"
            f" expected at least {n_checks}; use a larger file, or --data digits"
        )
    return replace(split, batch_size=batch_size)
