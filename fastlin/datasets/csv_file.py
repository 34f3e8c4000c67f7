"""Rows and labels from a text file of columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets import csv_layout as layout
from fastlin.datasets.compressed import require_bounded
from fastlin.datasets.csv_cells import Cells, Words
from fastlin.datasets.csv_layout import ColumnOptions, Found, Layout
from fastlin.datasets.csv_numbers import is_number, is_plain_integer
from fastlin.datasets.csv_start import Start, read_start
from fastlin.errors import InputError, shown

SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", ".dat")
_LONGEST_LABEL = 1000  # characters, all of which NumPy stores for each row
_LONG = 20  # rows; fewer may hold a range of numbers by chance


@dataclass(frozen=True)
class Table:
    """What a text file of columns holds.

    Attributes
    ----------
    rows : ndarray, shape (n, d)
    labels : ndarray, shape (n,), or None
        int64 if all are plain integers, else words as they are spelled. None if nobody needs them.
    label_column : str or None
        The column of labels, in words.
    left_out : tuple of str
        The columns that are left out and why, in words.
    doubtful : tuple of str
        Features that may number the rows, in words.
    layout : Layout
        The columns, for other files of the same kind.
    """

    rows: NDArray[Any]
    labels: NDArray[Any] | None
    label_column: str | None
    left_out: tuple[str, ...]
    doubtful: tuple[str, ...]
    layout: Layout


def read(
    path: Path,
    options: ColumnOptions | None = None,
    *,
    trained_on: Layout | None = None,
    n_features: int | None = None,
    labels_needed: bool = True,
) -> Table:
    """Read a file with one row in each line.

    Columns are separated by commas, semicolons, tabs, bars or spaces; unless the comma separates
    them, it may be the decimal mark. The first line is a header if it names a column label, y,
    target or class, or if it does not fit the lines below it; that column holds the labels (numbers
    or words), else the last column does. All others hold numbers: uint8 if all of them are whole
    and from 0 to 255, as pixels are, else float64.

    The first columns are left out if they have no name and the others have one, and so are columns
    called index, id, row_number, Unnamed: 0 or the like that hold another whole number, or another
    word, in each row.

    Parameters
    ----------
    path : Path
    options : ColumnOptions, optional
    trained_on : Layout, optional
        What a model was trained on: the same columns are taken if the file has them and `options`
        name no others.
    n_features : int, optional
        Number of features that a model expects, which decides if the file alone does not.
    labels_needed : bool
        False: labels are not read, and a file with `n_features` columns holds features alone.

    Raises
    ------
    InputError
        The file has fewer than two columns, no rows, a feature that is not a number, or lines of
        different lengths.
    """
    options = options or ColumnOptions()
    try:
        start = read_start(path, options.separator)
        require_bounded(path)
        if trained_on is not None and options.label is None and not options.drop:
            found = trained_on.found_in(start.first_row)
            if found is not None and (found.label is not None or not labels_needed):
                return _columns_of_model(path, start, found, labels_needed)
        return _Choice(path, start, options).table(n_features, labels_needed)
    except UnicodeDecodeError as error:
        raise InputError("is not a text file in UTF-8; save it in that encoding") from error


def _columns_of_model(path: Path, start: Start, found: Found, labels_needed: bool) -> Table:
    """Read the columns that a model was trained on."""
    label = found.label
    others = [] if label is None else [label]
    cells = Cells(path, start, found.features, others, label, header=found.by_name)
    values = cells.numbers(found.features)
    labels = cells.words(label) if label is not None and labels_needed else None
    return _table(cells, values, found.features, label, labels, {})


class _Choice:
    """Reads a file and finds out which columns hold labels and features."""

    def __init__(self, path: Path, start: Start, options: ColumnOptions) -> None:
        first_row = start.first_row
        self.n_columns = len(first_row)
        self.label, self.label_is_sure = layout.label_column(first_row, options.label)
        self.out = dict.fromkeys(options.left_out(first_row), "as asked for")
        if self.label in self.out:
            raise InputError(
                f"{layout.described(self.label, first_row)} is the column of labels and is to be "
                "left out; name another one with --label or --drop"
            )
        self.automatic = layout.NONE not in options.drop
        nameless = layout.nameless(first_row) if self.automatic else []
        self.nameless = [column for column in nameless if column not in (self.label, *self.out)]
        self.candidates = [
            column
            for column, name in enumerate(first_row)
            if self.automatic and column not in (self.label, *self.out) and layout.names_rows(name)
        ]

        apart = {self.label, *self.candidates, *self.nameless}
        numbers = [
            column for column in range(self.n_columns) if column not in apart | self.out.keys()
        ]
        self.cells = Cells(path, start, numbers, apart, self.label)
        self.words = {column: self.cells.words(column) for column in self.candidates}

    def table(self, n_features: int | None, labels_needed: bool) -> Table:
        """Read the file; see :func:`read`."""
        cells = self.cells
        row_numbers = self._row_numbers() if cells.header else {}
        label, left_out = self._choose(row_numbers, n_features, labels_needed)
        left_out = {**self.out, **left_out}
        features = [
            column for column in range(self.n_columns) if column != label and column not in left_out
        ]
        if not features:
            raise InputError(
                "has no column of features; keep those that were left out with --drop none"
            )
        values = cells.numbers(features)
        labels = cells.words(label) if label is not None and labels_needed else None
        doubtful = self._doubtful(values, features) if self.automatic else []
        return _table(cells, values, features, label, labels, left_out, doubtful)

    def _row_numbers(self) -> dict[int, str]:
        """Return which columns number or name the rows, and why."""
        first_row = self.cells.start.first_row
        found = dict.fromkeys(self.nameless, "without a name, as numbers of rows are")
        for column, words in self.words.items():
            if layout.made_by_pandas(first_row[column]):
                found[column] = "named as pandas names numbers of rows"
            elif len(words.distinct) < len(words.codes):
                continue
            elif all(map(is_plain_integer, words.distinct)):
                found[column] = "another number in each row"
            elif not any(is_number(word, self.cells.decimal) for word in words.distinct):
                found[column] = "another word in each row"
        return found

    def _doubtful(self, values: NDArray[np.float64], features: list[int]) -> list[int]:
        """Return which features may number the rows, judged by their values or their names."""
        named = {
            index
            for index, column in enumerate(features)
            if self.cells.header and column in self.words
            if all(map(is_plain_integer, self.words[column].distinct))
        }
        return sorted(named | set(_counters(values)))

    def _choose(
        self, row_numbers: dict[int, str], n_features: int | None, labels_needed: bool
    ) -> tuple[int | None, dict[int, str]]:
        """Choose the label column, if any, and the columns of row numbers to leave out."""
        choices: list[tuple[int | None, dict[int, str]]] = []
        for left_out in (row_numbers, {}):
            choices.append((self.label, left_out))
            if not labels_needed and not self.label_is_sure:
                choices.append((None, left_out))
        n_columns = self.n_columns - len(self.out)
        for label, left_out in choices:
            if n_columns - len(left_out) - (label is not None) == n_features:
                return label, left_out
        return choices[0]


def _table(
    cells: Cells,
    values: NDArray[np.float64],
    features: list[int],
    label: int | None,
    words: Words | None,
    left_out: dict[int, str],
    doubtful: Sequence[int] = (),
) -> Table:
    """Put together what was read; `words` holds the labels, or is None if nobody needs them."""
    first_row = cells.start.first_row
    names = [cell.strip() for cell in first_row] if cells.header else None
    labels = None if words is None else _labels(words.distinct, cells.start)[words.codes]
    said = None
    if label is not None:
        said = f"{layout.described(label, names)} of {len(first_row)}"
    return Table(
        rows=_pixels_or_floats(values),
        labels=labels,
        label_column=said,
        left_out=tuple(
            f"{layout.described(column, names)} ({why})" for column, why in sorted(left_out.items())
        ),
        doubtful=tuple(layout.described(features[index], names) for index in doubtful),
        layout=Layout(len(first_row), -1 if label is None else label, features, names),
    )


def _labels(words: list[str], start: Start) -> NDArray[Any]:
    """Return the distinct labels as int64 if all are plain integers, else as they are spelled."""
    for word in words:
        _check_label(word, start)
    missing = [word for word in words if word.lower() in ("nan", "na", "n/a", "null", "none")]
    others = [word for word in words if word not in missing]
    if missing and all(map(is_number, others)):
        raise InputError(
            f"some labels are nan or infinite, or missing ({missing[0]!r}); expected a label in "
            "each row: fill them in or remove those rows"
        )
    if all(map(is_plain_integer, words)):
        numbers = [int(word) for word in words]
        if all(-(2**63) <= number < 2**63 for number in numbers):
            return np.array(numbers, np.int64)
    return np.array(words)


def _check_label(word: str, start: Start) -> None:
    """Refuse what is no label, but what a file of another kind holds, or a quote too many."""
    if not word:
        raise InputError("some labels are empty; expected a label in each row")
    if "\0" in word:  # NumPy leaves it out at the end of a string
        raise InputError(f"has a label with a NUL in it ({shown(word)}); is it a text file?")
    if any(
        line.count(start.separator) >= len(start.first_row) - 1 for line in word.splitlines()[1:]
    ):
        raise InputError(
            f"has a label that takes up other rows ({shown(word)}); is there a quote too many?"
        )
    if len(word) > _LONGEST_LABEL:
        raise InputError(
            f"has a label of {len(word)} characters; expected at most {_LONGEST_LABEL}: name the "
            "column of labels with --label"
        )


def _pixels_or_floats(X: NDArray[np.float64]) -> NDArray[Any]:
    if X.min() >= 0 and X.max() <= 255 and np.array_equal(X, np.rint(X)):
        return X.astype(np.uint8)
    return X


def _counters(X: NDArray[np.float64]) -> list[int]:
    """Return the columns that hold each whole number of a range once, as row numbers do."""
    n = len(X)
    if n < _LONG:
        return []
    least = X.min(axis=0)
    ranges = np.flatnonzero((X.max(axis=0) - least == n - 1) & (least == np.rint(least)))
    return [
        int(column)
        for column in ranges
        if np.array_equal(np.sort(X[:, column]), np.arange(least[column], least[column] + n))
    ]
