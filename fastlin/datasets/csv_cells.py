"""The cells of a text file of columns: Arrow reads them as text, which becomes words or numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.datasets.compressed import open_bytes
from fastlin.datasets.csv_numbers import is_number
from fastlin.datasets.csv_start import Start, is_header
from fastlin.datasets.text_file import lines, open_text
from fastlin.errors import InputError

_BLOCK = 1 << 24  # bytes that Arrow parses at a time, each of which must hold a whole row
_LARGEST_BLOCK = 1 << 30
_LONGEST_ROW = 64  # times the length of the first row


@dataclass(frozen=True)
class Words:
    """A column of words: row ``i`` holds ``distinct[codes[i]]``; ``codes`` has shape (n,)."""

    codes: NDArray[np.int32]
    distinct: list[str]


class Cells:
    """The rows of one file.

    Parameters
    ----------
    path : Path
    start : Start
    numbers : list of int
        Columns that hold numbers, whatever becomes of the others.
    others : iterable of int
        Other columns that may be asked for.
    label : int or None
        The column of labels, which is one of `others`.
    header : bool
        True: the first row is known to be a header. False: the rows decide.

    Attributes
    ----------
    header : bool
        Whether the first row is a header; else it is the first of the n rows.
    decimal : str
        The decimal mark.
    """

    def __init__(
        self,
        path: Path,
        start: Start,
        numbers: list[int],
        others: Iterable[int],
        label: int | None,
        header: bool = False,
    ) -> None:
        self.path, self.start, self.header = path, start, True
        self._marks = [".", ","] if start.separator != "," else ["."]
        self._table = self._read([*numbers, *others])
        has_commas = len(self._marks) > 1 and any(self._holds(column, ",") for column in numbers)
        self.decimal = "," if has_commas else "."
        if not header:  # the other rows decide
            found = [] if label is None else self.words(label).distinct
            self.header = label is not None and is_header(start, label, found, self.decimal)
        if self.header and self._table.num_rows == 1:
            raise InputError("there is no data after the header")

    def words(self, column: int) -> Words:
        """Return a column as words, without the spaces around them."""
        encoded = self._text(column).dictionary_encode().combine_chunks()
        return Words(encoded.indices.to_numpy(), encoded.dictionary.to_pylist())

    def numbers(self, columns: list[int]) -> NDArray[np.float64]:
        """Return the values of some columns, ``(n, len(columns))``."""
        values = np.empty((self._table.num_rows - self.header, len(columns)))
        try:
            for index, column in enumerate(columns):
                values[:, index] = self._floats(column)
        except ValueError as error:
            raise self._fault(columns) or InputError(
                "some numbers have a decimal point and others a decimal comma; expected one of "
                "them throughout"
                if len(self._marks) > 1
                else str(error)
            ) from error
        return values

    def _floats(self, column: int) -> Any:
        from pyarrow import compute

        text = self._text(column)
        if self.decimal == ",":
            if self._holds(column, "."):
                raise ValueError("a decimal point beside decimal commas")
            text = compute.replace_substring(text, ",", ".")
        return text.cast("float64").to_numpy()

    def _holds(self, column: int, mark: str) -> bool:
        from pyarrow import compute

        return bool(compute.any(compute.match_substring(self._text(column), mark)).as_py())

    def _text(self, column: int) -> Any:
        """Return the cells of a column, without the spaces around them, as Arrow's strings."""
        from pyarrow import compute

        return compute.utf8_trim_whitespace(self._table[str(column)].slice(int(self.header)))

    def _read(self, columns: list[int]) -> Any:
        """Return the columns as an Arrow table of text, the first row included."""
        import pyarrow
        from pyarrow import csv as arrow_csv

        types = dict.fromkeys(map(str, columns), pyarrow.string())
        read_options = arrow_csv.ReadOptions(
            use_threads=False,  # a process that forks would lose Arrow's threads
            block_size=min(max(_BLOCK, _LONGEST_ROW * self.start.n_bytes), _LARGEST_BLOCK),
            skip_rows=self.start.n_before,
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
        )
        try:
            with open_bytes(self.path) as file:
                return arrow_csv.read_csv(file, read_options, parse_options, convert_options)
        except pyarrow.ArrowInvalid as error:
            raise self._fault([]) or InputError(str(error)) from error

    def _not_a_number(self, line: int, column: int, cell: str) -> InputError:
        shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
        return InputError(
            f"line {line}, column {column + 1}: {shown!r} is not a number; put one there, or leave "
            f"the column out with --drop {column + 1}, or take it for the labels with --label "
            f"{column + 1}"
        )

    def _fault(self, numbers: list[int]) -> InputError | None:
        """Read the file again, slowly, and return the error of the first bad line, if any."""
        first_row = self.start.first_row
        n_skipped = self.start.n_lines if self.header else self.start.n_before
        with open_text(self.path) as file:
            reader = csv.reader(lines(file), delimiter=self.start.separator)
            for row in reader:
                if not row or reader.line_num <= n_skipped:
                    continue
                if len(row) != len(first_row):
                    return InputError(
                        f"line {reader.line_num} has {len(row)} columns; expected {len(first_row)}"
                    )
                for column in numbers:
                    if not any(is_number(row[column], mark) for mark in self._marks):
                        return self._not_a_number(reader.line_num, column, row[column])
        return None
