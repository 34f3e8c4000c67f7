"""Compressed files give the bytes that went into them, in whatever pieces they are read."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastlin.datasets import compressed
from fastlin.errors import InputError

COMPRESSIONS = (gzip.compress, bz2.compress, lzma.compress)
READS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@given(
    compress=st.sampled_from(COMPRESSIONS),
    parts=st.lists(st.binary(max_size=300), min_size=1, max_size=4),
    sizes=st.lists(st.integers(1, 100), min_size=1),
)
@READS
def test_every_stream_is_read(
    tmp_path: Path, compress: Callable[[bytes], bytes], parts: list[bytes], sizes: list[int]
) -> None:
    (tmp_path / "file").write_bytes(b"".join(map(compress, parts)))
    found = b""
    with compressed.open_bytes(tmp_path / "file") as file:
        while piece := file.read(sizes[len(found) % len(sizes)]):
            found += piece
    assert found == b"".join(parts)


@given(content=st.binary().filter(lambda content: not content.startswith(b"\x1f\x8b")))
@READS
def test_what_is_not_compressed_stays(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with compressed.open_bytes(tmp_path / "file") as file:
        assert file.read() == content


@given(compress=st.sampled_from(COMPRESSIONS), content=st.binary(min_size=1), cut=st.integers(1))
@READS
def test_a_file_that_is_cut_off_is_noticed(
    tmp_path: Path, compress: Callable[[bytes], bytes], content: bytes, cut: int
) -> None:
    whole = compress(content)
    length = max(len(whole) - cut, 10)
    (tmp_path / "file").write_bytes(whole[:length])
    with (
        compressed.open_bytes(tmp_path / "file") as file,
        pytest.raises(ValueError, match="compressed content is truncated or damaged"),
    ):
        file.read()


@pytest.mark.parametrize("compress", COMPRESSIONS)
def test_the_bound_counts_all_streams(
    tmp_path: Path, compress: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compressed, "ALWAYS_ALLOWED", 10_000)
    monkeypatch.setattr(compressed, "MOST_TIMES", 0)
    for n_bytes in (5_000, 5_001):
        (tmp_path / "file").write_bytes(compress(bytes(5_000)) + compress(bytes(n_bytes)))
        with compressed.open_bytes(tmp_path / "file") as file:
            if n_bytes == 5_000:
                assert len(file.read()) == 10_000
            else:
                with pytest.raises(InputError, match="unpacks to more than 0 MB"):
                    file.read()


def test_the_bound_grows_with_the_file() -> None:
    assert compressed.most_unpacked(1000) == compressed.ALWAYS_ALLOWED
    assert compressed.most_unpacked(10**7) == 10**7 * compressed.MOST_TIMES
