"""Write the seed corpus, from which the search for faults begins: ``python tests/fuzz/seeds.py``.

Each target gets small right files of the kinds that it reads. The files in the repository were made
by this; a new kind of file belongs here.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from fuzz_npy import split
from sklearn.datasets import dump_svmlight_file

from fastlin import LogisticRegression
from fastlin.datasets import idx

CORPUS = Path(__file__).with_name("corpus")
X = np.arange(32, dtype=np.uint8).reshape(8, 4)
Y = np.arange(8) % 4
WORDS = np.array(["ant", "bée", "cat", "dog"])[Y]
ROWS = "a,b,label\n1,2.5,x\n3,-4e2,y\n5,6,x\n7,8,y\n9,0,x\n"


def _npy(*arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    for array in arrays:
        np.lib.format.write_array(stream, array, allow_pickle=False)
    return stream.getvalue()


def _arrays() -> Iterator[tuple[str, bytes]]:
    for kind in ("u1", "i1", "i8", ">f2", "f4", "f8", "?"):
        yield f"rows-{kind.strip('>?') or 'bool'}", _npy(X.astype(kind), Y)
    yield "fortran", _npy(np.asfortranarray(X), Y)
    yield "images", _npy(X.reshape(8, 2, 2), Y)
    yield "words", _npy(X, WORDS)
    yield "bytes", _npy(X, np.char.encode(WORDS, "utf-8"))
    yield "large-labels", _npy(X, Y.astype(np.uint64) + np.uint64(2**63))
    yield "fractions", _npy(X, Y + 0.5)


def _archives() -> Iterator[tuple[str, bytes]]:
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, X_train=X, y_train=Y, X_test=X[:4], y_test=Y[:4])
        yield save.__name__, stream.getvalue()


def _texts() -> Iterator[tuple[str, bytes]]:
    yield "commas", ROWS.encode()
    yield "semicolons", ROWS.replace(",", ";").replace(".", ",").encode()
    yield "tabs", ROWS.replace(",", "\t").replace("\n", "\r\n").encode("utf-8-sig")
    yield "spaces", ROWS.replace(",", " ").partition("\n")[2].encode()
    yield "quotes", b'"a","b","y"\n"1","2","it ""is"" x"\n"3","4","y, or z"\n5,6,"w"\n'
    yield "row-numbers", b",a,b,y\n0,1.5,2,p\n1,3,4,q\n2,5,6.5,p\n3,7,8,q\n"
    yield "whole-labels", b"1.5,2,7\n3,4,-1\n5,6,7\n2,2,-1\n"
    yield "named-separator", b"sep=|\na|b|class\n1|2|x\n3|4|y\n5|6|y\n"


def _sparse() -> Iterator[tuple[str, bytes]]:
    for zero_based in (True, False):
        stream = io.BytesIO()
        dump_svmlight_file(X / 4, Y, stream, zero_based=zero_based, comment="made by hand")
        yield f"from-{0 if zero_based else 1}", stream.getvalue()
    yield "hand", b"+1 qid:3 1:0.5 3:2 # one\n\n-1 2:1e-3\n+1 1:.25 4:-7\n"
    yield "large-labels", b"9223372036854775808 1:1\n9223372036854775809 1:2\n-1 1:3\n"


def _models() -> Iterator[tuple[str, bytes]]:
    with tempfile.TemporaryDirectory() as folder:
        for name, labels in {"two": Y // 2, "four": Y, "words": WORDS}.items():
            model = LogisticRegression(max_epochs=2, random_state=0, backend="numpy", tol=None)
            model.fit(X, labels).save(Path(folder) / name)
            yield name, (Path(folder) / name).read_bytes()


def _tables() -> Iterator[tuple[str, bytes]]:
    columns = {"a": X[:, 0], "b": X[:, 1].astype("f4") / 2, "y": WORDS}
    lists = {"x": pa.FixedSizeListArray.from_arrays(X.ravel(), 4), "y": Y > 1}
    more = {
        "x": [[1.5, 2.0]] * 8,
        "z": Y.astype("i8") - 2,
        "y": pa.array(WORDS).dictionary_encode(),
    }
    options = {"store_schema": False, "write_statistics": False}
    for name, table, choices in (
        ("plain", columns, {"compression": "none", "use_dictionary": False}),
        ("snappy", columns, {"compression": "snappy", "row_group_size": 3}),
        ("gzip", lists, {"compression": "gzip"}),
        ("zstd", more, {"compression": "zstd", "data_page_version": "2.0"}),
        ("deltas", {"a": Y, "y": Y}, {"use_dictionary": False, "column_encoding": DELTAS}),
    ):
        stream = io.BytesIO()
        pq.write_table(pa.table(table), stream, **options, **choices)
        yield name, stream.getvalue()


DELTAS = {"a": "DELTA_BINARY_PACKED", "y": "BYTE_STREAM_SPLIT"}


def seeds() -> Iterator[tuple[str, str, bytes]]:
    """Give target, name and content of each file."""
    for kind in (np.uint8, np.int16, np.float32):
        yield "idx", f"images-{kind.__name__}", idx.encode(X.reshape(8, 2, 2).astype(kind))
    yield "idx", "compressed", gzip.compress(idx.encode(X.reshape(8, 2, 2)), mtime=0)
    for name, content in _arrays():
        yield "npy", name, content
        yield "npz", name, content
    for name, content in _archives():
        yield "npz", name, content
    for name, content in _texts():
        yield "csv", name, content
    for name, content in _sparse():
        yield "svmlight", name, content
    whole, more = ROWS.encode(), b"1,2,z\n"
    yield "compressed", "gz", gzip.compress(whole, mtime=0) + gzip.compress(more, mtime=0)
    yield "compressed", "bz2", bz2.compress(whole) + bz2.compress(more)
    yield "compressed", "xz", lzma.compress(whole) + bytes(4) + lzma.compress(more)
    for name, content in _tables():
        yield "parquet", name, content
    for name, content in _models():
        yield "model", name, content


if __name__ == "__main__":
    assert split(_npy(X, Y)) == (_npy(X), _npy(Y))
    for target, name, content in seeds():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        (CORPUS / target / name).write_bytes(content)
