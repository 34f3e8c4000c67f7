"""Rows in Parquet files, which are read once and written to a temporary ``.npy`` file.

Decoding Parquet takes a hundred times as long as a pass over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fastlin.errors import InputError, listed, shown
from fastlin.rows.containers import type_of_rows
from fastlin.rows.stored import StoredRows
from fastlin.storage.spilling import VARIABLE, Said, Spill

ROWS_AT_ONCE = 2**14


def open_files(
    files: list[Path], label: str | None, drop: Sequence[str], folder: str | Path | None, said: Said
) -> StoredRows:
    """Read files into a temporary one, and return its rows with labels and names of features.

    The schemas of all files are compared before any row is read.

    Raises
    ------
    InputError
        A file cannot be read, has other columns or types, or a value that is missing or no finite
        number; the message names the file, and the row counted from 0.
    """
    schema = _schema(files[0])
    if label is not None and label not in schema.names:
        raise InputError(
            f"{files[0]} has no column {shown(label)} for the labels; it has "
            f"{listed(schema.names, 10)}"
        )
    for name in drop:
        if name not in schema.names:
            raise InputError(f"{files[0]} has no column {shown(name)} to leave out")
    names = [name for name in schema.names if name != label and name not in drop]
    if len(set(schema.names)) < len(schema.names):
        raise InputError(f"{files[0]} has several columns of one name; rename them")
    if not names:
        raise InputError(f"{files[0]} has no column but the labels")
    for file in files[1:]:
        _require_same(_schema(file), schema, file, files[0])
    dtype = type_of_rows([_number_type(schema.field(name), files[0]) for name in names])
    labels, wanted = _Labels(), names if label is None else [*names, label]
    spill, lengths, n_rows = Spill(folder, said), dict[str, int](), 0
    try:
        _require_room(files, len(names) * dtype.itemsize, spill)
        for file in files:
            first = 0
            with _reading(file):
                batches = pq.ParquetFile(file).iter_batches(ROWS_AT_ONCE, columns=wanted)
                for batch in batches:
                    columns = [
                        _values(batch.column(name), name, dtype, file, first, lengths)
                        for name in names
                    ]
                    rows = np.concatenate(columns, axis=1, dtype=dtype, casting="unsafe")
                    _require_finite(rows, file, first)
                    spill.append(rows)
                    if label is not None:
                        labels.add(batch.column(label), label, file, first)
                    first += len(batch)
            n_rows += first
        if not n_rows:
            raise InputError(
                f"{files[0]}{' and the others hold' if files[1:] else ' holds'} no rows"
            )
        expanded = [
            place
            for name in names
            for place in ([name] if name not in lengths else _numbered(name, lengths[name]))
        ]
        found = None if label is None else labels.all()
        return spill.finished(labels=found, feature_names=expanded)
    except BaseException:
        spill.remove()
        raise


@contextmanager
def _reading(file: Path) -> Iterator[None]:
    """Turn what pyarrow raises for a file into one line that names it."""
    try:
        yield
    except InputError:
        raise
    except (pa.ArrowException, OSError, OverflowError, ValueError, LookupError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{file} cannot be read as Parquet ({reason})") from error


def _schema(file: Path) -> Any:
    with _reading(file):
        schema = pq.read_schema(file)
        _ = schema.names  # which may be no text
        return schema


def _require_room(files: list[Path], bytes_of_a_row: int, spill: Spill) -> None:
    """Refuse at once what would fill the disk: some kilobytes can be decoded into any size."""
    n_rows = 0
    for file in files:
        with _reading(file):
            n_rows += max(0, pq.read_metadata(file).num_rows)
    needed, free = n_rows * bytes_of_a_row, spill.free
    if needed > free:
        raise InputError(
            f"{files[0]}{' and the others hold' if files[1:] else ' holds'} {n_rows} rows, which "
            f"take {needed / 1e9:,.1f} GB or more, and {spill.folder.parent} has {free / 1e9:,.1f} "
            f"GB left; name another folder by spill= or {VARIABLE}"
        )


def _require_same(schema: Any, expected: Any, file: Path, first: Path) -> None:
    missing = [name for name in expected.names if name not in schema.names]
    unknown = [name for name in schema.names if name not in expected.names]
    if missing or unknown:
        what = f"lacks column {missing[0]!r}" if missing else f"has another column {unknown[0]!r}"
        raise InputError(f"{file} {what}, unlike {first}; all files need the same columns")
    for field in expected:
        found = schema.field(field.name).type
        if found != field.type:
            raise InputError(
                f"column {field.name!r} is of type {found} in {file}, and {field.type} in {first}; "
                "all files need the same types"
            )


def _number_type(field: Any, file: Path) -> np.dtype[Any]:
    """Return the NumPy type of a column's numbers, or of those in its lists."""
    kind = field.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return np.dtype(np.uint8)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
        return dtype
    raise InputError(
        f"column {field.name!r} of {file} holds {field.type}, not numbers; leave it out of the "
        "files, or encode it as numbers"
    )


def _values(
    column: Any, name: str, dtype: np.dtype[Any], file: Path, first: int, lengths: dict[str, int]
) -> NDArray[Any]:
    """Return the numbers of a batch's column, ``(m, 1)``, or of its lists, ``(m, length)``."""
    _require_none_missing(column, name, file, first)
    n = len(column)
    if not pa.types.is_nested(column.type):
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.uint8())
        return np.asarray(column.to_numpy(zero_copy_only=False)).reshape(n, 1)
    sizes = np.asarray(column.value_lengths()) if n else np.zeros(0, int)
    length = lengths.setdefault(name, int(sizes[0]) if n else 0)
    if n and (sizes != length).any():
        row = int(np.argmax(sizes != length))
        raise InputError(
            f"row {first + row} of {file} has {sizes[row]} numbers in column {name!r}, and the "
            f"first row {length}; all rows need as many"
        )
    flat = column.flatten()
    if flat.null_count:
        row = int(np.argmax(np.asarray(flat.is_null()))) // max(length, 1)
        raise InputError(f"row {first + row} of {file} lacks a number in column {name!r}")
    return np.asarray(flat.to_numpy(zero_copy_only=False)).reshape(n, length)


def _require_none_missing(column: Any, name: str, file: Path, first: int) -> None:
    if column.null_count:
        row = first + int(np.argmax(np.asarray(column.is_null())))
        raise InputError(
            f"row {row} of {file} (counted from 0) lacks column {name!r}; leave that row out, or "
            "fill the value in"
        )


def _require_finite(rows: NDArray[Any], file: Path, first: int) -> None:
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        row, column = np.argwhere(~np.isfinite(rows))[0]
        raise InputError(
            f"row {first + int(row)} of {file} (counted from 0) holds "
            f"{rows[row, column]} as feature {column}; leave that row out, or fill the value in"
        )


def _numbered(name: str, length: int) -> list[str]:
    return [f"{name}_{place}" for place in range(length)]


class _Labels:
    """Collects labels; of words there is one for each different one, however many rows."""

    def __init__(self) -> None:
        self._parts: list[NDArray[Any]] = []
        self._words: dict[str, int] = {}

    def add(self, column: Any, name: str, file: Path, first: int) -> None:
        _require_none_missing(column, name, file, first)
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.dictionary_decode()
            kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            encoded = column.dictionary_encode()
            words = encoded.dictionary.to_pylist()
            codes = [self._words.setdefault(word, len(self._words)) for word in words]
            of_batch = np.asarray(encoded.indices)
            self._parts.append(np.array(codes, np.int32)[of_batch])
        elif pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
            self._parts.append(np.asarray(column.to_numpy(zero_copy_only=False)))
        else:
            raise InputError(f"column {name!r} of {file} holds {kind}; labels are numbers or words")

    def all(self) -> NDArray[Any]:
        joined = np.concatenate(self._parts) if self._parts else np.empty(0)
        return np.array(list(self._words), dtype=object)[joined] if self._words else joined
