"""Files of arrays and plain values: what was written comes back, or one line says what is wrong."""

from __future__ import annotations

import json
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from peak_memory import peak_of
from safetensors.numpy import load_file, save_file

from fastlin.errors import InputError, ModelFileError
from fastlin.results.array_file import MOST_TEXT, read_arrays, write_arrays

FREE = 16 * 2**20
"""Memory beside twice the size of the file."""

TYPES = ["?", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8"]

PLAIN = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.floats(), st.text(max_size=5)),
        st.integers(-(10**40), 10**40),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.integers() | st.booleans(), inner, max_size=4),
        st.dictionaries(st.sampled_from(["__tuple__", "__array__", "a"]), inner, max_size=2),
    ),
    max_leaves=20,
)

ARRAYS = st.one_of(
    hnp.arrays(st.sampled_from(TYPES), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)),
    hnp.arrays(st.sampled_from([">f8", ">i2", "U1", "U7", ">U3"]), hnp.array_shapes(min_dims=0)),
)


def assert_same(found: Any, expected: Any) -> None:
    """Compare exactly: types, nan, the sign of 0."""
    assert type(found) is type(expected)
    if isinstance(expected, (list, tuple)):
        assert len(found) == len(expected)
        for pair in zip(found, expected, strict=True):
            assert_same(*pair)
    elif isinstance(expected, dict):
        assert_same(list(found), list(expected))
        assert_same(list(found.values()), list(expected.values()))
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype.newbyteorder("=")
        assert found.shape == expected.shape
        assert found.tobytes() == expected.astype(found.dtype).tobytes()
    elif isinstance(expected, float) and math.isnan(expected):
        assert math.isnan(found)
    else:
        assert (found, str(found)) == (expected, str(expected))


@settings(max_examples=200, deadline=None)
@given(
    arrays=st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), ARRAYS, max_size=4),
    content=st.dictionaries(st.text(max_size=4), PLAIN | ARRAYS, max_size=4),
)
def test_what_was_written_comes_back(
    arrays: Any, content: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip"
    write_arrays(path, "model", 3, arrays, content)
    found, found_content, version = read_arrays(path, "model", 3)
    assert version == 3
    assert_same(dict(sorted(found.items())), dict(sorted(arrays.items())))
    assert_same(found_content, content)


def test_arrays_that_are_read_can_be_written_to(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "model", 1, {"x": np.zeros(3), "s": np.array(["a"])}, {})
    for array in read_arrays(tmp_path / "a", "model", 1)[0].values():
        assert array.flags.writeable
        assert array.flags.aligned


def test_other_programs_read_the_arrays(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "model", 1, {"x": np.arange(6.0).reshape(2, 3)}, {})
    assert load_file(tmp_path / "a")["x"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_the_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    arrays = {name: np.zeros(3) for name in "abcdefgh"}
    for name in "xy":
        write_arrays(tmp_path / name, "model", 1, arrays, {"l2": 1.0})
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()


@pytest.mark.parametrize(
    ("arrays", "content", "said"),
    [
        ({"x": np.array([1j])}, {}, "x has type complex128"),
        ({"x": np.array([None])}, {}, "x has type object"),
        ({"x": np.zeros(2, np.longdouble)}, {}, "x has type (longdouble|float128)"),
        ({}, {"a": {"b": object()}}, "b is a object; only numbers"),
        ({}, {"a": np.longdouble(1)}, "a is a longdouble; only numbers"),
        ({}, {"a": 10**5000}, "limit .* for integer string conversion"),
        ({}, {"a": "a" * MOST_TEXT}, "give long ones as arrays"),
    ],
)
def test_what_cannot_be_stored_is_refused(
    tmp_path: Path, arrays: Any, content: Any, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        write_arrays(tmp_path / "a", "model", 1, arrays, content)
    assert not (tmp_path / "a").exists()


def test_a_value_that_holds_itself_is_refused(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(InputError, match="recursion"):
        write_arrays(tmp_path / "a", "model", 1, {}, {"a": endless})


# ------------------------------------------------------------------ other files


def test_kind_and_version_are_checked(tmp_path: Path) -> None:
    write_arrays(tmp_path / "a", "model", 2, {}, {})
    with pytest.raises(ModelFileError, match=r"is not a checkpoint .*: it is a 'model'"):
        read_arrays(tmp_path / "a", "checkpoint", 2)
    with pytest.raises(ModelFileError, match=r"newer fastlin \(format 2; this one reads up to 1"):
        read_arrays(tmp_path / "a", "model", 1)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for path, said in (
        (tmp_path, "is a folder"),
        (tmp_path / "none", "there is no checkpoint file"),
        (tmp_path / "pipe", "is not a regular file"),
        (tmp_path / "loop", "cannot read .*symbolic links"),
        ("/dev/zero", "is not a regular file"),
        ("a\0b", "null byte"),
        ("x" * 5000, "name too long"),
    ):
        with pytest.raises(ModelFileError, match=said) as caught:
            read_arrays(path, "checkpoint", 1)
        assert len(str(caught.value).splitlines()) == 1


def test_safetensors_of_another_program_are_foreign(tmp_path: Path) -> None:
    for metadata in (None, {"format": "np"}):
        save_file({"x": np.zeros(3)}, tmp_path / "a", metadata)
        with pytest.raises(ModelFileError, match="is not a model that fastlin saved"):
            read_arrays(tmp_path / "a", "model", 1)


@pytest.mark.parametrize(
    "content",
    [b"", b"\x02" + bytes(7), b"PK\x03\x04" + bytes(60), b"a,b\n1,2\n3,4\n", b"\xff" * 99],
)
def test_other_files_are_foreign(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a model that fastlin saved"):
        read_arrays(tmp_path / "a", "model", 1)


# ------------------------------------------------------------------ damaged and crafted files


@pytest.fixture
def good(tmp_path: Path) -> Path:
    arrays = {"x": np.arange(12.0).reshape(3, 4), "s": np.array(["a", "bc"]), "b": np.array([True])}
    write_arrays(tmp_path / "good", "model", 1, arrays, {"l2": 0.5, "pair": (1, np.zeros(2))})
    return tmp_path / "good"


def assert_refused(path: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        read_arrays(path, "model", 1)
    text = str(caught.value).replace(str(path.parent), "")
    assert 20 < len(text) <= 300
    assert len(text.splitlines()) == 1
    return text


def test_no_byte_can_be_altered_or_lost(good: Path) -> None:
    whole = good.read_bytes()
    for place in range(len(whole)):
        for altered in (
            *(
                whole[:place] + bytes([whole[place] ^ mask]) + whole[place + 1 :]
                for mask in (1, 128)
            ),
            whole[:place],
            whole + bytes(place + 1),
        ):
            good.write_bytes(altered)
            assert_refused(good)


def forge(path: Path, header: Any, data: bytes = b"", *, entry: Any = ...) -> None:
    """Write a file with any header, but the right checksum of text and arrays."""
    if entry is not ...:
        header = {"__metadata__": {"fastlin": entry}, **header}
    text = header
    if not isinstance(header, bytes):
        text = json.dumps(header, ensure_ascii=False).encode("utf-8", "surrogatepass")
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def entry_of(text: str, **arrays: np.ndarray) -> str:
    checksum = zlib.crc32(text.encode())
    for name, array in sorted(arrays.items()):
        checksum = zlib.crc32(f"{name} {array.dtype.str} {array.shape}".encode(), checksum)
        checksum = zlib.crc32(array.tobytes(), checksum)
    return f"{checksum:08x} {text}"


FIELDS = {"kind": "model", "version": 1, "strings": [], "content": {}}


def test_the_forged_file_is_right_if_nothing_is_changed(tmp_path: Path) -> None:
    x = np.arange(3.0)
    header = {"x": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}
    forge(tmp_path / "a", header, x.tobytes(), entry=entry_of(json.dumps(FIELDS), x=x))
    assert read_arrays(tmp_path / "a", "model", 1)[0]["x"].tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("kind", value) for value in (None, 5, ["model"], "")),
        *(("version", value) for value in (None, 0, -1, "1", True, 1.0, [1], 10**400, 1e400)),
        *(("strings", value) for value in (None, 5, "x", [[1]], ["x"], ["none"], {"x": 1})),
        *(("content", value) for value in (None, 5, "x", [1], [[]])),
        *(
            ("content", {"a": value})
            for value in (
                *({"__tuple__": 5}, {"__tuple__": None}, {"__items__": 5}, {"__items__": [1]}),
                *({"__items__": [[[], 1]]}, {"__items__": [[1, 2, 3]]}, {"__array__": "none"}),
                *({"__array__": ["x"]}, {"__array__": {"x": 1}}, [{"__array__": "x"}] * 2),
            )
        ),
    ],
)
def test_each_field_can_hold_anything(tmp_path: Path, name: str, value: Any) -> None:
    x = np.zeros(3)
    header = {"x": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}
    text = json.dumps(FIELDS | {name: value})
    forge(tmp_path / "a", header, x.tobytes(), entry=entry_of(text, x=x))
    assert_refused(tmp_path / "a")


@pytest.mark.parametrize("name", FIELDS)
def test_each_field_must_be_there(tmp_path: Path, name: str) -> None:
    text = json.dumps({key: value for key, value in FIELDS.items() if key != name})
    forge(tmp_path / "a", {}, entry=entry_of(text))
    assert_refused(tmp_path / "a")


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "{", "{} {}", "nan", "\ud800", "\x00"),
        "[" * 100_000,
        '{"a":' * 40_000 + "1" + "}" * 40_000,
        '{"kind": "model", "version": ' + "1" * 5000 + "}",
    ],
)
def test_the_text_can_hold_anything(tmp_path: Path, text: str) -> None:
    checksum = zlib.crc32(text.encode("utf-8", "surrogatepass"))
    forge(tmp_path / "a", {}, entry=f"{checksum:08x} {text}")
    assert_refused(tmp_path / "a")


@pytest.mark.parametrize("entry", [None, 5, [], {}, "", " ", "00000000", "zzzzzzzz {}"])
def test_the_entry_can_hold_anything(tmp_path: Path, entry: Any) -> None:
    forge(tmp_path / "a", {}, entry=entry)
    assert_refused(tmp_path / "a")


@pytest.mark.parametrize(
    "changes",
    [
        *({"dtype": value} for value in ("F8_E4M3", "BF16", "C64", "f64", "", None, 5, ["F64"])),
        *({"shape": value} for value in ([4], [-3], [2**62, 2**62], [10**30], "3", None, [3.0])),
        {"shape": [3, 0]},
        {"shape": [1] * 65 + [3]},
        {"shape": [3, None]},
        *({"data_offsets": value} for value in ([8, 32], [0, 16], [24, 0], [0, 2**63], None, [0])),
        {"data_offsets": [-8, 16]},
    ],
)
def test_the_place_of_an_array_can_hold_anything(tmp_path: Path, changes: dict[str, Any]) -> None:
    x = np.zeros(3)
    header = {"x": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]} | changes}
    forge(tmp_path / "a", header, x.tobytes(), entry=entry_of(json.dumps(FIELDS), x=x))
    assert_refused(tmp_path / "a")


@pytest.mark.parametrize(
    ("array", "dtype", "strings"),
    [
        (np.array([2], np.uint8), "BOOL", []),
        (np.array([[0x110000]], np.uint32), "U32", ["x"]),
        (np.array([[2**32 - 1]], np.uint32), "U32", ["x"]),
        (np.array([[97]], np.int32), "I32", ["x"]),
        (np.array(97, np.uint32), "U32", ["x"]),
        (np.zeros((3, 0), np.uint32), "U32", ["x"]),
        (np.zeros((0, 2**40), np.uint32), "U32", ["x"]),
    ],
)
def test_arrays_can_hold_anything(
    tmp_path: Path, array: np.ndarray, dtype: str, strings: list[str]
) -> None:
    place = {"dtype": dtype, "shape": array.shape, "data_offsets": [0, array.nbytes]}
    same = array.view(np.bool_) if dtype == "BOOL" else array
    entry = entry_of(json.dumps(FIELDS | {"strings": strings}), x=same)
    forge(tmp_path / "a", {"x": place}, array.tobytes(), entry=entry)
    assert_refused(tmp_path / "a")


FRAGMENTS = [
    *(
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        '"',
        "\\",
        "null",
        "true",
        "NaN",
        "-",
        "1e999",
        "0",
        "9" * 5000,
    ),
    *(
        '"__tuple__":',
        '"__items__":',
        '"__array__":',
        '"x"',
        '"version":',
        "\\u0000",
        "\\ud800",
        "é",
    ),
]


@settings(max_examples=1000, deadline=None)
@given(
    cuts=st.lists(
        st.tuples(st.floats(0, 1), st.integers(0, 30), st.sampled_from(FRAGMENTS)), max_size=4
    )
)
def test_text_that_was_cut_and_pasted(
    cuts: list[tuple[float, int, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever it is then, there is one line, or content that is what the text says."""
    path, x = tmp_path_factory.getbasetemp() / "cut", np.arange(3.0)
    header = {"x": {"dtype": "F64", "shape": [3], "data_offsets": [0, 24]}}
    content = {"a": {"__tuple__": [1, {"__items__": [[1, 2.5]]}]}, "b": {"__array__": "x"}}
    text = json.dumps(FIELDS | {"content": content})
    for share, length, fragment in cuts:
        place = int(share * len(text))
        text = text[:place] + fragment + text[place + length :]
    forge(path, header, x.tobytes(), entry=entry_of(text, x=x))
    try:
        _, found, version = read_arrays(path, "model", 1)
    except ModelFileError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017  (each kind of error is a pass)
        return
    assert version == 1
    assert isinstance(found, dict)


BOMBS = {
    "lists": "[]," * 80_000,
    "dicts": '{"":0},' * 25_000,
    "tuples": '{"__tuple__":[]},' * 12_000,
    "strings": '"éü",' * 29_000,
    "numbers": "300," * 60_000,
}
"""Parts of a list that take much more memory than text."""


@pytest.mark.parametrize("bomb", [*BOMBS, "shape", "names", "nested", "long", "big"])
def test_memory_is_bounded(tmp_path: Path, bomb: str) -> None:
    path, zeros = tmp_path / "a", b"0," * 120_000 + b"0"
    if bomb in BOMBS:
        text = json.dumps(FIELDS | {"content": {"a": ["?"]}}).replace('"?"', f"{BOMBS[bomb]}0")
        forge(path, {}, entry=entry_of(text))
    elif bomb == "shape":
        forge(path, b'{"x":{"dtype":"U8","shape":[%s],"data_offsets":[0,0]}}' % zeros)
    elif bomb == "names":
        place = {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}
        forge(path, {f"{name:x}": place for name in range(4000)}, entry=entry_of(""))
    elif bomb == "nested":
        forge(path, b'{"x":' * 40_000)
    elif bomb == "long":
        path.write_bytes((10**8).to_bytes(8, "little") + b"{" + b" " * 10**8)
    else:
        write_arrays(path, "model", 1, {"x": np.ones(4 * 10**6), "s": np.full(10**6, "abcdef")}, {})
    size = path.stat().st_size
    assert size < MOST_TEXT + 9 or bomb in ("long", "big")
    before = "from fastlin.results.array_file import read_arrays"
    added, _, outcome = peak_of(before, f"read_arrays({str(path)!r}, 'model', 1)")
    assert outcome.startswith(("done", "ModelFileError")), outcome
    assert (outcome == "done") == (bomb in (*BOMBS, "big")), outcome
    assert added < 2.05 * size + FREE, f"{added / size:.1f} times its size"
