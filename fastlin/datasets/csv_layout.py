"""Where the labels, the features and the header of a text file of columns are."""

from __future__ import annotations

import csv
import itertools
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fastlin.errors import InputError

LABEL_NAMES = ("label", "labels", "y", "target", "class")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|", "\\t": "\t"}
AUTO, NONE = "auto", "none"
"""Of ``drop``: leave out what numbers the rows; keep every column."""

Column: TypeAlias = str | int
"""A column's name, or its number from 1 (from the end: -1)."""

_OF_PANDAS = re.compile(r"unnamed: ?\d+(_level_\d+|\.\d+)*|level_\d+", re.I)
_ROW_NAMES = re.compile(r"index|rows?[ _]?(names?|numbers?|id|nr|no)?|(.*[ _-])?id", re.I)
_CAMEL_ID = re.compile(r".*[a-z]I[dD]")
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "true", "false"}
_PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]*", re.ASCII)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+(e[+-]?\d+)?", re.I | re.ASCII)
_LONG_COUNT = 5
"""So many cells that count up are no chance: they name columns."""


@dataclass(frozen=True)
class ColumnOptions:
    """What is known of a text file's columns before it is read.

    Attributes
    ----------
    label : str, int or None
        The column of labels: its name, or its number from 1 (from the end: -1). None: the column
        called label, y, target or class, else the last.
    separator : str or None
        One character, or its name: comma, semicolon, tab, space, pipe. None: found in the file.
    drop : tuple of str and int
        Columns to leave out. Columns that number the rows are left out too, unless it holds "none".
    """

    label: Column | None = None
    separator: str | None = None
    drop: tuple[Column, ...] = ()

    @classmethod
    def of(
        cls, label: Column | None, separator: str | None, drop: Column | Sequence[Column]
    ) -> ColumnOptions:
        """Return the options as :func:`fastlin.datasets.load` takes them, checked."""
        columns = (drop,) if isinstance(drop, (str, int)) else tuple(drop)
        given = [*columns, label] if label is not None else list(columns)
        for column in given:
            if isinstance(column, bool) or not isinstance(column, (str, int)) or column == 0:
                raise InputError(
                    f"a column is called {column!r}; expected its name, or its number from 1"
                )
        if separator is not None:
            separator = _separator(separator)
        return cls(label, separator, tuple(column for column in columns if column != AUTO))

    @property
    def given(self) -> list[str]:
        """Return the names of what was asked for."""
        return [name for name, value in vars(self).items() if value not in (None, ())]

    def left_out(self, first_row: Sequence[str]) -> list[int]:
        """Return the columns that were named to be left out."""
        return [position(column, first_row) for column in self.drop if column != NONE]


@dataclass(frozen=True)
class Found:
    """Where another file has the columns of a :class:`Layout`; ``label`` None: nowhere."""

    label: int | None
    features: list[int]
    by_name: bool


@dataclass(frozen=True)
class Layout:
    """Which columns of a text file a model was trained on.

    Attributes
    ----------
    n_columns : int
        Of the file.
    label : int
        Index of the column of labels.
    features : list of int
        Indices of the columns of features.
    names : list of str or None
        The first line of the file, if that was a header.
    """

    n_columns: int
    label: int
    features: list[int]
    names: list[str] | None

    def found_in(self, first_row: Sequence[str]) -> Found | None:
        """Find the same columns in another file, or None where they cannot be told."""
        cells = [cell.strip() for cell in first_row]
        if self.names == cells:  # also where names occur twice
            return Found(self.label, self.features, by_name=True)
        if self.names is not None:
            wanted = [self.names[column] for column in self.features]
            counts = Counter(cells)
            places = {name: index for index, name in enumerate(cells) if counts[name] == 1}
            if all(name in places for name in wanted):
                label = places.get(self.names[self.label])
                return Found(label, [places[name] for name in wanted], by_name=True)
            if any(name in cells for name in wanted):
                missing = next(name for name in wanted if name not in places)
                raise InputError(
                    f"has no column, or several, called {_short(missing)!r}, which the model was "
                    "trained on; give --data a file with the same columns"
                )
        if self.n_columns == len(cells):
            return Found(self.label, self.features, by_name=False)
        return None


def _separator(given: str) -> str:
    character = SEPARATORS.get(given.lower() if isinstance(given, str) else given, given)
    if (
        not isinstance(character, str)
        or len(character) != 1
        or not character.isascii()
        or character.isalnum()
        or character in '"\r\n.+-_\0'
    ):
        raise InputError(
            f"separator is {given!r}; expected comma, semicolon, tab, space, pipe, or one such "
            "character"
        )
    return character


def is_number(cell: str, decimal: str = ".") -> bool:
    """Whether a cell holds a number, spelled as C spells it."""
    text = cell.strip()
    if decimal == "," and _DECIMAL_COMMA.fullmatch(text):
        return True
    if "_" in text or not text.isascii():
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def number(cell: str, decimal: str = ".") -> float:
    """Return the number that :func:`is_number` has found in a cell."""
    return float(cell.replace(",", ".") if decimal == "," else cell)


def is_plain_integer(cell: str) -> bool:
    """Whether a whole number is spelled as it would be printed again: 7, and not 007 or +7."""
    return _PLAIN_INTEGER.fullmatch(cell) is not None


# ------------------------------------------------------------------ separator


def find_separator(lines: list[str], complete: bool) -> str:
    """Find what separates the columns of some first lines, by how well it explains them.

    The best one gives each line as many columns and most cells that are numbers; with another
    separator than the comma, 2,5 is a number. `complete`: the last of the lines is whole.
    """
    best, best_score = ",", (False, 0.0, 0)
    for separator in (";", "\t", ",", "|", " "):
        try:
            rows = split_lines(lines, separator)
        except csv.Error:
            continue
        if not complete and len(rows) > 1:
            rows = rows[:-1]
        widths = {len(row) for row in rows}
        if not rows or max(widths) < 2:
            continue
        # A space is found inside of what other characters separate.
        if separator == " " and best_score[2] > 1:
            continue
        decimal = "." if separator == "," else ","
        cells = [cell for row in rows for cell in row]
        numbers = sum(is_number(cell, decimal) for cell in cells) / len(cells)
        score = (len(widths) == 1, numbers, max(widths))
        if score > best_score:
            best, best_score = separator, score
    return best


def split_lines(lines: list[str], separator: str) -> list[list[str]]:
    """Return the cells of each row that is not blank."""
    rows = csv.reader(lines, delimiter=separator)
    return [row for row in rows if any(cell.strip() for cell in row)]


# ------------------------------------------------------------------ columns


def position(column: Column, first_row: Sequence[str]) -> int:
    """Return the index of a column that is called by its name or its number."""
    n = len(first_row)
    names = [cell.strip() for cell in first_row]
    place = column if isinstance(column, int) else None
    if isinstance(column, str) and re.fullmatch(r"\s*-?\d{1,9}\s*", column, re.ASCII):
        place = int(column)  # also where a column is called so: the first line may be no header
    elif isinstance(column, str):
        for same in (str.__eq__, lambda one, other: one.lower() == other.lower()):
            found = [index for index, name in enumerate(names) if same(name, column.strip())]
            if len(found) > 1:
                raise InputError(
                    f"{len(found)} columns are called {column!r}: name one by its number, "
                    f"{' or '.join(str(index + 1) for index in found[:5])}"
                )
            if found:
                return found[0]
    if place is None:
        listed = ", ".join(_short(name) for name in names[:8])
        raise InputError(
            f"no column is called {_short(str(column))!r}; the first line has {listed}"
            f"{', ...' if n > 8 else ''}; give one of these names, or a number from 1 to {n}"
        )
    if not 1 <= abs(place) <= n:
        raise InputError(f"column {place} was asked for; expected a number from 1 to {n}")
    return place - 1 if place > 0 else n + place


def label_column(first_row: Sequence[str], label: Column | None) -> tuple[int, bool]:
    """Find the column of labels, and whether it is one for sure: by its name, or as asked for."""
    if label is not None:
        return position(label, first_row), True
    names = [cell.strip().lower() for cell in first_row]
    named = [column for column, name in enumerate(names) if name in LABEL_NAMES]
    if len(named) > 1:
        raise InputError(
            f"has several label columns ({', '.join(first_row[column] for column in named)}); "
            "expected one: name it with --label, and leave the others out with --drop"
        )
    return (named[0], True) if named else (len(names) - 1, False)


def nameless(first_row: Sequence[str]) -> list[int]:
    """Return the columns in front whose header is empty: pandas and R write row names so."""
    count = next((index for index, cell in enumerate(first_row) if cell.strip()), 0)
    return list(range(count))


def made_by_pandas(name: str) -> bool:
    """Whether pandas calls numbers of rows so, and nobody else calls anything so."""
    return _OF_PANDAS.fullmatch(name.strip()) is not None


def names_rows(name: str) -> bool:
    """Whether a column's name says that it numbers or names the rows."""
    patterns = (_OF_PANDAS, _ROW_NAMES, _CAMEL_ID)
    return any(pattern.fullmatch(name.strip()) for pattern in patterns)


def described(column: int, first_row: Sequence[str] | None) -> str:
    """Return ``column 2 'size'``, or ``column 2`` where there is no header or no name."""
    name = first_row[column].strip() if first_row is not None else ""
    return f"column {column + 1}" + (f" {_short(name)!r}" if name else "")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}..."


# ------------------------------------------------------------------ header


def is_header(
    first_row: Sequence[str],
    others: Sequence[Sequence[str]],
    label: int,
    distinct: Sequence[str],
    decimal: str,
) -> bool:
    """Whether the first row names the columns.

    Parameters
    ----------
    first_row : sequence of str
    others : sequence of sequences of str
        Some of the rows that follow.
    label : int
        The column of labels.
    distinct : sequence of str
        All labels of the rows that follow.
    decimal : str
        What stands before the fraction of a number.
    """
    cells = [cell.strip() for cell in first_row]
    start = len(nameless(cells))
    features = [cell for column, cell in enumerate(cells) if column != label and column >= start]
    words = [cell for cell in features if not is_number(cell, decimal)]
    if words:
        if any(_is_name(word) for word in words):
            return True
        return all(is_number(cell, decimal) is False for cell in cells) and any(
            word.lower() not in _MISSING for word in words
        )
    # Numbers alone, but for the label: columns may be called so, too.
    own = cells[label]
    if not distinct:
        return own.lower() in LABEL_NAMES and own.lower() != "y"
    if own.lower() in LABEL_NAMES and own.lower() != "y" and own not in distinct:
        return True  # y may be short for yes
    counted = cells[start:]
    measured = len(others) > 1 and all(
        any(not is_plain_integer(row[column].strip()) for row in others)
        for column in range(start, len(cells))
        if column != label
    )
    if _counts_up(counted) and (len(counted) >= _LONG_COUNT or measured):
        return True
    labels = [row[label].strip() for row in others]
    if own in distinct or len(set(labels)) > len(labels) / 2:  # one label of many, it seems
        return False
    if len({is_number(cell, decimal) for cell in distinct}) == 1 and (
        is_number(own, decimal) != is_number(distinct[0], decimal)
    ):
        return True
    return _counts_up(features) or (len(features) >= 3 and _ascends(features, decimal))


def _is_name(word: str) -> bool:
    return (word[:1].isalpha() or word[:1] in "_#$") and word.lower() not in _MISSING


def _counts_up(cells: Sequence[str]) -> bool:
    """Whether cells are whole numbers, each one more than the last."""
    if len(cells) < 2 or not all(is_plain_integer(cell) for cell in cells):
        return False
    return all(int(cell) == int(cells[0]) + index for index, cell in enumerate(cells))


def _ascends(cells: Sequence[str], decimal: str) -> bool:
    values = [number(cell, decimal) for cell in cells]
    return all(one < other for one, other in itertools.pairwise(values))
