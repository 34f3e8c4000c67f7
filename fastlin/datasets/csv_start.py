"""The first lines of a text file of columns: what separates the cells, and whether it has a header.

Arrow must be told both, and ``csv.Sniffer`` takes letters for separators and rows of words for
headers.
"""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fastlin.datasets.csv_layout import LABEL_NAMES, nameless
from fastlin.datasets.csv_numbers import is_number, is_plain_integer, number
from fastlin.datasets.text_file import lines, open_text
from fastlin.errors import InputError

_SAMPLE = 64  # lines that decide about the separator and the header
_SAMPLE_SIZE = 1 << 20  # characters after which long lines are no longer read for that
MOST_COLUMNS = 1 << 16
"""Columns of a text file; each of them takes some kilobytes, however few rows there are."""

_LONG_COUNT = 5  # cells that count up and are not a coincidence: they name columns
_SEPARATORS = (";", "\t", ",", "|", " ")
_MISSING = {"", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "true", "false"}


@dataclass(frozen=True)
class Start:
    """The beginning of a file.

    Attributes
    ----------
    separator : str
    first_row : list of str
    others : list of lists of str
        Some of the rows that follow, those with as many cells as the first.
    n_before : int
        Lines before the first row.
    n_lines, n_bytes : int
        Size of the file up to the end of the first row.
    """

    separator: str
    first_row: list[str]
    others: list[list[str]]
    n_before: int
    n_lines: int
    n_bytes: int


def read_start(path: Path, separator: str | None) -> Start:
    """Read the first lines of a file; `separator` None: find it there."""
    with open_text(path) as file:
        every_line = lines(file)
        first_lines = list(_first_lines(every_line))
        complete = next(every_line, None) is None
    filled = [index for index, line in enumerate(first_lines) if line.strip()]
    head = 0
    if filled and (named := _separator_line(first_lines[filled[0]])):
        separator = separator or named
        head = filled.pop(0) + 1
    if not filled:
        blank = f"begins with {len(first_lines)} blank lines; remove them"
        raise InputError("the file is empty" if complete else blank)
    for one in _SEPARATORS if separator is None else separator:
        if max(line.count(one) for line in first_lines) >= MOST_COLUMNS:
            raise InputError(
                f"has a line of more than {MOST_COLUMNS} columns; save such rows as .npz, or as "
                ".svmlight if they are sparse"
            )
    separator = separator or find_separator(first_lines[head:], complete)
    reader = csv.reader(first_lines[head:], delimiter=separator)
    n_before, first_row = head, []
    for first_row in reader:
        if any(cell.strip() for cell in first_row):
            break
        n_before = head + reader.line_num
    n_lines = head + reader.line_num
    if len(first_row) < 2:
        raise InputError(
            "has one column; expected features and a label, separated by commas, semicolons or "
            "tabs; name what separates them with --separator"
        )
    others = _whole(list(_filled(reader)), complete)
    return Start(
        separator,
        first_row,
        [row for row in others if len(row) == len(first_row)],
        n_before,
        n_lines,
        n_bytes=len("".join(first_lines[:n_lines]).encode()),
    )


def _first_lines(every_line: Iterator[str]) -> Iterator[str]:
    size = 0
    for index, line in enumerate(itertools.islice(every_line, _SAMPLE)):
        yield line
        size += len(line)
        if size > _SAMPLE_SIZE and index > 2:
            return


def _separator_line(line: str) -> str | None:
    """Return the separator that a spreadsheet names in a line of its own, ``sep=;``."""
    line = line.rstrip("\r\n")
    return line[4] if len(line) == 5 and line.lower().startswith("sep=") else None


def _filled(rows: Iterator[list[str]]) -> Iterator[list[str]]:
    """Leave out blank rows."""
    return (row for row in rows if any(cell.strip() for cell in row))


def _whole(rows: list[list[str]], complete: bool) -> list[list[str]]:
    """Leave out the last row if the file goes on: it may continue on the next line."""
    return rows if complete or len(rows) < 2 else rows[:-1]


def find_separator(lines: list[str], complete: bool) -> str:
    """Find the separator that fits the first lines best.

    With it all lines have the same number of cells, and most cells are numbers; if it is not the
    comma, 2,5 is a number. `complete`: the file has no more lines.
    """
    best, best_score = ",", (False, 0.0, 0)
    for separator in _SEPARATORS:
        try:
            rows = _whole(list(_filled(csv.reader(lines, delimiter=separator))), complete)
        except csv.Error:
            continue
        widths = {len(row) for row in rows}
        if not rows or max(widths) < 2:
            continue
        # Cells between other separators often contain spaces.
        if separator == " " and best_score[2] > 1:
            continue
        decimal = "." if separator == "," else ","
        cells = [cell for row in rows for cell in row]
        numbers = sum(is_number(cell, decimal) for cell in cells) / len(cells)
        score = (len(widths) == 1, numbers, max(widths))
        if score > best_score:
            best, best_score = separator, score
    return best


# ------------------------------------------------------------------ header


def is_header(start: Start, label: int, distinct: Sequence[str], decimal: str) -> bool:
    """Whether the first row names the columns.

    Parameters
    ----------
    start : Start
    label : int
        The column of labels.
    distinct : sequence of str
        All labels of the rows that follow.
    decimal : str
        The decimal mark.
    """
    cells = [cell.strip() for cell in start.first_row]
    first = len(nameless(cells))
    features = [cell for column, cell in enumerate(cells) if column != label and column >= first]
    words = [cell for cell in features if not is_number(cell, decimal)]
    if any(_is_name(word) for word in words):
        return True
    if words:
        return not any(is_number(cell, decimal) for cell in cells) and any(
            word.lower() not in _MISSING for word in words
        )
    # All features are numbers, which may name columns, too.
    own = cells[label]
    names_labels = own.lower() in LABEL_NAMES and own.lower() != "y"  # y may be short for yes
    if names_labels and own not in distinct:
        return True
    if not distinct:
        return False
    counted = cells[first:]
    if _counts_up(counted) and (len(counted) >= _LONG_COUNT or _measured(start, label, first)):
        return True
    labels = [row[label].strip() for row in start.others]
    if own in distinct or len(set(labels)) > len(labels) / 2:  # seems to be one label of many
        return False
    kinds = {is_number(cell, decimal) for cell in distinct}
    if len(kinds) == 1 and is_number(own, decimal) not in kinds:
        return True
    return _counts_up(features) or (len(features) >= 3 and _ascends(features, decimal))


def _measured(start: Start, label: int, first: int) -> bool:
    """Whether each feature from column `first` on has values that are not plain integers."""
    return len(start.others) > 1 and all(
        any(not is_plain_integer(row[column].strip()) for row in start.others)
        for column in range(first, len(start.first_row))
        if column != label
    )


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
