"""The cells of a text file of columns: numbers as float64, words as codes; Arrow reads them."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets import csv_layout as layout
from fastlin.datasets.text_file import open_bytes, open_text
from fastlin.errors import InputError

_SAMPLE = 64  # lines by which separator and header are judged
_SAMPLE_SIZE = 1 << 20  # characters, of which no more are looked at if lines are long
_BLOCK = 1 << 24  # bytes that Arrow takes at a time; a row must fit in
_LARGEST_BLOCK = 1 << 30


@dataclass(frozen=True)
class Start:
    """The beginning of a file.

    Attributes
    ----------
    separator : str
    first_row : list of str
    others : list of lists of str
        Some rows that follow, as long as the first one.
    n_lines, n_bytes : int
        Size of the file up to the end of the first row.
    """

    separator: str
    first_row: list[str]
    others: list[list[str]]
    n_lines: int
    n_bytes: int


@dataclass
class Words:
    """A column of words: which of the distinct ones each row has, ``codes`` (n,)."""

    codes: NDArray[np.int64]
    distinct: list[str]

    def put_first(self, word: str) -> None:
        """Put a word before the others."""
        if word not in self.distinct:
            self.distinct.append(word)
        self.codes = np.insert(self.codes, 0, self.distinct.index(word))


def read_start(path: Path, separator: str | None) -> Start:
    """Look at the first lines of a file."""
    with open_text(path) as file:
        lines = list(_first_lines(file))
        complete = next(file, None) is None
    filled = [line for line in lines if line.strip()]
    skipped = 0
    if filled and len(filled[0].strip()) == 5 and filled[0].lower().startswith("sep="):
        # A spreadsheet's own line, which says what separates the others.
        separator = separator or filled[0][4]
        skipped = lines.index(filled[0]) + 1
        filled = filled[1:]
    if not filled:
        raise InputError("the file is empty")
    before, lines = lines[:skipped], lines[skipped:]
    separator = separator or layout.find_separator(lines, complete)
    reader = csv.reader(lines, delimiter=separator)
    first_row = next((row for row in reader if any(cell.strip() for cell in row)), [])
    n_lines = reader.line_num
    if len(first_row) < 2:
        raise InputError(
            "has one column; expected features and a label, separated by commas, semicolons or "
            "tabs; name what separates them with --separator"
        )
    others = layout.split_lines(lines[n_lines:], separator)
    if not complete and len(others) > 1:
        others = others[:-1]
    others = [row for row in others if len(row) == len(first_row)]
    n_bytes = sum(len(line.encode()) for line in [*before, *lines[:n_lines]])
    return Start(separator, first_row, others, skipped + n_lines, n_bytes)


def _first_lines(file: TextIO) -> Iterator[str]:
    """Yield lines to judge by: not many, and fewer where they are long."""
    size = 0
    for number, line in enumerate(itertools.islice(file, _SAMPLE)):
        yield line
        size += len(line)
        if size > _SAMPLE_SIZE and number > 2:
            return


class Cells:
    """Reads the rows of one file after its first, which may be a header.

    ``decimal``, what stands before the fraction of a number, is known once they are read.
    """

    def __init__(self, path: Path, start: Start) -> None:
        self.path, self.start = path, start
        self.decimal = "."

    @property
    def marks(self) -> list[str]:
        """What may stand before the fraction of a number."""
        return [".", ","] if self.start.separator != "," else ["."]

    def read(
        self, numbers: list[int], texts: list[int]
    ) -> tuple[NDArray[np.float64], dict[int, Words]]:
        """Read columns of numbers (1 + n, len(numbers)), row 0 left free, and columns of words."""
        for mark in self.marks:
            try:
                batches = self._batches(numbers, texts, mark)
            except ValueError as error:
                if mark == self.marks[-1]:
                    raise self._fault(numbers) or InputError(
                        "some numbers have a decimal point and others a decimal comma; expected "
                        "one of them throughout"
                        if len(self.marks) > 1
                        else str(error)
                    ) from error
            else:
                self.decimal = mark
                break
        n = sum(batch.num_rows for batch in batches)
        values = np.empty((1 + n, len(numbers)))
        words = {column: _Codes() for column in texts}
        row = 1
        for batch in batches:
            for index in range(len(numbers)):
                values[row : row + batch.num_rows, index] = batch.column(index).to_numpy()
            for offset, column in enumerate(texts):
                words[column].add(batch.column(len(numbers) + offset))
            row += batch.num_rows
        return values, {column: found.result() for column, found in words.items()}

    def take_first_row(
        self, values: NDArray[np.float64], numbers: list[int], words: dict[int, Words]
    ) -> None:
        """Put the first row, which is no header, before the others."""
        row = self.start.first_row
        for index, column in enumerate(numbers):
            if not layout.is_number(row[column], self.decimal):
                raise self.no_number(self.start.n_lines, column, row[column])
            values[0, index] = layout.number(row[column], self.decimal)
        for column, found in words.items():
            found.put_first(row[column].strip())

    def as_numbers(self, column: int, words: Words) -> NDArray[np.float64]:
        """Return the values of a column that was read as words."""
        for code, word in enumerate(words.distinct):
            if not layout.is_number(word, self.decimal):
                row = int(np.flatnonzero(words.codes == code)[0])
                raise self._fault([column]) or self.no_number(row + 1, column, word)
        distinct = [layout.number(word, self.decimal) for word in words.distinct]
        return np.array(distinct)[words.codes]

    def no_number(self, line: int, column: int, cell: str) -> InputError:
        """Return the error that tells of a cell among the features that holds no number."""
        shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
        return InputError(
            f"line {line}, column {column + 1}: {shown!r} is not a number; put one there, or leave "
            f"the column out with --drop {column + 1}, or take it for the labels with --label "
            f"{column + 1}"
        )

    def _batches(self, numbers: list[int], texts: list[int], mark: str) -> list[Any]:
        import pyarrow
        from pyarrow import csv as arrow_csv

        names = [str(column) for column in range(len(self.start.first_row))]
        types = dict.fromkeys(map(str, numbers), pyarrow.float64())
        types.update(dict.fromkeys(map(str, texts), pyarrow.string()))
        block = _BLOCK
        while True:
            try:
                with open_bytes(self.path) as file:
                    table = arrow_csv.read_csv(
                        file,
                        read_options=arrow_csv.ReadOptions(
                            use_threads=False,  # none is left behind that a fork would lose
                            block_size=block,
                            skip_rows=self.start.n_lines,
                            column_names=names,
                        ),
                        parse_options=arrow_csv.ParseOptions(
                            delimiter=self.start.separator, newlines_in_values=True
                        ),
                        convert_options=arrow_csv.ConvertOptions(
                            column_types=types,
                            include_columns=list(types),
                            null_values=[],
                            strings_can_be_null=False,
                            decimal_point=mark,
                        ),
                    )
                return list(table.to_batches())
            except pyarrow.ArrowInvalid as error:
                said = str(error)
                if "Empty CSV file" in said or (
                    "Could not skip" in said and self.start.n_bytes < block
                ):
                    return []
                if (
                    not ("straddling" in said or "Could not skip" in said)
                    or block >= _LARGEST_BLOCK
                ):
                    raise
                block *= 8  # a row is longer than that

    def _fault(self, numbers: Iterable[int]) -> InputError | None:
        """Find the first line that is not like the others, slowly, for the sake of the message."""
        first_row, n_lines = self.start.first_row, self.start.n_lines
        with open_text(self.path) as file:
            reader = csv.reader(file, delimiter=self.start.separator)
            for row in reader:
                if not row or reader.line_num <= n_lines:
                    continue
                if len(row) != len(first_row):
                    return InputError(
                        f"line {reader.line_num} has {len(row)} columns; expected {len(first_row)}"
                    )
                for column in numbers:
                    if not any(layout.is_number(row[column], mark) for mark in self.marks):
                        return self.no_number(reader.line_num, column, row[column])
        return None


class _Codes:
    """The words of a column as numbers, block by block."""

    def __init__(self) -> None:
        self.code_of: dict[str, int] = {}
        self.blocks: list[NDArray[np.int64]] = []

    def add(self, block: Any) -> None:
        encoded = block.dictionary_encode()
        codes = [
            self.code_of.setdefault(word.strip(), len(self.code_of))
            for word in encoded.dictionary.to_pylist()
        ]
        indices = encoded.indices.to_numpy(zero_copy_only=False)
        self.blocks.append(np.array(codes, np.int64)[indices])

    def result(self) -> Words:
        return Words(np.concatenate([np.empty(0, np.int64), *self.blocks]), list(self.code_of))
