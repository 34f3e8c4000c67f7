"""Text files that nobody should have to trust, compressed or not: columns and svmlight's rows."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import loaded, refusal

from fastlin.datasets import compressed
from fastlin.datasets.csv_start import MOST_COLUMNS
from fastlin.datasets.text_file import LONGEST_LINE

ROWS = "".join(f"{i // 2},{2 * i}.5,{'ab'[i % 2]}\n" for i in range(40))
SPARSE = "".join(f"{i % 2} 1:{i} 3:2.5\n" for i in range(40))


def text(folder: Path, content: str | bytes, name: str = "a.csv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ROWS + "1,2,a\0\n", "NUL"),
        (ROWS + "1\0,2,a\n", "line 41, column 1: '1\\x00' is not a number"),
        (bytes(10**6), "damaged"),
        (ROWS.encode("utf-16"), "UTF-8"),
        (ROWS.encode("utf-16-le"), ""),
        (ROWS.encode() * 2000 + b"1,2,\xe9\n", "UTF-8"),
        (ROWS.replace("10,40.5,a", '10,40.5,"a'), "takes up other rows"),
        (
            ROWS.replace("10,40.5,a", '10,40.5,"a').replace("11,44.5,a", '11,44.5,a"'),
            "takes up other rows",
        ),
        (ROWS.replace("10,40.5,a", '10,"40.5,a'), "line 40 has 2 columns"),
        ('"' + ROWS, ""),
        (ROWS + '1,2,"a\n' + ROWS * 2000, "takes up other rows"),
        (ROWS + "1,2," + "x" * 1001 + "\n", "label of 1001 characters"),
        (ROWS * 300 + "1,2," + "x" * 10**6 + "\n", "characters"),
        (ROWS + "1," + "2" * (LONGEST_LINE + 1) + ",a\n", "more than 16777216 characters"),
        ("1" * (LONGEST_LINE + 1), "more than 16777216 characters"),
        ("1," * LONGEST_LINE, "more than 16777216 characters"),
        ("," * MOST_COLUMNS + "\n" + ROWS, "more than 65536 columns"),
        ("1 " * (10**6) + "\n", "more than 65536 columns"),
        (ROWS + "1e400,2,a\n", "infinite"),
        (ROWS + "1,2\n", "line 41 has 2 columns"),
        (ROWS + "\u0661,2,a\n", "is not a number"),
        (ROWS + "1_0,2,a\n", "is not a number"),
        (ROWS + "0x10,2,a\n", "is not a number"),
        ("\n" * 10**6, "blank lines"),
        ("\n" * 10, "empty"),
        (ROWS + "\x1b[31mred\u202e,2,a\n", "is not a number"),
    ],
    ids=lambda value: ascii(value[:30]),
)
def test_columns_that_are_refused(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert said in refusal(text(tmp_path, content))


@pytest.mark.parametrize(
    "labels",
    [
        ["١٢", "12"],
        ["\uff11", "1"],
        ["²", "2"],
        [str(2**63), str(2**63 + 1)],
        ["7" * 999, "7" * 998 + "8"],
        ["-0", "0"],
        ["1e2", "100"],
        ["a b", "a  b"],
    ],
    ids=lambda labels: ascii(labels[0][:20]),
)
def test_labels_of_text_stay_as_they_are_spelled(labels: list[str], tmp_path: Path) -> None:
    rows = "".join(f"{i // 2},{i}.5,{label}\n" for i, label in enumerate(labels * 10))
    assert loaded(text(tmp_path, rows)).y_train.tolist() == labels * 10


def test_the_number_of_columns_has_a_bound(tmp_path: Path) -> None:
    row = ",".join(["1"] * 20_000)
    assert loaded(text(tmp_path, f"{row}\n" * 3)).X_train.shape == (3, 19_999)


def test_long_numbers_that_name_columns(tmp_path: Path) -> None:
    names = f"{'1' * 5000},{'1' * 5001},label\n"
    assert loaded(text(tmp_path, names + ROWS)).X_train.shape[1] == 2


# compressed


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(("name", "row"), [("a.csv", b"1,2,a\n"), ("a.svm", b"1 1:1\n")])
def test_bombs(
    compress: Callable[[bytes], bytes],
    name: str,
    row: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compressed, "ALWAYS_ALLOWED", 10**6)
    content = compress(row * 10) + compress(row * (10**6 // 6))
    assert len(content) * compressed.MOST_TIMES < 10**6
    said = refusal(text(tmp_path, content, name))
    assert "unpacks to more than" in said
    assert "give the unpacked file" in said


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize(("name", "row"), [("a.csv", b"1,0\n"), ("a.svm", b"1 1:1\n")])
def test_bombs_are_refused_before_they_take_memory(
    compress: Callable[[bytes], bytes], name: str, row: bytes, tmp_path: Path
) -> None:
    one = row * 10**6
    content = compress(one) * (compressed.ALWAYS_ALLOWED // len(one) + 1)
    assert len(content) * compressed.MOST_TIMES < compressed.ALWAYS_ALLOWED
    assert "unpacks to more than" in refusal(text(tmp_path, content, name), megabytes=32)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("n_features", [20, 100])
def test_categories_as_zeros_and_ones_are_no_bomb(
    compress: Callable[[bytes], bytes],
    n_features: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compressed, "ALWAYS_ALLOWED", 0)  # as if the file were large
    X = np.eye(n_features, dtype=int)[np.random.default_rng(0).integers(0, n_features, 5000)]
    rows = "".join(",".join(map(str, row)) + f",c{sum(row[:10])}\n" for row in X.tolist())
    np.testing.assert_array_equal(loaded(text(tmp_path, compress(rows.encode()))).X_train, X)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_files_that_are_damaged(
    compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    whole = compress(ROWS.encode() * 20)
    middle = len(whole) // 2
    refusal(text(tmp_path, whole[:-9]))
    refusal(text(tmp_path, whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]))
    refusal(text(tmp_path, whole + b"more"))
    refusal(text(tmp_path, compress(whole)))


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_all_streams_of_a_file_are_read(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Whose second stream does not begin as one has lost the rows from there on."""
    one, other = compress(ROWS.encode()), bytearray(compress(ROWS.encode()))
    padding = bytes(4) if compress is lzma.compress else b""
    assert len(loaded(text(tmp_path, one + padding + other + padding)).y_train) == 80
    other[1] ^= 1
    refusal(text(tmp_path, one + bytes(other)))


def test_xz_that_asks_for_gigabytes(tmp_path: Path) -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**30}]
    content = lzma.compress(ROWS.encode(), filters=filters)
    assert "Memory usage limit" in refusal(text(tmp_path, content))


def test_words_that_begin_as_a_compressed_file(tmp_path: Path) -> None:
    assert loaded(text(tmp_path, "BZh9,b,y\n" + ROWS)).X_train.shape == (40, 2)


# svmlight


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (SPARSE + "1_0 1:1\n", "'1_0', which is no number"),
        (SPARSE + "1 1:1_0\n", "'1:1_0', which is no number"),
        (SPARSE + "1 1_0:1\n", "'1_0:1', which is no number"),
        (SPARSE + "\u0661 1:1\n", "damaged"),
        (SPARSE + "1 1:\u0661\n", "damaged"),
        (SPARSE + "1 \u0661:1\n", "damaged"),
        (SPARSE + "inf 1:1\n", "infinite"),
        (SPARSE + "1 1:1e400\n", "infinite"),
        (SPARSE + f"1 {2**31}:1\n", "damaged"),
        (SPARSE + f"1 {2**64 + 5}:1\n", "damaged"),
        (SPARSE + "1 -5:1\n", "damaged"),
        (SPARSE + "1 5:1 5:2\n", "damaged"),
        (SPARSE + "1 1:1\0\n", "damaged"),
        (SPARSE + "1" * 1001 + " 1:1\n", "label of 1001 characters"),
        (SPARSE + "1 1:" + "1" * (LONGEST_LINE + 1), "more than 16777216 characters"),
        ("0.1 1:1\n0.10000000000000001 1:2\n", "the same in float64"),
        (f"{2**63}.5 1:1\n{2**63} 1:2\n", "the same in float64"),
        (SPARSE.encode("utf-16"), ""),
        (bytes(10**6), ""),
    ],
    ids=lambda value: ascii(value[-30:]),
)
def test_sparse_rows_that_are_refused(content: str | bytes, said: str, tmp_path: Path) -> None:
    assert said in refusal(text(tmp_path, content, "a.svm"))


def test_whole_labels_of_sparse_rows_are_exact(tmp_path: Path) -> None:
    labels = [2**63, 2**63 + 1, -(2**70), 7]
    rows = "".join(f"{label:+d} 1:1\n" for label in labels)
    found = loaded(text(tmp_path, rows, "a.svm")).y_train
    assert found.tolist() == list(map(str, labels))
    inside = loaded(text(tmp_path, rows.replace(f"{-(2**70)}", "-1"), "a.svm")).y_train
    assert inside.tolist() == [str(2**63), str(2**63 + 1), "-1", "7"]
    assert loaded(text(tmp_path, "0.1 1:1\n0.10 1:2\n", "a.svm")).y_train.tolist() == [0.1, 0.1]


def test_a_file_of_zeros_has_no_line(tmp_path: Path) -> None:
    with (tmp_path / "data").open("wb") as file:
        file.truncate(8 * 2**30)
    assert "more than 16777216 characters" in refusal(tmp_path / "data")
    np.testing.assert_array_equal(loaded(text(tmp_path, SPARSE, "data")).y_train, [0, 1] * 20)
