"""Which columns of a text file hold the labels, the features, and numbers of rows."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from fastlin.errors import InputError

LABEL_NAMES = ("label", "labels", "y", "target", "class")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "space": " ", "pipe": "|", "\\t": "\t"}
AUTO, NONE = "auto", "none"
"""Values of ``drop``: leave out columns that number the rows; keep every column."""

Column: TypeAlias = str | int
"""A column's name, or its number from 1 (from the end: -1)."""

_OF_PANDAS = re.compile(r"unnamed: ?\d+(_level_\d+|\.\d+)*|level_\d+", re.I)
_ROW_NAMES = re.compile(r"index|rows?[ _]?(names?|numbers?|id|nr|no)?|(.*[ _-])?id", re.I)
_CAMEL_ID = re.compile(r".*[a-z]I[dD]")


@dataclass(frozen=True)
class ColumnOptions:
    """What a user says about a text file's columns.

    Attributes
    ----------
    label : str, int or None
        The column of labels: its name, or its number from 1 (from the end: -1). None: the column
        called label, y, target or class, else the last.
    separator : str or None
        One character, or its name: comma, semicolon, tab, space, pipe. None: found in the file.
    drop : tuple of str and int
        Columns to leave out. Columns that number the rows are left out too, unless "none" is here.
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
        """Return the names of the options that were given."""
        return [name for name, value in vars(self).items() if value not in (None, ())]

    def left_out(self, first_row: Sequence[str]) -> list[int]:
        """Return the indices of the columns that the user leaves out."""
        return [position(column, first_row) for column in self.drop if column != NONE]


@dataclass(frozen=True)
class Found:
    """Where another file has the columns of a :class:`Layout`; no column holds labels if None."""

    label: int | None
    features: list[int]
    by_name: bool


@dataclass(frozen=True)
class Layout:
    """Which columns of a text file a model was trained on.

    Attributes
    ----------
    n_columns : int
        Number of columns of the file.
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
        """Find the same columns in another file; return None if its first row does not tell."""
        cells = [cell.strip() for cell in first_row]
        if self.names == cells:  # even if a name occurs twice
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


def position(column: Column, first_row: Sequence[str]) -> int:
    """Return the index of a column that the user gives by name or number."""
    n = len(first_row)
    names = [cell.strip() for cell in first_row]
    place = column if isinstance(column, int) else None
    if isinstance(column, str) and re.fullmatch(r"\s*-?\d{1,9}\s*", column, re.ASCII):
        place = int(column)  # even if a column has this name: the first line may not be a header
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
    """Find the column of labels, and whether that is certain: by its name, or by `label`."""
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
    """Return the first columns if their headers are empty: pandas and R write row names so."""
    count = next((index for index, cell in enumerate(first_row) if cell.strip()), 0)
    return list(range(count))


def made_by_pandas(name: str) -> bool:
    """Whether only pandas gives this name, which it does to a column of row numbers."""
    return _OF_PANDAS.fullmatch(name.strip()) is not None


def names_rows(name: str) -> bool:
    """Whether a column's name says that it numbers or names the rows."""
    patterns = (_OF_PANDAS, _ROW_NAMES, _CAMEL_ID)
    return any(pattern.fullmatch(name.strip()) for pattern in patterns)


def described(column: int, first_row: Sequence[str] | None) -> str:
    """Return ``column 2 'size'``, or ``column 2`` if there is no header or no name."""
    name = first_row[column].strip() if first_row is not None else ""
    return f"column {column + 1}" + (f" {_short(name)!r}" if name else "")


def _short(text: str) -> str:
    return text if len(text) <= 24 else f"{text[:20]}..."
