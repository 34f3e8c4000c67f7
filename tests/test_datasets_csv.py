"""Local files of text columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlin import datasets
from fastlin.errors import InputError


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "0,1,cat\n2,3,dog\n",
        "a,b,c\n0,1,cat\n2,3,dog\n",
        "label,0,1\ncat,0,1\ndog,2,3\n",
        "a, Class ,b\n0,cat,1\n2,dog,3\n",
        "0;1;cat\n2;3;dog",
        "0\t1\tcat\n2\t3\tdog\n",
        '"a";"b";"y"\r\n0;1;"cat"\r\n\r\n2;3;"dog"\r\n',
        "\ufeffa,b,target\n0,1,cat\n2,3,dog\n",
        "\n\na,b,target\n0,1, cat \n2,3,dog\n",
    ],
)
def test_csv_layouts(tmp_path: Path, text: str) -> None:
    data = datasets.load(write(tmp_path / "mine.csv", text), validation_fraction=0)
    assert data.X_train.tolist() == [[0, 1], [2, 3]]
    assert data.y_train.tolist() == ["cat", "dog"]
    assert data.X_train.dtype == np.uint8


def test_csv_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", "0.5,1e3,7\n-2,256,8.0\n")
    data = datasets.load(path, validation_fraction=0)
    assert data.X_train.dtype == np.float64
    assert data.X_train.tolist() == [[0.5, 1000], [-2, 256]]
    assert data.y_train.dtype == np.int64
    assert data.y_train.tolist() == [7, 8]


@given(
    rows=st.lists(
        st.tuples(
            st.floats(allow_nan=False, allow_infinity=False),
            st.integers(0, 9),
            st.sampled_from("ab"),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_csv_keeps_every_value(tmp_path: Path, rows: list[tuple[float, int, str]]) -> None:
    text = "".join(f"{first!r},{second},{label}\n" for first, second, label in rows)
    path = write(tmp_path / "mine.csv", text)
    data = datasets.load(path, validation_fraction=0)
    assert data.X_train.tolist() == [[first, second] for first, second, _ in rows]
    assert data.y_train.tolist() == [label for *_, label in rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the file is empty"),
        ("\n\n", "the file is empty"),
        ("a,b,label\n", "there is no data after the header"),
        ("1\n2\n", "has one column"),
        ("1,2,a\n3,oops,b\n", "line 2, column 2: 'oops' is not a number"),
        ("x,y,z\n1,2,a\n", "line 2, column 3: 'a' is not a number"),
        ("p,q,z\n1,2,a\n\n3,,b\n", "line 4, column 2: '' is not a number"),
        ("1,2,a\n3,4\n", "line 2 has 2 columns; expected 3"),
        ("1,2,a\n3,4,5,6\n", "line 2 has 4 columns; expected 3"),
        ("label,b,class\n1,2,3\n", "several label columns (label, class)"),
        ("1,2,a\n3,4,\n", "some labels are empty"),
        ("1,nan,a\n3,4,b\n", "nan or infinite, the first one in row 0, column 1"),
        ("1,2,nan\n3,4,1\n", "labels are nan or infinite"),
    ],
)
def test_csv_that_cannot_be_used(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path / "mine.csv", text)
    with pytest.raises(InputError) as caught:
        datasets.load(path)
    assert expected in str(caught.value)
    assert str(path) in str(caught.value)


def test_csv_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_bytes("1,2,\xe9\n".encode("latin-1"))
    with pytest.raises(InputError, match="not a text file in UTF-8"):
        datasets.load(tmp_path / "mine.csv")
