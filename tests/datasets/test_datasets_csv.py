"""Local files of text columns."""

from __future__ import annotations

import bz2
import gzip
import lzma
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
        "0|1|cat\n2|3|dog\n",
        "0 1 cat\n2 3 dog\n",
        "0,1,cat\r2,3,dog\r",
        "sep=;\n0;1;cat\n2;3;dog\n",
        "a;b;y\n0,0;1;cat\n2;3,0;dog\n",
        "a\tb\ty\n0,0\t1\tcat\n2\t3,0\tdog\n",
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
    assert data.y_train.tolist() == ["7", "8.0"]


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
        ("1,2,a\n3,1_0,b\n", "line 2, column 2: '1_0' is not a number"),
        ("1,2,a\n3,\u0663,b\n", "is not a number"),
        ("NA,2,a\n3,4,b\n", "line 1, column 1: 'NA' is not a number; put one there, or leave"),
        (",2,a\n3,4,b\n", "line 1, column 1: '' is not a number"),
        ('a,b,label\n"1,000",2,x\n', "line 2, column 1: '1,000' is not a number"),
        ("a;b,label\n1,2,x\n3,4,y\n", "line 2 has 3 columns; expected 2"),
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


@pytest.mark.parametrize(
    "labels",
    [
        ("007", "7"),
        ("1E2", "100"),
        ("+1", "1"),
        ("-0", "0"),
        ("1.0", "1"),
        ("1_000", "1000"),
        ("0x10", "16"),
        ("\u0663", "3"),
        ("9007199254740993", "9007199254740992", "9007199254740993.0"),
        ("18446744073709551615", "18446744073709551616", "1"),
        ("1e999", "inf", "out"),
        ("nan", "NA", "ok"),
        ("True", "False"),
        ("Doe, J", "two\nlines", 'a "quoted" word'),
    ],
)
def test_labels_stay_as_they_are_spelled(tmp_path: Path, labels: tuple[str, ...]) -> None:
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    text = "".join(f"{row % 3},{row % 5},{quoted[row % len(labels)]}\n" for row in range(60))
    data = datasets.load(write(tmp_path / "mine.csv", text), validation_fraction=0)
    assert data.y_train.tolist() == [labels[row % len(labels)] for row in range(60)]


def test_plain_integers_are_numbers(tmp_path: Path) -> None:
    text = "1,2,9007199254740993\n3,4,-9007199254740992\n5,6,0\n"
    data = datasets.load(write(tmp_path / "mine.csv", text), validation_fraction=0)
    assert data.y_train.dtype == np.int64
    assert data.y_train.tolist() == [2**53 + 1, -(2**53), 0]


@pytest.mark.parametrize("suffix", [".gz", ".bz2", ".xz"])
def test_compressed_files(tmp_path: Path, suffix: str) -> None:
    compress = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[suffix]
    path = tmp_path / f"mine.csv{suffix}"
    content = compress(("a,b,label\n" + "0.5,1,cat\n2,3,dog\n" * 50).encode())
    path.write_bytes(content)
    data = datasets.load(path, validation_fraction=0)
    assert data.name == "mine"
    assert data.X_train.shape == (100, 2)
    path.write_bytes(content[:-10])
    with pytest.raises(InputError, match="is damaged"):
        datasets.load(path)


def test_rows_longer_than_a_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastlin.datasets.csv_cells._BLOCK", 256)
    rows = np.random.default_rng(0).normal(size=(20, 300))
    text = "".join(",".join(map(repr, row.tolist())) + f",{i % 2}\n" for i, row in enumerate(rows))
    data = datasets.load(write(tmp_path / "wide.csv", text), validation_fraction=0)
    assert np.array_equal(data.X_train, rows)


def test_a_decimal_comma_that_comes_late(tmp_path: Path) -> None:
    text = "a;b;label\n" + "1;2;x\n" * 100 + "1,5;-2,25e1;y\n"
    data = datasets.load(write(tmp_path / "mine.csv", text), validation_fraction=0)
    assert data.X_train[-1].tolist() == [1.5, -22.5]
    mixed = write(tmp_path / "mixed.csv", "a;b;label\n1,5;2;x\n1.5;2;y\n")
    with pytest.raises(InputError, match="a decimal point and others a decimal comma"):
        datasets.load(mixed)


@pytest.mark.parametrize("separator", [";", "\t", " "])
def test_a_spreadsheet_names_its_separator(tmp_path: Path, separator: str) -> None:
    rows = (("a", "b", "y"), ("0", "1", "cat"), ("2", "3", "dog"))
    text = f"sep={separator}\n" + "".join(separator.join(row) + "\n" for row in rows)
    data = datasets.load(write(tmp_path / "mine.csv", text), validation_fraction=0)
    assert data.X_train.tolist() == [[0, 1], [2, 3]]
