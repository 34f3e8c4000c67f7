"""Rows and labels from a text file of columns."""

from __future__ import annotations

import csv
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError

LABEL_NAMES = ("label", "labels", "y", "target", "class")
_DELIMITERS = ",;\t"
_ENCODING = "utf-8-sig"  # UTF-8, with or without the mark that spreadsheets put in front


def read(path: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read rows (n, d) and labels (n,) from a file with one row a line.

    Columns are separated by commas, semicolons or tabs. The first line is a header if it names
    a column label, y, target or class, or if none of its cells is a number; the column so named
    holds the labels (numbers or words), else the last column does. All others hold numbers:
    uint8 if every one is whole and in 0 to 255, as pixels are, else float64.

    Raises InputError for a file with less than two columns, without rows, with a cell
    that is not a number, or with lines of different lengths.
    """
    try:
        delimiter, first_row, n_lines = _first_row(path)
        label_column, has_header = _layout(first_row)
        values, labels = _table(path, delimiter, n_lines if has_header else 0, label_column)
    except UnicodeDecodeError as error:
        raise InputError("is not a text file in UTF-8") from error
    return _pixels_or_floats(np.delete(values, label_column, axis=1)), labels


def _first_row(path: Path) -> tuple[str, list[str], int]:
    """Give the delimiter, the cells of the first row, and the lines read up to its end."""
    with path.open(encoding=_ENCODING, newline="") as file:
        line = next((line for line in file if line.strip()), "")
        delimiter = max(_DELIMITERS, key=line.count)
        file.seek(0)
        reader = csv.reader(file, delimiter=delimiter)
        row = next((row for row in reader if any(cell.strip() for cell in row)), [])
        if not row:
            raise InputError("the file is empty")
        if len(row) < 2:
            raise InputError(
                "has one column; expected features and a label, separated by commas, "
                "semicolons or tabs"
            )
        return delimiter, row, reader.line_num


def _layout(first_row: list[str]) -> tuple[int, bool]:
    """Find the label column, and whether the first row is a header."""
    names = [cell.strip().lower() for cell in first_row]
    named = [column for column, name in enumerate(names) if name in LABEL_NAMES]
    if len(named) > 1:
        raise InputError(
            f"has several label columns ({', '.join(first_row[column] for column in named)}); "
            "expected one"
        )
    if named:
        return named[0], True
    return len(names) - 1, not any(_is_number(name) for name in names)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _table(
    path: Path, delimiter: str, skip: int, label_column: int
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Read all cells as float64 (n, columns), the label column as codes, and the labels (n,)."""
    codes: dict[str, int] = {}

    def code(cell: str) -> int:
        return codes.setdefault(cell.strip(), len(codes))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "input contained no data": said below
        try:
            values = np.loadtxt(
                path,
                delimiter=delimiter,
                skiprows=skip,
                converters={label_column: code},
                quotechar='"',
                comments=None,
                ndmin=2,
                encoding=_ENCODING,
            )
        except UnicodeDecodeError:
            raise
        except ValueError as error:
            raise InputError(_fault(path, delimiter, skip, label_column) or str(error)) from error
    if not len(values):
        raise InputError("there is no data after the header")
    return values, _labels(list(codes))[values[:, label_column].astype(np.intp)]


def _fault(path: Path, delimiter: str, skip: int, label_column: int) -> str | None:
    """Find the first line that is not like the others, slowly, for the sake of the message."""
    n_columns = 0
    with path.open(encoding=_ENCODING, newline="") as file:
        reader = csv.reader(file, delimiter=delimiter)
        for row in reader:
            if not row or reader.line_num <= skip:
                continue
            n_columns = n_columns or len(row)
            if len(row) != n_columns:
                return f"line {reader.line_num} has {len(row)} columns; expected {n_columns}"
            for column, cell in enumerate(row):
                if column != label_column and not _is_number(cell):
                    return f"line {reader.line_num}, column {column + 1}: {cell!r} is not a number"
    return None


def _labels(words: list[str]) -> NDArray[Any]:
    """Give the distinct labels as numbers where all of them are, else as words."""
    if "" in words:
        raise InputError("some labels are empty; expected a label in each row")
    return np.array([float(word) for word in words] if all(map(_is_number, words)) else words)


def _pixels_or_floats(X: NDArray[np.float64]) -> NDArray[Any]:
    if X.min() >= 0 and X.max() <= 255 and np.array_equal(X, np.rint(X)):
        return X.astype(np.uint8)
    return X
