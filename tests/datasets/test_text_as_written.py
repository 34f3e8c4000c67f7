"""What a text file says is what is read, or the file is refused: nothing is altered on the way."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlin import datasets
from fastlin.errors import InputError

READS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
WORDS = st.text(min_size=1, max_size=8) | st.integers().map(str)


@given(st.lists(st.tuples(NUMBERS, NUMBERS, WORDS), min_size=1, max_size=8))
@READS
def test_columns(tmp_path: Path, rows: list[tuple[float, float, str]]) -> None:
    path = tmp_path / "a.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("size", "weight", "label"), *rows])
    try:
        data = datasets.load(path, separator="comma", drop="none", validation_fraction=0)
    except InputError:
        return
    np.testing.assert_array_equal(data.X_train, np.array([row[:2] for row in rows]))
    for found, (*_, written) in zip(data.y_train.tolist(), rows, strict=True):
        around = written.replace(str(found), "", 1)
        assert str(found) in written
        assert not around or around.isspace()


@given(st.lists(st.tuples(st.integers(-(2**70), 2**70), NUMBERS), min_size=1, max_size=8))
@READS
def test_sparse_rows(tmp_path: Path, rows: list[tuple[int, float]]) -> None:
    path = tmp_path / "a.svm"
    path.write_text("".join(f"{label} 1:{value!r} 2:1\n" for label, value in rows))
    data = datasets.load(path, validation_fraction=0)
    assert [int(label) for label in data.y_train.tolist()] == [label for label, _ in rows]
    np.testing.assert_array_equal(data.X_train.toarray()[:, 0], [value for _, value in rows])


@given(st.lists(NUMBERS, min_size=1, max_size=8, unique=True))
@READS
def test_fractional_labels_of_sparse_rows(tmp_path: Path, labels: list[float]) -> None:
    path = tmp_path / "a.svm"
    path.write_text("".join(f"{label!r} 1:1\n" for label in labels))
    assert datasets.load(path, validation_fraction=0).y_train.tolist() == labels
