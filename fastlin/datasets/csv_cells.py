"""Reads the cells of a text file of columns by Arrow: numbers as float64, words as codes."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.csv_numbers import is_number, number
from fastlin.datasets.csv_start import Start, is_header
from fastlin.datasets.text_file import open_bytes, open_text
from fastlin.errors import InputError

_BLOCK = 1 << 24  # bytes that Arrow parses at a time, each of which must hold a whole row
_LARGEST_BLOCK = 1 << 30
_LONGEST_ROW = 64  # times the length of the first row


@dataclass
class Words:
    """A column of words: row ``i`` holds ``distinct[codes[i]]``; ``codes`` has shape (n,)."""

    codes: NDArray[np.int64]
    distinct: list[str]

    @classmethod
    def of(cls, column: Any) -> Words:
        """Take the words of an Arrow column, without the spaces around them."""
        encoded = column.dictionary_encode().combine_chunks()
        words = [word.strip() for word in encoded.dictionary.to_pylist()]
        code_of = {word: code for code, word in enumerate(dict.fromkeys(words))}
        codes = np.array([code_of[word] for word in words], np.int64)
        return cls(codes[encoded.indices.to_numpy()], list(code_of))

    def put_first(self, word: str) -> None:
        """Put a word before the others."""
        if word not in self.distinct:
            self.distinct.append(word)
        self.codes = np.insert(self.codes, 0, self.distinct.index(word))


class Cells:
    """Reads the rows of one file.

    Attributes
    ----------
    path : Path
    start : Start
    decimal : str
        The decimal mark, known once the rows are read.
    """

    def __init__(self, path: Path, start: Start) -> None:
        self.path, self.start = path, start
        self.decimal = "."
        self._marks = [".", ","] if start.separator != "," else ["."]

    def read(
        self, numbers: list[int], texts: list[int], label: int | None, header: bool = False
    ) -> tuple[NDArray[np.float64], dict[int, Words], bool]:
        """Read the columns `numbers` as numbers, and the columns `texts` as words.

        Parameters
        ----------
        numbers, texts : list of int
        label : int or None
            Which of `texts` holds the labels.
        header : bool
            True: the first row is known to be a header. False: the rows decide.

        Returns
        -------
        values : ndarray, shape (n, len(numbers))
        words : dict of int to Words
            By column.
        header : bool
            Whether the first row is a header; else it is the first of the n rows.
        """
        table = self._table(numbers, texts)
        words = {column: Words.of(table[str(column)]) for column in texts}
        if not header and label is not None:
            header = is_header(self.start, label, words[label].distinct, self.decimal)
        if header and not table.num_rows:
            raise InputError("there is no data after the header")
        first = int(not header)
        values = np.empty((first + table.num_rows, len(numbers)))
        for index, column in enumerate(numbers):
            values[first:, index] = table[str(column)].to_numpy()
        if not header:
            row = self.start.first_row
            for index, column in enumerate(numbers):
                if not is_number(row[column], self.decimal):
                    raise self._not_a_number(self.start.n_lines, column, row[column])
                values[0, index] = number(row[column], self.decimal)
            for column, found in words.items():
                found.put_first(row[column].strip())
        return values, words, header

    def as_numbers(self, column: int, words: Words) -> NDArray[np.float64]:
        """Return the values (n,) of a column that was read as words."""
        for code, word in enumerate(words.distinct):
            if not is_number(word, self.decimal):
                row = int(np.flatnonzero(words.codes == code)[0])
                raise self._fault([column]) or self._not_a_number(row + 1, column, word)
        return np.array([number(word, self.decimal) for word in words.distinct])[words.codes]

    def _table(self, numbers: list[int], texts: list[int]) -> Any:
        """Read the rows after the first into an Arrow table, and find the decimal mark."""
        for mark in self._marks:
            self.decimal = mark
            try:
                return self._arrow_table(numbers, texts)
            except ValueError as error:
                failure = error
        raise self._fault(numbers) or InputError(
            "some numbers have a decimal point and others a decimal comma; expected one of them "
            "throughout"
            if len(self._marks) > 1
            else str(failure)
        ) from failure

    def _arrow_table(self, numbers: list[int], texts: list[int]) -> Any:
        import pyarrow
        from pyarrow import csv as arrow_csv

        types = dict.fromkeys(map(str, numbers), pyarrow.float64())
        types.update(dict.fromkeys(map(str, texts), pyarrow.string()))
        read_options = arrow_csv.ReadOptions(
            use_threads=False,  # a process that forks would lose Arrow's threads
            block_size=min(max(_BLOCK, _LONGEST_ROW * self.start.n_bytes), _LARGEST_BLOCK),
            skip_rows=self.start.n_lines,
            column_names=[str(column) for column in range(len(self.start.first_row))],
        )
        parse_options = arrow_csv.ParseOptions(
            delimiter=self.start.separator, newlines_in_values=True
        )
        convert_options = arrow_csv.ConvertOptions(
            column_types=types,
            include_columns=list(types),
            null_values=[],
            strings_can_be_null=False,
            decimal_point=self.decimal,
        )
        try:
            with open_bytes(self.path) as file:
                return arrow_csv.read_csv(file, read_options, parse_options, convert_options)
        except pyarrow.ArrowInvalid as error:
            if "Empty CSV file" in str(error) or "Could not skip" in str(error):
                return pyarrow.schema(types.items()).empty_table()  # there is one row
            raise

    def _not_a_number(self, line: int, column: int, cell: str) -> InputError:
        shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
        return InputError(
            f"line {line}, column {column + 1}: {shown!r} is not a number; put one there, or leave "
            f"the column out with --drop {column + 1}, or take it for the labels with --label "
            f"{column + 1}"
        )

    def _fault(self, numbers: list[int]) -> InputError | None:
        """Read the file again, slowly, and return the error of the first bad line, if any."""
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
                    if not any(is_number(row[column], mark) for mark in self._marks):
                        return self._not_a_number(reader.line_num, column, row[column])
        return None
