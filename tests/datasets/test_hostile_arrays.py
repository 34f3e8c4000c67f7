"""Arrays that nobody should have to trust: .npy, .npz and idx files that lie about themselves."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile import X, Y, loaded, refusal

from fastlin.datasets import compressed

DATA = X.tobytes()
GIGABYTE = 2**30
MOST = compressed.ALWAYS_ALLOWED


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def header(text: str, version: tuple[int, int] = (1, 0)) -> bytes:
    length = (len(text) + 1).to_bytes(2 if version == (1, 0) else 4, "little")
    return b"\x93NUMPY" + bytes(version) + length + text.encode("utf-8") + b"\n"


def described(descr: object = "|u1", order: object = False, shape: object = (10, 6)) -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': {order!r}, 'shape': {shape!r}}}"


def pair(folder: Path, rows: bytes, labels: bytes | None = None) -> Path:
    (folder / "X.npy").write_bytes(rows)
    (folder / "y.npy").write_bytes(npy(Y) if labels is None else labels)
    return folder / "X.npy"


def archive(folder: Path, rows: bytes, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(folder / "a.npz", "w", compression) as file:
        file.writestr("X.npy", rows)
        file.writestr("y.npy", npy(Y))
    return folder / "a.npz"


PROMISES = "promises"
BAD_HEADERS: dict[str, tuple[bytes, str]] = {
    "10^30 rows": (header(described(shape=(10**30, 6))), PROMISES),
    "2^62 rows": (header(described(shape=(2**62, 4))), PROMISES),
    "a product that wraps round to 0": (header(described(shape=(2**32, 2**32))), PROMISES),
    "a product that wraps round to 60": (header(described(shape=(2**62 + 15, 4))), PROMISES),
    "4 GB": (header(described(shape=(4 * 10**9, 1))), PROMISES),
    "a row less": (header(described(shape=(9, 6))), PROMISES),
    "a row more": (header(described(shape=(11, 6))), PROMISES),
    "as many rows as there are": (header(described(shape=(-1, 6))), "shape (-1, 6)"),
    "true rows": (header(described(shape=(True, 60))), "shape (True, 60)"),
    "both negative": (header(described(shape=(-10, -6))), "shape (-10, -6)"),
    "no rows of 10^30": (header(described(shape=(0, 10**30))), PROMISES),
    "a fraction of a row": (header(described(shape=(10.0, 6))), "damaged"),
    "a number": (header(described(shape=60)), "damaged"),
    "70 dimensions": (header(described(shape=(60, *[1] * 70))), "damaged"),
    "strings of gigabytes": (header(described("<U2000000000")), "X.npy"),
    "strings of nothing": (header(described("|S0")), "type |S0"),
    "objects": (header(described("|O")), "Python objects"),
    "records": (header(described([("a", "|u1"), ("b", "|u1")], shape=(10, 3))), "expected numbers"),
    "records with objects": (header(described([("a", "|O")])), "Python objects"),
    "bytes of no type": (header(described("|V1")), "expected numbers"),
    "a call": (header("__import__('os').mkdir('made-by-a-header')"), "damaged"),
    "a power": (header("{'descr': '|u1', 'fortran_order': False, 'shape': (9**9**9, 6)}"), "dam"),
    "signs": (header("-" * 9000 + "1"), "damaged"),
    "keys that cannot be sorted": (header("{1: 2, 'a': 3}"), "damaged"),
    "an empty type": (header(described(())), "damaged"),
    "deep": (header("(" * 4000 + ")" * 4000), "damaged"),
    "not closed": (header(described()[:-3]), "damaged"),
    "a NUL": (header(described() + "\0"), "damaged"),
    "another key": (header(described()[:-1] + ", 'a': 1}"), "damaged"),
    "long": (header(described() + " " * 20_000), "damaged"),
    "a header of 4 GB": (b"\x93NUMPY\2\0" + b"\xff" * 4 + b"{" * 99, "damaged"),
    "another version": (header(described(), (9, 0)), "damaged"),
    "nothing": (b"", "damaged"),
}


@pytest.mark.parametrize("which", BAD_HEADERS)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_headers_that_lie(
    which: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start, said = BAD_HEADERS[which]
    path = (pair if kind == "npy" else archive)(tmp_path, start + DATA if start else b"")
    assert said in refusal(path)
    assert not Path("made-by-a-header").exists()


@pytest.mark.parametrize(
    "start",
    [
        header(described()),
        header(described(), (2, 0)),
        header(described(), (3, 0)),
        header("{'descr': '|u1', 'fortran_order': False, 'shape': (10L, 6L)}"),  # of Python 2
    ],
)
@pytest.mark.parametrize("make", [pair, archive])
def test_headers_that_are_right(make: Callable[..., Path], start: bytes, tmp_path: Path) -> None:
    np.testing.assert_array_equal(loaded(make(tmp_path, start + DATA)).X_train, X)


@pytest.mark.parametrize("make", [pair, archive])
def test_columns_come_first_or_last(make: Callable[..., Path], tmp_path: Path) -> None:
    path = make(tmp_path, header(described(">u2", True, (10, 3))) + DATA)
    expected = np.frombuffer(DATA, ">u2").reshape(3, 10).T
    np.testing.assert_array_equal(loaded(path).X_train, expected)


@pytest.mark.parametrize("kind", ["c8", "M8[s]", "m8[s]", "S1", "U1"])
def test_rows_of_no_numbers(kind: str, tmp_path: Path) -> None:
    assert "expected numbers" in refusal(pair(tmp_path, npy(X.astype("i8").astype(kind))))


@pytest.mark.parametrize("kind", ["c8", "M8[s]", "m8[s]"])
def test_labels_of_no_numbers(kind: str, tmp_path: Path) -> None:
    assert "expected whole numbers" in refusal(pair(tmp_path, npy(X), npy(Y.astype(kind))))


def test_more_than_an_array(tmp_path: Path) -> None:
    assert "promises" in refusal(pair(tmp_path, npy(X) + npy(X)))
    assert "promises" in refusal(archive(tmp_path, npy(X) + b"1"))


def test_a_sparse_file_does_not_take_its_size(tmp_path: Path) -> None:
    """A file of 8 GB without a block on the disk."""
    path = pair(tmp_path, npy(X))
    with path.open("r+b") as file:
        file.truncate(8 * GIGABYTE)
    assert "promises" in refusal(path)


@pytest.mark.parametrize("code", [0xD800, 0xDFFF, 0x110000, 0x7FFFFFFF])
def test_labels_of_no_characters(code: int, tmp_path: Path) -> None:
    labels = header(described("<U1", shape=(10,))) + struct.pack("<10I", *[code, 97] * 5)
    assert "no characters" in refusal(pair(tmp_path, npy(X), labels))


@pytest.mark.parametrize("words", [["١٢", "12"], ["\uff11", "1"], ["²", "2"]])
def test_digits_of_other_scripts_are_words(words: list[str], tmp_path: Path) -> None:
    labels = np.array(words * 5)
    found = loaded(pair(tmp_path, npy(X), npy(labels))).y_train
    assert found.tolist() == words * 5


# archives


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(method: int, tmp_path: Path) -> None:
    """What zipfile unpacks of them at a time has no bound."""
    path = archive(tmp_path, npy(X), method)
    assert "savez_compressed" in refusal(path)
    content = bytearray(path.read_bytes())
    for place in range(50, 80):
        content[place] ^= 0x55
    path.write_bytes(content)
    refusal(path)


def test_a_bomb(tmp_path: Path) -> None:
    """A file of 130 kB, whose rows unpack to a thousand times as much."""
    path = archive(tmp_path, header(described(shape=(10, MOST // 5))) + bytes(MOST // 5 * 10))
    assert "unpacks to more than 67 MB" in refusal(path)


def test_a_member_that_is_no_array_is_not_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(archive(tmp_path, npy(X)), "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("readme.txt", "rows and labels")
        file.writestr("../outside.npy", npy(X))
        file.writestr("zeros", bytes(2 * MOST))
    np.testing.assert_array_equal(loaded(tmp_path / "a.npz").X_train, X)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_a_member_twice(tmp_path: Path) -> None:
    path = archive(tmp_path, npy(X))
    with zipfile.ZipFile(path, "a") as file, pytest.warns(UserWarning, match="Duplicate"):
        file.writestr("X.npy", npy(X + 1))
    assert "has the arrays X and X" in refusal(path)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_checksum_that_is_wrong(compression: int, tmp_path: Path) -> None:
    path = archive(tmp_path, npy(X), compression)
    right = struct.pack("<I", zlib.crc32(npy(X)))
    path.write_bytes(path.read_bytes().replace(right, b"\1\2\3\4"))
    assert "CRC" in refusal(path)


@pytest.mark.parametrize(("flag", "method"), [(1, 8), (0, 99)])
def test_members_that_are_encrypted_or_unknown(flag: int, method: int, tmp_path: Path) -> None:
    path = archive(tmp_path, npy(X))
    content = path.read_bytes()
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        start = content.index(signature)
        change = struct.pack("<HH", flag, method)
        content = content[: start + place] + change + content[start + place + 4 :]
    path.write_bytes(content)
    refusal(path)


# idx


def images(folder: Path, content: bytes, labels: bytes | None = None) -> Path:
    path = folder / "train-images-idx3-ubyte"
    path.write_bytes(content)
    right = b"\0\0\x08\x01" + struct.pack(">I", 10) + bytes(range(2)) * 5
    (folder / "train-labels-idx1-ubyte").write_bytes(right if labels is None else labels)
    return path


def idx(*shape: int) -> bytes:
    return b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (idx(10, 2, 3) + DATA + b"1", "promises"),
        (idx(11, 2, 3) + DATA, "promises"),
        (idx(*[2**32 - 1] * 3) + DATA, "promises"),
        (idx(*[2**32 - 1] * 255) + DATA, "promises"),
        (idx(60, *[1] * 70) + DATA, "damaged"),
        (idx(0, 2, 3), "no data"),
        (idx(2**32 - 1, 0, 2**32 - 1), ""),
        (b"\0\1" + idx(10, 2, 3)[2:] + DATA, "not an idx file"),
        (gzip.compress(idx(10, 2, 3) + DATA, mtime=0) + b"more", "damaged"),
        (gzip.compress(idx(10, 2, 3) + DATA + b"1", mtime=0), "promises"),
        (gzip.compress(idx(10, 2, 3) + bytes(MOST // 4), mtime=0), "promises"),
        (gzip.compress(idx(10, GIGABYTE) + bytes(MOST // 4), mtime=0), "promises"),
        (gzip.compress(idx(2**32 - 1, 2**32 - 1) + DATA, mtime=0), "promises"),
        (idx(), "not an idx file"),
    ],
    ids=lambda value: ascii(value[:20]),
)
def test_idx_files_that_lie(content: bytes, said: str, tmp_path: Path) -> None:
    assert said in refusal(images(tmp_path, content))


def test_a_sparse_idx_file_does_not_take_its_size(tmp_path: Path) -> None:
    path = images(tmp_path, idx(10, 2, 3) + DATA)
    with path.open("r+b") as file:
        file.truncate(8 * GIGABYTE)
    assert "promises" in refusal(path)


def test_labels_of_idx_that_are_nan(tmp_path: Path) -> None:
    labels = b"\0\0\x0d\x01" + struct.pack(">I10f", 10, *[float("nan")] * 10)
    assert "nan" in refusal(images(tmp_path, idx(10, 2, 3) + DATA, labels))
