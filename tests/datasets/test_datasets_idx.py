"""The idx format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fastlin.datasets import idx

ARRAYS = hnp.arrays(
    st.sampled_from([np.uint8, np.int8, np.int16, np.int32, np.float32, np.float64]),
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
)


def test_bytes_are_laid_out_as_the_format_says() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int16)
    expected = bytes.fromhex("00000b02 00000002 00000003 0001 0002 0003 0004 0005 0006")
    assert idx.encode(values) == expected


@given(ARRAYS)
def test_decode_gives_back_what_encode_was_given(values: np.ndarray) -> None:
    decoded = idx.decode(idx.encode(values))
    assert decoded.dtype == values.dtype
    np.testing.assert_array_equal(decoded, values)


@given(ARRAYS, st.data())
def test_any_cut_is_noticed(values: np.ndarray, data: st.DataObject) -> None:
    whole = idx.encode(values)
    cut = data.draw(st.integers(0, len(whole) - 1))
    with pytest.raises(ValueError, match="idx"):
        idx.decode(whole[:cut])


def test_a_byte_too_many_is_noticed() -> None:
    with pytest.raises(ValueError, match="promises 9 bytes"):
        idx.decode(idx.encode(np.uint8([7])) + b"x")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_read_takes_compressed_and_plain_files(tmp_path: Path, compress) -> None:
    values = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    (tmp_path / "file").write_bytes(compress(idx.encode(values)))
    np.testing.assert_array_equal(idx.read(tmp_path / "file"), values)


def test_a_truncated_gzip_stream_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(gzip.compress(idx.encode(np.arange(99, dtype=np.uint8)))[:-9])
    with pytest.raises(ValueError, match="truncated"):
        idx.read(tmp_path / "file")
